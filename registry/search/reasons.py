"""Why a server was found, in a short sentence."""

from collections.abc import Sequence

from registry.embeddings import split_words
from registry.models import Server
from registry.search.results import MatchedTool

NEWEST = "Newest first: there is nothing to search for yet."
BY_NAME = "By name: there is nothing to search for yet."
MIN_PREFIX = 3  # letters that make `files` and `filesystem` the same word here
CLOSE_COSINE = 0.35


def why(server: Server, tools: Sequence[MatchedTool], words: Sequence[str], cosine: float | None) -> str:
    """`words` are those the user typed, lower case; `cosine` is the nearest text's of this server."""
    places = {
        "name": f"{server.name} {server.title}",
        "tool names": " ".join(tool.name for tool in tools),
        "description": f"{server.description} {' '.join(server.tags)}",
        "tool descriptions": " ".join(tool.description for tool in tools),
    }
    reasons = []
    unseen = list(dict.fromkeys(words))
    for place, text in places.items():
        if found := _shared(unseen, text):
            reasons.append(f"{place} match{'' if place.endswith('s') else 'es'} {_quoted(found)}")
            unseen = [word for word in unseen if word not in found]
    if cosine is not None and cosine >= CLOSE_COSINE:
        reasons.append(f"close in meaning: {tools[0].name}" if tools else "close in meaning")
    sentence = "; ".join(reasons[:3]) or "somewhat close in meaning"
    return sentence[0].upper() + sentence[1:]


def _shared(words: Sequence[str], text: str) -> list[str]:
    present = set(split_words(text).lower().split())
    return [word for word in words if any(_alike(word, other) for other in present)]


def _alike(word: str, other: str) -> bool:
    return word == other or (
        min(len(word), len(other)) >= MIN_PREFIX and (other.startswith(word) or word == other + "s")
    )


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"“{word}”" for word in words[:4])
