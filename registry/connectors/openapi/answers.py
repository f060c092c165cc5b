"""What a service answered, as the result of a call."""

import base64
import json
from typing import Any

from registry.connectors.base import CallResult
from registry.connectors.openapi.transfer import Answer
from registry.connectors.tools import depth, storable

MAX_ERROR_CHARACTERS = 4_000
MAX_DEPTH = 100
TOLD_OF_HEAD = ("content-type", "content-length", "etag", "last-modified", "location", "allow")
TEXTUAL = ("json", "xml", "yaml", "javascript", "x-www-form-urlencoded", "graphql", "csv")
SIGN_IN = {
    401: "The service asks for credentials: enter {names} under Authorise on the server's page.",
    403: "The service refuses. Credentials that are missing ({names}) can be entered under Authorise.",
}


def result_of(answer: Answer, method: str, asked_for: str) -> CallResult:
    """`asked_for` names the credentials the service takes."""
    if answer.status >= 400 or answer.location or answer.status < 200:
        return _failed(answer, asked_for)
    if method == "HEAD" or not answer.body:
        return _without_body(answer, method)
    if not _is_text(answer):
        return CallResult([_embedded(answer)], None, False)
    text = _text(answer)
    return CallResult([{"type": "text", "text": text}], _parsed(answer, text), False)


def _failed(answer: Answer, asked_for: str) -> CallResult:
    """Status, what to do about it, and the beginning of what the service says."""
    said = _text(answer) if _is_text(answer) else f"({len(answer.body)} bytes of {answer.content_type})"
    if len(said) > MAX_ERROR_CHARACTERS:
        said = said[:MAX_ERROR_CHARACTERS] + "…"
    hint = SIGN_IN.get(answer.status, "").format(names=asked_for)
    if answer.location:
        hint = f"The service redirects to {answer.location}, which is not followed."
    lines = [f"HTTP {answer.status} {answer.reason}".strip(), hint, said.strip()]
    text = storable("\n".join(line for line in lines if line))
    return CallResult([{"type": "text", "text": text}], _parsed(answer, said), True)


def _without_body(answer: Answer, method: str) -> CallResult:
    told = {name: answer.headers[name] for name in TOLD_OF_HEAD if name in answer.headers}
    status = {"status": answer.status, "headers": told} if method == "HEAD" else None
    text = f"HTTP {answer.status} {answer.reason}".strip()
    lines = [text, *(f"{name}: {value}" for name, value in told.items())] if status else [text]
    return CallResult([{"type": "text", "text": storable("\n".join(lines))}], storable(status), False)


def _is_text(answer: Answer) -> bool:
    kind = answer.content_type
    if kind.startswith("text/") or any(word in kind for word in TEXTUAL):
        return True
    return not kind and b"\x00" not in answer.body


def _text(answer: Answer) -> str:
    try:
        text = answer.body.decode(answer.charset, "replace")
    except LookupError:
        text = answer.body.decode("utf-8", "replace")
    return str(storable(text))


def _parsed(answer: Answer, text: str) -> Any:
    if "json" not in answer.content_type:
        return None
    try:
        value = json.loads(text, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
    return storable(value) if depth(value) <= MAX_DEPTH else None


def _embedded(answer: Answer) -> dict[str, Any]:
    blob = base64.b64encode(answer.body).decode()
    mime_type = answer.content_type or "application/octet-stream"
    return {"type": "resource", "resource": {"uri": answer.url, "mimeType": mime_type, "blob": blob}}
