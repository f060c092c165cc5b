"""From what a user says to a plan over the tools they authorised."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from django.contrib.auth.models import User

from chains.plan import Toolbox
from chat.drafts import Draft
from chat.llm import OFFLINE, ModelError
from chat.memory import Recalled
from chat.metering import MeteredModel
from chat.planner.graph import PLANNER
from chat.planner.state import PlannerContext, PlanState, SoFar

__all__ = ["Planning", "SoFar", "plan", "plan_again"]

OFFLINE_NOTE = "Planned without a language model, by matching your words to your tools."


@dataclass(frozen=True, slots=True)
class Planning:
    """A draft and how it came about. With problems it cannot run."""

    draft: Draft
    problems: list[str]
    tools: list[str]
    queries: list[str]
    provider: str
    model: str
    note: str
    took_ms: int
    recalled: Recalled = field(default_factory=Recalled)
    toolbox: Toolbox | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "model": self.model,
            "note": self.note,
            "say": self.draft.say,
            "missing": self.draft.missing,
            "look": self.draft.look,
            "problems": self.problems,
            "queries": self.queries,
            "tools": self.tools,
            "results": [str(result.pk) for result in self.recalled.found],
            "took_ms": self.took_ms,
        }


def plan(
    question: str,
    *,
    user: User,
    recall: Callable[[], Recalled],
    model: MeteredModel | None,
    while_waiting: Callable[[], None],
) -> Planning:
    """Plan with the model; where it gives no usable reply the offline planner takes over, and the note says so.

    Whatever `while_waiting` raises ends the planning.
    """
    started = time.monotonic()
    note = OFFLINE_NOTE
    if model is not None:
        try:
            state = _run(question, PlannerContext(user, recall, model, while_waiting))
            return _planning(state, model.provider, model.name, " ".join(model.notes), started)
        except ModelError as error:
            note = " ".join([*model.notes, f"The model {model.name} {error.message}. {OFFLINE_NOTE}"])
    state = _run(question, PlannerContext(user, recall, None, while_waiting))
    return _planning(state, OFFLINE, "", note, started)


def plan_again(
    question: str,
    so_far: SoFar,
    *,
    user: User,
    recall: Callable[[], Recalled],
    model: MeteredModel,
    while_waiting: Callable[[], None],
) -> Planning:
    """What is still to be done after a plan has run; the draft's steps begin with those that are done. Raises
    ModelError: without a model nobody can judge that."""
    started = time.monotonic()
    state = _run(question, PlannerContext(user, recall, model, while_waiting), so_far)
    return _planning(state, model.provider, model.name, " ".join(model.notes), started)


def _run(question: str, context: PlannerContext, so_far: SoFar | None = None) -> PlanState:
    return cast(PlanState, PLANNER.invoke({"question": question, "so_far": so_far}, context=context))


def _planning(state: PlanState, provider: str, model: str, note: str, started: float) -> Planning:
    took_ms = round((time.monotonic() - started) * 1000)
    names: Sequence[str] = [f"{tool.server.slug}.{tool.name}" for tool in state["tools"]]
    draft, problems = state["draft"], state["problems"]
    recalled, toolbox = state["recalled"], state.get("toolbox")
    return Planning(draft, problems, list(names), state["queries"], provider, model, note, took_ms, recalled, toolbox)
