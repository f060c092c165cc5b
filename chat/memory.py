"""What a model is told of a conversation: its newest turns word for word, as many as fit."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chains.models import Run
from chat.models import Message

HISTORY_CHARACTERS = 12_000  # about 3,000 tokens
HISTORY_MESSAGES = 40
TURN_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Turn:
    role: str  # Message.Role
    content: str


def recent_turns(*, conversation_id: UUID, before: Message, budget: int = HISTORY_CHARACTERS) -> list[Turn]:
    """The turns before this message, oldest first, at most `budget` characters; it never starts with an answer."""
    earlier = (
        Message.objects.filter(conversation_id=conversation_id, created_at__lt=before.created_at)
        .exclude(content="")
        .select_related("run")
        .order_by("-created_at", "-id")[:HISTORY_MESSAGES]
    )
    turns: list[Turn] = []
    for message in earlier:
        turn = Turn(message.role, _told(message))
        budget -= len(turn.content)
        if budget < 0:
            break
        turns.insert(0, turn)
    while turns and turns[0].role != Message.Role.USER:
        turns.pop(0)
    return turns


def _told(message: Message) -> str:
    """The message, cut in its middle when it is long, and for an answer the calls it came from."""
    text = shortened(message.content, TURN_CHARACTERS)
    if message.role == Message.Role.ASSISTANT and message.run and message.run.plan:
        return f"{text}\n\n(Calls made: {_calls(message.run)})"
    return text


def _calls(run: Run) -> str:
    steps: list[dict[str, Any]] = (run.plan or {}).get("steps", [])
    calls = (f"{step['server']}.{step['tool']} {json.dumps(step.get('arguments', {}))}" for step in steps)
    return shortened("; ".join(calls), 1_000)


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and end with a mark of what was left out between them."""
    if len(text) <= limit:
        return text
    left_out = len(text) - limit
    head = limit * 2 // 3
    return f"{text[:head]}\n[… {left_out} characters left out …]\n{text[-(limit - head) :]}"
