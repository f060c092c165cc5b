"""Every address of the product, as its resolver lists them, and an example of each."""

import re
from collections.abc import Iterator
from typing import Any

from django.urls import get_resolver

EXAMPLES = {  # of what staff's pages and sign-in have in their addresses
    "uuid": "00000000-0000-4000-8000-000000000000",
    "int": "1",
    "str": "x",
    "path": "x",
    "slug": "x",
}


def routes(patterns: Any = None, before: str = "") -> Iterator[str]:
    """As they are written in the urls modules: `runs/<uuid:pk>/cancel`."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = before + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def example_of(route: str) -> str:
    """An address that the route matches; an expression is read only as far as the libraries in use write them."""
    plain = re.sub(r"\(\?P<\w+>[^)]*\)\??", "x", route)
    plain = plain.replace("/?$", "/").replace("^", "").replace("$", "")
    filled = re.sub(r"<(?:(\w+):)?\w+>", lambda found: EXAMPLES[found.group(1) or "str"], plain)
    return "/" + filled
