"""JSON as strangers write it, made fit for the SDK's parser, which refuses a whole answer for one value it cannot hold.

What is nested too deep, a number without measure and half a surrogate pair are taken out: one bad tool then hides no
other. Whatever is fine already passes as it is.
"""

import json
import math
import re

from pydantic_core import from_json

from registry.connectors.tools import storable

MAX_DEPTH = 150  # the SDK's parser gives up at 200
MAX_DIGITS = 300
MAX_REPAIRED_BYTES = 3_000_000  # it takes a second for each
MAX_CONTAINERS = 400_000  # objects and lists: each takes some hundred bytes of memory, and three of the answer
# A string that does not end goes to the end of the text: tried once, not from each of its characters.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)


def containers(data: bytes) -> int:
    """At most how many objects and lists this part of a text begins."""
    return data.count(b"{") + data.count(b"[")


def repaired(data: bytes) -> bytes:
    """The same JSON where the SDK can read it or nobody can; else what can be read of it."""
    try:
        from_json(data, cache_strings="none")
    except ValueError:
        return _readable(data) if len(data) <= MAX_REPAIRED_BYTES else data
    return data


def _readable(data: bytes) -> bytes:
    try:
        value = json.loads(
            _shallow(data.decode(errors="replace")), parse_int=_int, parse_float=_float, parse_constant=_float
        )
    except (ValueError, RecursionError):
        return data
    return json.dumps(storable(value)).encode()


def _int(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _float(digits: str) -> float | None:
    value = float(digits) if len(digits) <= MAX_DIGITS else math.inf
    return value if math.isfinite(value) else None


def _shallow(text: str) -> str:
    """The text with null in place of what is nested deeper than MAX_DEPTH."""
    kept: list[str] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        match token.group()[0]:
            case "{" | "[":
                depth += 1
                if depth == MAX_DEPTH + 1:
                    kept.append(text[start : token.start()] + "null")
            case "}" | "]":
                depth -= 1
                if depth == MAX_DEPTH:
                    start = token.end()
    return "".join([*kept, text[start:]]) if depth <= MAX_DEPTH else text
