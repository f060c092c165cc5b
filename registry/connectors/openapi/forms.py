"""The bytes of a request body."""

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from registry.connectors.openapi.bodies import kind_of
from registry.connectors.openapi.operations import Body, Field
from registry.connectors.openapi.styles import pairs, plain

MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.+-]+)?", re.ASCII)
BINARY, TEXT, JSON = "application/octet-stream", "text/plain", "application/json"
Part = tuple[str, tuple[str | None, bytes, str | None]]


class BadArgument(Exception):
    """An argument that cannot be sent. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent: bytes of a content type, or the parts of a multipart form."""

    content_type: str = ""
    body: bytes | None = None
    parts: list[Part] = field(default_factory=list)


def content_of(body: Body, value: Any) -> Content:
    """Raises BadArgument."""
    match kind_of(body.content_type):
        case "json":
            content_type = JSON if body.content_type == "*/*" else body.content_type
            return Content(content_type, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        case "form":
            return Content(body.content_type, "&".join(_form(body, _object(value))).encode())
        case "multipart":
            return Content(parts=list(_parts(body, _object(value))))
        case "text":
            return Content(body.content_type, plain(value).encode("utf-8", "replace"))
    given = value.get("content_type") if isinstance(value, dict) else None
    fixed = body.content_type if "*" not in body.content_type else BINARY
    return Content(_media_type(given, fixed), _bytes_of("The body", value))


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadArgument("The body of this operation is a form: give an object.")
    return value


def _form(body: Body, value: dict[str, Any]) -> Iterator[str]:
    for name, each in value.items():
        described = body.fields.get(name, Field())
        if each is None:
            continue
        if isinstance(each, dict) and not described.style:
            each = plain(each)
        yield from pairs(name, each, described.style or "form", described.explode)


def _parts(body: Body, value: dict[str, Any]) -> Iterator[Part]:
    for name, each in value.items():
        described = body.fields.get(name, Field())
        if each is None:
            continue
        if described.style and not described.is_file and isinstance(each, list) and not described.explode:
            each = ",".join(map(plain, each))
        for one in each if isinstance(each, list) else [each]:
            yield name, _file(name, described, one) if described.is_file else _text(described, one)


def _text(described: Field, value: Any) -> tuple[None, bytes, str | None]:
    default = JSON if isinstance(value, dict | list) else None
    return None, plain(value).encode("utf-8", "replace"), described.content_type or default


def _file(name: str, described: Field, value: Any) -> tuple[str, bytes, str]:
    """A bare text is a file with that content."""
    told = value if isinstance(value, dict) else {}
    filename = str(told.get("filename") or name)
    fixed = described.content_type if described.content_type and "*" not in described.content_type else ""
    guessed = mimetypes.guess_type(filename)[0] or (BINARY if "base64" in told else TEXT)
    return filename, _bytes_of(name, value), _media_type(told.get("content_type"), fixed or guessed)


def _media_type(said: Any, default: str) -> str:
    return said if isinstance(said, str) and MEDIA_TYPE.fullmatch(said) else default


def _bytes_of(name: str, value: Any) -> bytes:
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        try:
            return base64.b64decode("".join(value["base64"].split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadArgument(f"{name} is not valid base64.") from error
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        value = value["text"]
    return plain(value).encode("utf-8", "replace")
