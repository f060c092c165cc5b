"""Strict JSON. Apart from api.py, because REST framework's views import their parsers while api.py imports them."""

import math
from typing import Any

from rest_framework import exceptions
from rest_framework.parsers import JSONParser

MAX_JSON_DEPTH = 100


class StrictJSONParser(JSONParser):
    """JSON as Postgres can store it: no NUL, no lone surrogates, no NaN, a bounded depth."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise exceptions.ParseError("The JSON is nested too deeply.") from error
        check_storable(data)
        return data


def check_storable(data: Any, depth: int = 0) -> None:
    """Raise ParseError for what JSON allows and the database does not."""
    if depth > MAX_JSON_DEPTH:
        raise exceptions.ParseError(f"The JSON is nested deeper than {MAX_JSON_DEPTH} levels.")
    if isinstance(data, str):
        if "\x00" in data or any(0xD800 <= ord(char) <= 0xDFFF for char in data):
            raise exceptions.ParseError("Text must not hold NUL characters or lone surrogates.")
    elif isinstance(data, float):
        if not math.isfinite(data):
            raise exceptions.ParseError("Numbers must be finite.")
    elif isinstance(data, dict):
        for name, value in data.items():
            check_storable(name, depth + 1)
            check_storable(value, depth + 1)
    elif isinstance(data, list):
        for value in data:
            check_storable(value, depth + 1)
