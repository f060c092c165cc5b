"""Why a server was found, in a short sentence."""

import re
from collections.abc import Sequence

from registry.embeddings import split_words
from registry.models import Server
from registry.search.results import MatchedTool

NEWEST = "Newest first: there is nothing to search for yet."
BY_NAME = "By name: there is nothing to search for yet."
MIN_PREFIX = 3  # letters that make `files` and `filesystem` the same word here
CLOSE_COSINE = 0.35
MAX_READ = 1_000  # characters of a description; what is further on is not what it is about

_BETWEEN_WORDS = re.compile(r"[\W_]+")


def why(server: Server, tools: Sequence[MatchedTool], words: Sequence[str], cosine: float | None) -> str:
    """`words` are those the user typed, lower case; `cosine` is the nearest text's of this server."""
    reasons = []
    unseen = list(dict.fromkeys(words))
    for place, text in _places(server, tools):
        if found := [word for word in unseen if _holds(text, word)]:
            reasons.append(f"{place} match{'' if place.endswith('s') else 'es'} {_quoted(found)}")
            unseen = [word for word in unseen if word not in found]
    if cosine is not None and cosine >= CLOSE_COSINE:
        reasons.append(f"close in meaning: {tools[0].name}" if tools else "close in meaning")
    sentence = "; ".join(reasons[:3]) or "somewhat close in meaning"
    return sentence[0].upper() + sentence[1:]


def _places(server: Server, tools: Sequence[MatchedTool]) -> list[tuple[str, str]]:
    """Each with its words between single spaces."""
    return [
        ("name", _spaced(split_words(f"{server.name} {server.title}"))),
        ("tool names", _spaced(split_words(" ".join(tool.name for tool in tools)))),
        ("description", _spaced(f"{server.description[:MAX_READ]} {' '.join(server.tags)}")),
        ("tool descriptions", _spaced(" ".join(tool.description[:MAX_READ] for tool in tools))),
    ]


def _spaced(text: str) -> str:
    return f" {_BETWEEN_WORDS.sub(' ', text.lower())} "


def _holds(text: str, word: str) -> bool:
    """The word, one that it begins, or its singular."""
    if f" {word} " in text or (len(word) >= MIN_PREFIX and f" {word}" in text):
        return True
    return len(word) > MIN_PREFIX and word.endswith("s") and f" {word[:-1]} " in text


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"“{word}”" for word in words[:4])
