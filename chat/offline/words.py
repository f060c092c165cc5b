"""Words of a message: its clauses, the stems that carry meaning, and verbs that name the same deed."""

import re
from collections.abc import Iterator
from functools import lru_cache

import snowballstemmer

from registry.embeddings import split_words

_STEMMER = snowballstemmer.stemmer("english")
_STOP_WORDS = """
a about am an and any are as at be been but by can could did do does for from had has have he her him his how i if in
into is it its just let me my no not now of off on one or our out please she should so some such than that the their
them then there these they this those to too up us use using very want was we were what when where which who whom why
will with would you your
"""
_STOP = frozenset(_STOP_WORDS.split())
# What people say, and what tools for it are called. The first is the closest.
_DEEDS = {
    "save": "save write store put append create",
    "store": "store save write put append create",
    "write": "write save append create",
    "put": "put write save append",
    "note": "note write save append",
    "append": "append write",
    "read": "read open view cat show",
    "show": "show read view display list get",
    "open": "open read",
    "print": "print read show",
    "display": "display read show",
    "list": "list ls enumerate",
    "find": "find search lookup query",
    "search": "search find lookup query",
    "look": "lookup search find",
    "get": "get fetch read retrieve",
    "fetch": "fetch get download retrieve",
    "download": "download fetch get",
    "load": "load fetch read",
    "send": "send post mail",
    "mail": "mail email send",
    "email": "email mail send",
    "post": "post send create",
    "delete": "delete remove",
    "remove": "remove delete",
    "create": "create make add new",
    "make": "make create add",
    "add": "add create insert append",
    "convert": "convert transform",
    "translate": "translate convert",
    "turn": "turn convert transform",
    "count": "count number",
    "capitalise": "upper capital",
    "capitalize": "upper capital",
    "uppercase": "upper",
    "backwards": "reverse",
    "rename": "rename move",
    "copy": "copy",
    "summarise": "summarize summary",
}
_QUOTES = (
    r'"[^"\n]+"',
    "\u201c[^\u201d\n]+\u201d",
    "\u2018[^\u2019\n]+\u2019",
    r"`[^`\n]+`",
    r"(?<!\w)'[^'\n]+'(?!\w)",
)
_QUOTED = re.compile("|".join(_QUOTES))
_VERBS = "|".join(sorted(_DEEDS))
_BREAKS = re.compile(
    rf"(?<=[.?!;])\s+|\n+|,?\s+(?:and\s+then|then)\s+|,?\s+and\s+(?=(?:{_VERBS})\b)|,\s+(?=(?:{_VERBS})\b)",
    re.IGNORECASE,
)


def clauses(text: str) -> list[str]:
    """What is asked for, one deed each: "What time is it? Save it in a.txt" has two. Quoted text stays whole."""
    masked = _QUOTED.sub(lambda match: "\x00" * len(match[0]), text)
    found: list[str] = []
    start = 0
    for match in _BREAKS.finditer(masked):
        found.append(text[start : match.start()])
        start = match.end()
    found.append(text[start:])
    return [clause.strip() for clause in found if re.search(r"\w", clause)]


def quotations(text: str) -> Iterator[re.Match[str]]:
    return _QUOTED.finditer(text)


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    return str(_STEMMER.stemWord(word.lower()))


def stems(text: str) -> set[str]:
    """The stems of the words that carry meaning."""
    words = re.findall(r"[^\W\d_]+", split_words(text).lower())
    return {stem(word) for word in words if word not in _STOP and len(word) > 1}


def meanings(text: str) -> dict[str, float]:
    """Stems to look for in tools → how close each is to what was said: 1 as said, less for another word for it."""
    weights: dict[str, float] = {}
    for word in re.findall(r"[^\W\d_]+", text.lower()):
        if word in _STOP and word not in _DEEDS:
            continue
        weights[stem(word)] = 1.0
        for distance, other in enumerate(_DEEDS.get(word, "").split()):
            weights.setdefault(stem(other), 0.9 - 0.1 * distance)
    return weights
