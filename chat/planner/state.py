"""What one planning holds while it runs. It is rebuilt from rows each time and never stored as it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

from django.contrib.auth.models import User
from langchain_core.messages import BaseMessage

from chains.models import ToolRun
from chains.plan import Toolbox
from chat.drafts import Draft
from chat.memory import Recalled
from chat.metering import MeteredModel
from registry.models import Tool


@dataclass(frozen=True, slots=True)
class SoFar:
    """A plan that has run as far as it could: `because` says why that is not the end."""

    plan: dict[str, Any]
    steps: list[ToolRun]
    because: str
    tools: list[Tool] = field(default_factory=list)

    @property
    def kept(self) -> list[dict[str, Any]]:
        """The steps that are done: they stay in the plan, and later ones may refer to them."""
        done = {row.step for row in self.steps if row.status == ToolRun.Status.SUCCEEDED}
        return [step for step in self.plan["steps"] if step["id"] in done]

    @property
    def next_number(self) -> int:
        """No id is given twice in a run, not even that of a step that is dropped."""
        numbers = [int(row.step[1:]) for row in self.steps if row.step[:1] == "s" and row.step[1:].isdecimal()]
        return max(numbers, default=0) + 1


@dataclass(frozen=True, slots=True)
class PlannerContext:
    """Who asks, what was said before, who plans (no model: the offline planner), what to do while it thinks."""

    user: User
    recall: Callable[[], Recalled]
    model: MeteredModel | None
    while_waiting: Callable[[], None]


class PlanState(TypedDict, total=False):
    question: str
    so_far: SoFar | None
    recalled: Recalled
    queries: list[str]  # what tools are searched for, beside the whole question
    tools: list[Tool]
    messages: list[BaseMessage]  # the exchange with the model, corrections included
    rounds: int  # proposals so far
    draft: Draft
    toolbox: Toolbox | None  # what the newest draft was checked with
    problems: list[str]  # of the newest draft, as sentences
    given_up: str  # why there was no further correction
    unfilled: bool  # nothing is wrong with the newest draft but arguments that the user has to give
    made_up: list[str]  # where in it such an argument was invented
