"""Strict JSON. Apart from api.py, because REST framework's views import their parsers while api.py imports them."""

import json
import math
from typing import Any

from django.utils.http import parse_header_parameters
from rest_framework import exceptions
from rest_framework.parsers import JSONParser

MAX_JSON_DEPTH = 100
UTF8 = ("", "utf-8", "utf8", "us-ascii")


class StrictJSONParser(JSONParser):
    """JSON that means one thing and that Postgres can store: no name twice, no NUL, no lone surrogates, no NaN, a
    bounded depth, in UTF-8 and as it is."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        check_plain_utf8(media_type or "", parser_context["request"])
        try:
            data = json.loads(stream.read().decode(), parse_constant=refuse_constant, object_pairs_hook=distinct)
        except RecursionError as error:
            raise exceptions.ParseError("The JSON is nested too deeply.") from error
        except ValueError as error:
            raise exceptions.ParseError(f"The JSON cannot be read: {error}") from error
        check_storable(data)
        return data


def check_plain_utf8(media_type: str, request: Any) -> None:
    """Raise UnsupportedMediaType."""
    charset = parse_header_parameters(media_type)[1].get("charset", "").lower()
    if charset not in UTF8:
        raise exceptions.UnsupportedMediaType(media_type, "JSON is read in UTF-8 only.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise exceptions.UnsupportedMediaType(media_type, "A compressed body is not read: send it as it is.")


def refuse_constant(name: str) -> None:
    raise exceptions.ParseError("Numbers must be finite.")


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values for one name none is taken: who checked the first would let the last one through."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise exceptions.ParseError("A name stands twice in one object.")
    return found


def check_storable(data: Any, depth: int = 0) -> None:
    """Raise ParseError for what JSON allows and the database does not."""
    if depth > MAX_JSON_DEPTH:
        raise exceptions.ParseError(f"The JSON is nested deeper than {MAX_JSON_DEPTH} levels.")
    if isinstance(data, str):
        check_text(data)
    elif isinstance(data, float):
        if not math.isfinite(data):
            raise exceptions.ParseError("Numbers must be finite.")
    elif isinstance(data, dict):
        for name, value in data.items():
            check_text(name)
            check_storable(value, depth + 1)
    elif isinstance(data, list):
        for value in data:
            check_storable(value, depth + 1)


def check_text(text: str) -> None:
    try:
        has_nul = b"\x00" in text.encode()
    except UnicodeEncodeError:
        has_nul = True
    if has_nul:
        raise exceptions.ParseError("Text must not hold NUL characters or lone surrogates.")
