"""What one planning holds while it runs. It is rebuilt from rows each time and never stored as it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from django.contrib.auth.models import User
from langchain_core.messages import BaseMessage

from chat.drafts import Draft
from chat.llm import ChatModel, Usage
from chat.memory import Turn
from registry.models import Tool


@dataclass(frozen=True, slots=True)
class PlannerContext:
    """Who asks, what was said before, who plans (no model: the offline planner), what to do while it thinks."""

    user: User
    history: Callable[[], list[Turn]]
    model: ChatModel | None
    while_waiting: Callable[[], None]


class PlanState(TypedDict, total=False):
    question: str
    history: list[Turn]
    tools: list[Tool]
    messages: list[BaseMessage]  # the exchange with the model, corrections included
    rounds: int  # proposals so far
    draft: Draft
    problems: list[str]  # of the newest draft, as sentences
    usage: Usage
