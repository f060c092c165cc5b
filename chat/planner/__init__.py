"""From what a user says to a plan over the tools they authorised."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth.models import User

from chat.drafts import Draft
from chat.llm import OFFLINE, ChatModel, ModelError, Usage
from chat.memory import Turn
from chat.planner.graph import PLANNER
from chat.planner.state import PlannerContext, PlanState

__all__ = ["Planning", "plan"]

OFFLINE_NOTE = "Planned without a language model, by matching your words to your tools."


@dataclass(frozen=True, slots=True)
class Planning:
    """A draft and how it came about. With problems it cannot run."""

    draft: Draft
    problems: list[str]
    tools: list[str]
    provider: str
    model: str
    note: str
    usage: Usage
    took_ms: int

    def as_json(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "model": self.model,
            "note": self.note,
            "say": self.draft.say,
            "missing": self.draft.missing,
            "problems": self.problems,
            "tools": self.tools,
            "took_ms": self.took_ms,
        }


def plan(
    question: str,
    *,
    user: User,
    history: Callable[[], list[Turn]],
    model: ChatModel | None,
    while_waiting: Callable[[], None],
) -> Planning:
    """Plan with the model; where it gives no usable reply the offline planner takes over, and the note says so.

    Whatever `while_waiting` raises ends the planning.
    """
    started = time.monotonic()
    note = OFFLINE_NOTE
    if model is not None:
        try:
            state = _run(question, PlannerContext(user, history, model, while_waiting))
            return _planning(state, model.provider, model.name, "", started)
        except ModelError as error:
            note = f"The model {model.name} {error.message}. {OFFLINE_NOTE}"
    state = _run(question, PlannerContext(user, history, None, while_waiting))
    return _planning(state, OFFLINE, "", note, started)


def _run(question: str, context: PlannerContext) -> PlanState:
    return cast(PlanState, PLANNER.invoke({"question": question}, context=context))


def _planning(state: PlanState, provider: str, model: str, note: str, started: float) -> Planning:
    took_ms = round((time.monotonic() - started) * 1000)
    names: Sequence[str] = [f"{tool.server.slug}.{tool.name}" for tool in state["tools"]]
    return Planning(state["draft"], state["problems"], list(names), provider, model, note, state["usage"], took_ms)
