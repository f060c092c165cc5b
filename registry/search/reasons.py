"""Why a server was found, in a short sentence."""

from collections.abc import Sequence
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

PLACES = ("name matches", "tool names match", "description matches", "tool descriptions match")
BETWEEN_PLACES = "\0"  # no stored text holds one

# Of a text in UTF-8, where a letter beyond ASCII is made of bytes beyond it: a tenth of what it takes by characters.
_BETWEEN_WORDS = bytes(32 if 0 < code < 128 and not chr(code).isalnum() else code for code in range(256))


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

    def first_in(self, text: bytes) -> int:
        """-1: nowhere."""
        at = text.find(self.look)
        if self.singular and (other := text.find(self.singular)) >= 0:
            return other if at < 0 else min(at, other)
        return at


def why(server: Server, tools: Sequence[MatchedTool], words: Sequence[Word], cosine: float | None) -> str:
    """Each word where it stands first. `cosine` is the nearest text's of this server."""
    text = _text_of(server, tools)
    found: list[list[str]] = [[] for _ in PLACES]
    for word in words:
        if (at := word.first_in(text)) >= 0:
            found[text.count(BETWEEN_PLACES.encode(), 0, at)].append(word.word)
    reasons = [f"{place} {_quoted(seen)}" for place, seen in zip(PLACES, found, strict=True) if seen][:MAX_REASONS]
    if cosine is not None and cosine >= CLOSE_COSINE:
        reasons.append(f"close in meaning: {tools[0].name}" if tools else "close in meaning")
    sentence = "; ".join(reasons[:MAX_REASONS]) or "somewhat close in meaning"
    return sentence[0].upper() + sentence[1:]


def _text_of(server: Server, tools: Sequence[MatchedTool]) -> bytes:
    """What is shown of it, place after place, each with its words between spaces."""
    places = (
        split_words(f"{server.name} {server.title}"),
        split_words(" ".join(tool.name for tool in tools)),
        f"{server.description[:MAX_READ]} {' '.join(server.tags)}",
        " ".join(tool.description[:MAX_READ] for tool in tools),
    )
    return f" {f' {BETWEEN_PLACES} '.join(places)} ".lower().encode().translate(_BETWEEN_WORDS)


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"“{word}”" for word in words[:4])
