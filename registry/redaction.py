"""Taking secrets out of text, in the spellings in which they travel."""

import base64
import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

MIN_SECRET = 6  # characters; what is shorter occurs by chance
MIN_PIECE = 8  # of a secret that was cut
REDACTED = "[redacted]"
MARK = "\0"  # stands for it until all is done: a secret may read like what stands for it
Told = TypeVar("Told")


class Redactor:
    def __init__(self, secrets: Iterable[str]) -> None:
        self.words: list[str] = []
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Further ones, from now on."""
        words = {word for secret in secrets for word in spellings(secret.replace(MARK, ""))}
        self.words = sorted({*self.words, *words}, key=len, reverse=True)

    def text(self, text: str) -> str:
        for word in self.words:
            text = text.replace(word, MARK)
        for word in self.words:
            text = without_pieces(text, word)
        return text.replace(MARK, REDACTED)

    def data(self, data: Told) -> Told:
        """The same shape, with every text in it redacted, the names of fields too."""
        return self._data(data) if self.words else data

    def _data(self, data: Any) -> Any:
        match data:
            case str():
                return self.text(data)
            case dict():
                return {self._data(name): self._data(value) for name, value in data.items()}
            case list():
                return [self._data(item) for item in data]
        if is_dataclass(data) and not isinstance(data, type):
            return replace(data, **{each.name: self._data(getattr(data, each.name)) for each in fields(data)})
        return data


def without_pieces(text: str, word: str) -> str:
    """Texts are cut, and come in chunks: half of a secret at an edge is taken out as well."""
    half = max(MIN_PIECE, (len(word) + 1) // 2)
    if half >= len(word):
        return text
    while (at := text.find(word[:half])) >= 0:
        text = text[:at] + MARK + text[at + alike(text[at:], word) :]
    while (at := text.find(word[-half:])) >= 0:
        start = at + half - alike(text[: at + half][::-1], word[::-1])
        text = text[:start] + MARK + text[at + half :]
    return text


def alike(one: str, other: str) -> int:
    """How many characters two texts begin with together."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def spellings(secret: str) -> set[str]:
    """As it was given, without its scheme (`Bearer …`), and as addresses, JSON and basic authentication write it."""
    whole = secret.strip()
    scheme, _, rest = whole.partition(" ")
    plain = {whole, rest if scheme.isalpha() and " " not in rest else whole}
    plain |= {word.partition(":")[2] for word in plain if ":" in word}  # the password of `name:password`
    ways = (quote, quote_plus, _quoted_whole, _in_json, _in_base64)
    return {word for word in plain | {way(word) for way in ways for word in plain} if len(word) >= MIN_SECRET}


def _quoted_whole(word: str) -> str:
    return quote(word, safe="")


def _in_json(word: str) -> str:
    return json.dumps(word)[1:-1]


def _in_base64(word: str) -> str:
    return base64.b64encode(word.encode()).decode()
