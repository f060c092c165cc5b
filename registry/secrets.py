"""Telling by its name what is probably a secret, so that it is kept apart and never shown."""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

WORDS = re.compile(
    r"token|secret|passw|passphrase|credential|api[-_]?key|auth|bearer|private[-_]?key|\bkey\b|[-_]key$", re.I
)


def is_secret(name: str) -> bool:
    return bool(WORDS.search(name))


def without_secrets(url: str) -> str:
    """The address with `{name}` in place of each value in its query that is probably secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if not any(is_secret(name) for name, _ in pairs):
        return url
    shown = [(name, f"{{{name}}}" if is_secret(name) else value) for name, value in pairs]
    return urlunsplit(parts._replace(query=urlencode(shown, safe="{}")))


def masked(args: Sequence[str]) -> list[str]:
    """The arguments of a command with `{name}` in place of what follows `--api-key` or `--api-key=`."""
    return list(_masked(args))


def _masked(args: Sequence[str]) -> Iterator[str]:
    awaited = ""
    for arg in args:
        name, equals, value = arg.partition("=")
        if awaited and not arg.startswith("-"):
            yield f"{{{awaited}}}"
        elif equals and value and is_secret(name):
            yield f"{name}={{{name.lstrip('-')}}}"
        else:
            yield arg
        awaited = arg.lstrip("-") if arg.startswith("-") and not equals and is_secret(arg) else ""
