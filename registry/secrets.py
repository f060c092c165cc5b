"""Telling by its name, or by its look, what is probably a secret: it is kept as a credential, and `{name}` stands in
its place. The only place that knows such names: importers, the identity of servers and what is pasted go by it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

_NAME = re.compile(
    r"(?<!max[-_])(?<!max)token(?!iz)|secret|passw|passphrase|credential|authorization|bearer|api[-_]?key|private[-_]?key"
    r"|\bkey\b|[-_]key$|(?:^|[-_])auth$",
    re.I,
)
_VALUE = re.compile(r"Bearer (?!\{)\S+|Basic [\w+/=]{8,}|\b(?:sk|ghp|gho|xox[bp]|pat|glpat)[-_][\w-]{12,}", re.I)
PLACE = re.compile(r"\{([\w.\-]+)\}")
_EMPTY = re.compile(r"[<{\[$].*|%[\w.\-]+%|your\b.*|your[-_].*|[xX*.]+|", re.I | re.S)
_HEADER = re.compile(r"([A-Za-z][\w-]*):\s*(.+)", re.S)


def is_secret(name: str) -> bool:
    return bool(_NAME.search(name))


def is_example(value: str) -> bool:
    """Does it only show where a value goes: `<TOKEN>`, `${TOKEN}`, `YOUR_API_KEY`?"""
    return bool(_EMPTY.fullmatch(value.strip()))


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with each `{name}` replaced by its value, where there is one."""
    return PLACE.sub(lambda place: values.get(place[1], place[0]), text)


def filled_url(url: str, values: Mapping[str, str]) -> str:
    return filled(url, {name: quote(value, safe="") for name, value in values.items()})


def places(texts: Sequence[str]) -> set[str]:
    """The names that stand in the texts as `{name}`."""
    return {name for text in texts for name in PLACE.findall(text)}


def without_secrets(url: str) -> str:
    return taken_from_url(url)[0]


def taken_from_url(url: str) -> tuple[str, dict[str, str]]:
    """The address with `{name}` for each value in its query that is probably secret, and these values."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", {}
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    values = {name: value for name, value in pairs if _is_to_hide(name, value)}
    if not values:
        return url, {}
    shown = [(name, f"{{{name}}}" if name in values else value) for name, value in pairs]
    given = {name: value for name, value in values.items() if not is_example(value)}
    return urlunsplit(parts._replace(query=urlencode(shown, safe="{}"))), given


def _is_to_hide(name: str, value: str) -> bool:
    """Not where a `{name}` stands already, and only what can be called by its name."""
    is_place = PLACE.fullmatch(value) or not PLACE.fullmatch(f"{{{name}}}")
    return not is_place and (is_secret(name) or bool(_VALUE.search(value)))


def masked(args: Sequence[str]) -> list[str]:
    return taken_from_args(args)[0]


def taken_from_args(args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments of a command with `{name}` for what follows `--api-key`, `--api-key=` or `Authorization:` and
    `{secret}` for what looks like a token, and these values."""
    values: dict[str, str] = {}
    return list(_shown(args, values)), {name: value for name, value in values.items() if not is_example(value)}


def _shown(args: Sequence[str], values: dict[str, str]) -> Iterator[str]:
    awaited = ""
    for arg in args:
        name, equals, value = arg.partition("=")
        header = _HEADER.fullmatch(arg)
        if PLACE.fullmatch(value if equals else arg):
            yield arg
        elif awaited and not arg.startswith("-"):
            yield _place(awaited, arg, values)
        elif equals and value and is_secret(name) and PLACE.fullmatch(f"{{{name.lstrip('-')}}}"):
            yield f"{name}={_place(name.lstrip('-'), value, values)}"
        elif header and is_secret(header[1]) and not header[2].startswith("//") and not PLACE.search(header[2]):
            yield f"{header[1]}: {_place(header[1], header[2], values)}"
        else:
            yield _VALUE.sub(lambda found: _place("secret", found[0], values), arg)
        awaited = arg.lstrip("-") if arg.startswith("-") and not equals and is_secret(arg) else ""


def _place(name: str, value: str, values: dict[str, str]) -> str:
    """Two options of the same name may have two values."""
    free = name
    while free in values and values[free] != value:
        free += "-2"
    values[free] = value
    return f"{{{free}}}"
