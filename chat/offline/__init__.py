"""A planner without a model: it takes a message apart into clauses, finds a tool for each by its words, and fills
arguments by schema from what the message says or from what the step before gave. What it cannot fill, it asks for.
"""

from collections.abc import Sequence
from typing import Any

from chat.drafts import ASK, Draft, with_inputs
from chat.offline.arguments import Filled, declared, fill, node_of
from chat.offline.choosing import Choice, choose
from chat.offline.facts import Facts, facts_in
from chat.offline.words import clauses
from registry.models import Tool

MAX_CLAUSES = 8


def plan(message: str, tools: Sequence[Tool]) -> Draft:
    """A draft over these tools; without steps and nothing missing where no tool has a word in common with it."""
    steps: list[Filled] = []
    unmatched: list[str] = []
    for clause in clauses(message)[:MAX_CLAUSES]:
        found = _steps_for(facts_in(clause), tools, steps)
        steps.extend(found)
        if not found:
            unmatched.append(clause)
    written, inputs = with_inputs([_step(number, step) for number, step in enumerate(steps, 1)], tools)
    return Draft(steps=written, say=_say(steps, unmatched), inputs=inputs)


def _steps_for(facts: Facts, tools: Sequence[Tool], before: list[Filled]) -> list[Filled]:
    """One step for a clause, or two where one tool makes what the other takes ("Save the time in Rome to a.txt")."""
    best = choose(facts, tools, before)
    if best is None:
        return []
    step, others = best.filled, [tool for tool in tools if tool != best.filled.tool]
    left = facts.without(step.used)
    if step.missing_text and (maker := choose(left, others, before)) and not maker.filled.missing:
        again = choose(facts.without(maker.filled.used), [step.tool], [*before, maker.filled])
        if again and not again.filled.missing:
            return [maker.filled, again.filled]
    if step.missing and (pair := _with_maker(step, left, others, facts, before)):
        return pair
    if not step.missing and (taker := choose(left, others, [*before, step])) and _goes_on(taker):
        return [step, taker.filled]
    return [step]


def _with_maker(step: Filled, left: Facts, others: Sequence[Tool], facts: Facts, before: list[Filled]) -> list[Filled]:
    """With the one tool before it that says it returns what is missing, and lacks nothing itself; none where there is
    no such tool, or a choice."""
    makers = [tool for tool in others if set(step.missing) & set(declared(tool))]
    filled = [maker for maker in (fill(tool, left, before) for tool in makers) if not maker.missing]
    if len(filled) != 1:
        return []
    again = fill(step.tool, facts.without(filled[0].used), [*before, filled[0]])
    return [] if again.missing else [filled[0], again]


def _goes_on(taker: Choice) -> bool:
    """Does it use a fact the first step left, and that step's result?"""
    filled = taker.filled
    return bool(filled.used) and filled.references > 0 and not filled.missing


def _step(number: int, step: Filled) -> dict[str, Any]:
    tool = step.tool
    asked = {name: {ASK: _about(tool, name)} for name in step.missing}
    return {"id": f"s{number}", "server": tool.server.slug, "tool": tool.name, "arguments": step.arguments | asked}


def _about(tool: Tool, name: str) -> str:
    about = node_of(tool, name).get("description")
    return " ".join(about.split()) if isinstance(about, str) else ""


def _say(steps: Sequence[Filled], unmatched: Sequence[str]) -> str:
    if not steps:
        return ""
    calls = ", then ".join(f"{step.tool.server.slug}.{step.tool.name}" for step in steps)
    quoted = "; ".join(f"“{clause[:100]}”" for clause in unmatched)
    return f"I call {calls}." + (f" I found no tool for {quoted}." if quoted else "")
