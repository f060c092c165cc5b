"""Which tool a clause asks for: shared words, and whether the clause has what the tool needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from chat.offline.arguments import Filled, fill
from chat.offline.facts import Facts
from chat.offline.words import meanings, stems
from registry.models import Tool

NAME_WEIGHT = 3.0
ABOUT_WEIGHT = 1.0
FILLED_WEIGHT = 1.5  # of each fact used
REFERENCE_WEIGHT = 1.0
MISSING_WEIGHT = 0.7
LEAST_WORDS = 0.9  # below it the clause and the tool have nothing in common
ABOUT_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Choice:
    filled: Filled
    words: float
    score: float


def choose(facts: Facts, tools: Sequence[Tool], previous: Sequence[Filled] = ()) -> Choice | None:
    """The tool that fits best, or None where none has a word in common with the clause."""
    choices = [_judge(facts, tool, tools, previous) for tool in tools]
    fitting = [choice for choice in choices if choice.words >= LEAST_WORDS]
    return max(fitting, key=lambda choice: choice.score, default=None)


def by_fit(facts: Sequence[Facts], tools: Sequence[Tool]) -> list[Tool]:
    """Server by server, first what one of the clauses asks for the most."""
    fits = [(tool, max((_judge(one, tool, tools, ()).score for one in facts), default=0.0)) for tool in tools]
    best: dict[str, float] = {}
    for tool, fit in fits:
        best[tool.server.slug] = max(fit, best.get(tool.server.slug, fit))
    fits.sort(key=lambda pair: (-best[pair[0].server.slug], pair[0].server.slug, -pair[1]))
    return [tool for tool, _ in fits]


def _judge(facts: Facts, tool: Tool, tools: Sequence[Tool], previous: Sequence[Filled]) -> Choice:
    filled = fill(tool, facts, previous)
    words = _common(facts, tool, tools)
    evidence = FILLED_WEIGHT * len(filled.used) + REFERENCE_WEIGHT * filled.references
    return Choice(filled, words, words + evidence - MISSING_WEIGHT * len(filled.missing))


def _common(facts: Facts, tool: Tool, tools: Sequence[Tool]) -> float:
    """Words the clause shares with the tool, the rarer among the tools the heavier."""
    name, about = _texts(tool)
    total = 0.0
    for word, closeness in meanings(facts.rest).items():
        weight = NAME_WEIGHT if word in name else ABOUT_WEIGHT if word in about else 0.0
        if weight:
            total += weight * closeness * _rarity(word, tools)
    return total


def _rarity(word: str, tools: Sequence[Tool]) -> float:
    """1 for a word of one tool, less for one that many have."""
    having = sum(word in name or word in about for name, about in map(_texts, tools))
    return (1 + log(len(tools) / max(having, 1))) / (1 + log(len(tools)))


def _texts(tool: Tool) -> tuple[set[str], set[str]]:
    return stems(f"{tool.name} {tool.title}"), stems(f"{tool.description[:ABOUT_CHARACTERS]} {tool.server.slug}")
