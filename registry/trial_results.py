"""What trying a tool brought, cut to what a page can show.

`{"content": [MCP content blocks], "structured", "is_error", "duration_ms", "truncated", "error"}`, where `error` is
None or `{"code", "message", "next_step", "sent"}`: then the call did not come to an end, and the rest is empty.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from registry.connectors import CallResult

MAX_SHOWN_BYTES = 64 * 1024
MAX_IMAGE_CHARACTERS = 1_000_000  # of base64
IMAGE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
NEXT_STEPS = {
    "needs_auth": "Enter its credentials under Authorise, then call it again.",
    "not_authorised": "Authorise it on the server's page first, or accept its new definition there.",
    "unreachable": "Test the server's connection to see what is wrong.",
    "wrong_transport": "Test the server's connection to see what is wrong.",
    "not_mcp": "Test the server's connection to see what is wrong.",
    "timeout": "Try it with less to do, or later.",
    "tool_not_found": "Test the server's connection: that reads its tools again.",
    "changed_tool": "Test the server's connection, read what changed on its page, and accept it there.",
    "invalid_arguments": "Correct the arguments: the server refused them.",
    "too_large": "Ask it for less: the answer was larger than can be taken.",
}
USUAL_STEP = "If it stays so, test the server's connection."
MAYBE_DONE = "The server may have carried it out all the same."


def failed(code: str, message: str, *, sent: bool, duration_ms: int | None = None) -> dict[str, Any]:
    """`sent`: had the call possibly reached the server?"""
    next_step = NEXT_STEPS.get(code, USUAL_STEP)
    error = {"code": code, "message": message, "next_step": f"{MAYBE_DONE} {next_step}" if sent else next_step}
    return _result([], None, True, duration_ms, False) | {"error": {**error, "sent": sent}}


def answered(called: CallResult, duration_ms: int) -> dict[str, Any]:
    cut = _Cut()
    content = list(cut.blocks(called.content))
    structured = cut.structured(called.structured)
    return _result(content, structured, called.is_error, duration_ms, cut.is_cut)


def _result(
    content: list[dict[str, Any]], structured: Any, is_error: bool, duration_ms: int | None, truncated: bool
) -> dict[str, Any]:
    return {
        "content": content,
        "structured": structured,
        "is_error": is_error,
        "duration_ms": duration_ms,
        "truncated": truncated,
        "error": None,
    }


class _Cut:
    """Gives out MAX_SHOWN_BYTES of text and one or a few images."""

    def __init__(self) -> None:
        self.left = MAX_SHOWN_BYTES
        self.left_for_images = MAX_IMAGE_CHARACTERS
        self.is_cut = False

    def blocks(self, content: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for block in content:
            shown = self._block(block)
            if shown is None:
                self.is_cut = True
            else:
                yield shown

    def _block(self, block: Mapping[str, Any]) -> dict[str, Any] | None:
        if isinstance(block.get("text"), str) and block.get("type") == "text":
            return self._text({"type": "text"}, block["text"])
        resource = block.get("resource")
        if isinstance(resource, dict) and isinstance(resource.get("text"), str):
            return self._text({"type": "text", "uri": str(resource.get("uri", ""))[:500]}, resource["text"])
        if block.get("type") == "image" and isinstance(block.get("data"), str):
            return self._image(block)
        return dict(block) if self._fits(block) else None

    def _text(self, rest: dict[str, Any], text: str) -> dict[str, Any] | None:
        if self.left <= 0:
            return None
        shown = text.encode("utf-8", "replace")[: self.left].decode("utf-8", "ignore")
        self.left -= len(shown.encode())
        self.is_cut = self.is_cut or len(shown) < len(text)
        return {**rest, "text": shown}

    def _image(self, block: Mapping[str, Any]) -> dict[str, Any] | None:
        if block.get("mimeType") not in IMAGE_TYPES or len(block["data"]) > self.left_for_images:
            return None
        self.left_for_images -= len(block["data"])
        return {"type": "image", "mimeType": block["mimeType"], "data": block["data"]}

    def _fits(self, value: Any) -> bool:
        size = len(json.dumps(value, default=str))
        if size > self.left:
            return False
        self.left -= size
        return True

    def structured(self, value: Any) -> Any:
        """Often the same as the text: it has its own allowance."""
        if len(json.dumps(value, default=str)) <= MAX_SHOWN_BYTES:
            return value
        self.is_cut = True
        return None
