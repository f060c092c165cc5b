"""What programs say, as JSON lines: their own JSON with their name in it, anything else as a message."""

import json
from typing import Any

from honcho.printer import Message, Printer


class JsonPrinter(Printer):
    def write(self, message: Message) -> None:
        text = message.data.decode(errors="replace") if isinstance(message.data, bytes) else str(message.data)
        told = as_object(text) or {"timestamp": message.time.astimezone().isoformat(), "message": text.rstrip()}
        self.output.write(json.dumps({"program": message.name} | told, ensure_ascii=False) + "\n")
        self.output.flush()


def as_object(text: str) -> dict[str, Any] | None:
    try:
        told = json.loads(text)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
