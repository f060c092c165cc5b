"""Why a server was found, in a short sentence."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from registry.embeddings import split_words
from registry.models import Server
from registry.search.results import MatchedTool

NEWEST = "Newest first: there is nothing to search for yet."
BY_NAME = "By name: there is nothing to search for yet."
MIN_PREFIX = 3  # letters that make `files` and `filesystem` the same word here
CLOSE_COSINE = 0.35
MAX_READ = 400  # characters of a description; what is further on is not what it is about
MAX_REASONS = 3

# Of a text in UTF-8, where a letter beyond ASCII is made of bytes beyond it: a tenth of what it takes by characters.
_BETWEEN_WORDS = bytes(32 if code < 128 and not chr(code).isalnum() else code for code in range(256))


class Word(NamedTuple):
    """One that the user typed, lower case, and how it stands in a text: itself or a word that it begins, or (of a
    plural) its singular."""

    word: str
    look: bytes
    singular: bytes

    @classmethod
    def of(cls, word: str) -> "Word":
        look = f" {word}" if len(word) >= MIN_PREFIX else f" {word} "
        singular = f" {word[:-1]} " if len(word) > MIN_PREFIX and word.endswith("s") else ""
        return cls(word, look.encode(), singular.encode())


def why(server: Server, tools: Sequence[MatchedTool], words: Sequence[Word], cosine: float | None) -> str:
    """`cosine` is the nearest text's of this server."""
    reasons: list[str] = []
    unseen = words
    for place, text in _places(server, tools):
        if found := _seen(unseen, text):
            reasons.append(f"{place} match{'' if place.endswith('s') else 'es'} {_quoted(found)}")
            unseen = [word for word in unseen if word.word not in found]
        if not unseen or len(reasons) == MAX_REASONS:
            break
    if cosine is not None and cosine >= CLOSE_COSINE:
        reasons.append(f"close in meaning: {tools[0].name}" if tools else "close in meaning")
    sentence = "; ".join(reasons[:MAX_REASONS]) or "somewhat close in meaning"
    return sentence[0].upper() + sentence[1:]


def _seen(words: Sequence[Word], text: bytes) -> list[str]:
    return [word for word, look, singular in words if look in text or (singular and singular in text)]


def _places(server: Server, tools: Sequence[MatchedTool]) -> Iterator[tuple[str, bytes]]:
    """Each with its words between spaces."""
    yield "name", _spaced(split_words(f"{server.name} {server.title}"))
    yield "tool names", _spaced(split_words(" ".join(tool.name for tool in tools)))
    yield "description", _spaced(f"{server.description[:MAX_READ]} {' '.join(server.tags)}")
    yield "tool descriptions", _spaced(" ".join(tool.description[:MAX_READ] for tool in tools))


def _spaced(text: str) -> bytes:
    return f" {text.lower()} ".encode().translate(_BETWEEN_WORDS)


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"“{word}”" for word in words[:4])
