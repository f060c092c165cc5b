"""A search's vector takes longest and needs words alone: it is begun while its caller is still being recognised.

Only for callers who were let in a moment ago, so that no stranger causes work. Nothing is answered by it: who may not
search any more is refused as ever, and the vector is for nobody.
"""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, QueryDict

from registry.search.query import begin_vector

REMEMBERED_S = 60.0
MOST_REMEMBERED = 1_000
SHOWN = ("authorization", "cookie")  # by callers, of who they are

_let_in: dict[bytes, float] = {}  # when, by the hash of what was shown


def remember(request: HttpRequest) -> None:
    """It was let in."""
    if len(_let_in) >= MOST_REMEMBERED:
        _let_in.clear()
    _let_in[_hash([request.headers.get(name, "").encode("latin-1", "replace") for name in SHOWN])] = time.monotonic()


def begin(scope: Mapping[str, Any]) -> None:
    """Of a request for a search, as it comes in: ASGI's scope."""
    headers = dict(scope["headers"])
    seen_at = _let_in.get(_hash([headers.get(name.encode(), b"") for name in SHOWN]))
    if seen_at is None or time.monotonic() - seen_at > REMEMBERED_S:
        return
    try:
        text = QueryDict(scope["query_string"]).get("q")
    except TooManyFieldsSent:  # it is refused where it is read again
        return
    if text and text.strip():
        begin_vector(text)


def _hash(shown: list[bytes]) -> bytes:
    return hashlib.sha256(b"\0".join(shown)).digest()
