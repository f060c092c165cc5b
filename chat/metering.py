"""Models within a message's budget: each call is checked before it is made and counted after it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.conf import settings
from langchain_core.messages import BaseMessage

from chat.llm import ChatModel, ModelError, Usage
from chat.prices import cost_of


class BudgetSpent(ModelError):
    """The call was not made."""

    def __init__(self, what: str) -> None:
        super().__init__(f"was not asked again: this message has used up its budget of {what}", retryable=False)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a message has cost. `cost_usd` is None as long as no price was known."""

    model_calls: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    cost_usd: Decimal | None = None

    def __add__(self, other: "Spent") -> "Spent":
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Spent(
            self.model_calls + other.model_calls,
            self.usage + other.usage,
            self.seconds + other.seconds,
            sum(costs, Decimal()) if costs else None,
        )


@dataclass(slots=True)
class Meter:
    """`before`: what earlier jobs spent on the same message."""

    before: Spent = field(default_factory=Spent)
    since: Spent = field(default_factory=Spent)

    def check(self) -> None:
        """Raises BudgetSpent."""
        spent = self.before + self.since
        tokens = spent.usage.input_tokens + spent.usage.output_tokens
        limits = (
            (spent.model_calls >= settings.CHAT_MAX_MODEL_CALLS, f"{settings.CHAT_MAX_MODEL_CALLS} model calls"),
            (tokens >= settings.CHAT_MAX_TOKENS, f"{settings.CHAT_MAX_TOKENS:,} tokens"),
            (spent.seconds >= settings.CHAT_MAX_SECONDS, f"{settings.CHAT_MAX_SECONDS} seconds of waiting for models"),
            ((spent.cost_usd or 0) >= settings.CHAT_MAX_COST_USD, f"{settings.CHAT_MAX_COST_USD:.2f} US dollars"),
        )
        for is_reached, what in limits:
            if is_reached:
                raise BudgetSpent(what)

    def add(self, model: ChatModel, usage: Usage, seconds: float) -> None:
        self.since += Spent(1, usage, seconds, cost_of(model.name, usage))

    def take(self) -> Spent:
        """What came together since the last time this was asked."""
        taken, self.before, self.since = self.since, self.before + self.since, Spent()
        return taken


@dataclass(slots=True)
class MeteredModel:
    """The model a conversation is held with, and those that take over one after the other where it fails."""

    models: list[ChatModel]
    meter: Meter
    notes: list[str] = field(default_factory=list)

    @property
    def provider(self) -> str:
        return self.models[0].provider

    @property
    def name(self) -> str:
        return self.models[0].name

    @property
    def context_tokens(self) -> int:
        return min(model.context_tokens for model in self.models)

    def ask(self, messages: Sequence[BaseMessage], *, schema: dict[str, Any]) -> str:
        """A reply that was told to be JSON of this schema. Raises ModelError when every model failed."""
        while True:
            try:
                return self._ask(messages, schema)
            except ModelError as error:
                if not self.fall_back(error):
                    raise

    def _ask(self, messages: Sequence[BaseMessage], schema: dict[str, Any]) -> str:
        self.meter.check()
        started, usage = time.monotonic(), Usage()
        try:
            reply, usage = self.models[0].ask(messages, schema=schema)
        finally:
            self.meter.add(self.models[0], usage, time.monotonic() - started)
        return reply

    def stream(self, messages: Sequence[BaseMessage]) -> Iterator[str]:
        """Pieces of one model's reply. Raises ModelError; whether another takes over is the caller's to say."""
        self.meter.check()
        started, usage = time.monotonic(), Usage()
        try:
            for piece, cost in self.models[0].stream(messages):
                usage += cost
                if piece:  # the first of many a model is empty, and would only make the next wait for its turn
                    yield piece
        finally:
            self.meter.add(self.models[0], usage, time.monotonic() - started)

    def fall_back(self, error: ModelError) -> bool:
        """Put the next model in the place of the one that failed; False where there is none, or no budget."""
        if isinstance(error, BudgetSpent) or len(self.models) < 2:
            return False
        failed = self.models.pop(0)
        self.notes.append(f"The model {failed.name} {error.message}; {self.name} took over.")
        return True
