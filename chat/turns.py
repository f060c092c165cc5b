"""A conversation as it is drawn: what was said, the plan it led to, the answer."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from chains.drawing import Drawing, drawings_of
from chains.models import Run
from chat.forms import LackingForm
from chat.models import Conversation, Message

MAX_MESSAGES = 200


@dataclass(slots=True)
class Turn:
    question: Message | None = None
    answer: Message | None = None
    run: Run | None = None
    drawing: Drawing | None = None

    @property
    def lacking(self) -> LackingForm | None:
        """The form this turn waits for."""
        waits = self.run is not None and self.run.status == Run.Status.AWAITING_APPROVAL
        has_form = self.question is not None and "form" in (self.question.planning or {})
        return LackingForm(self.question) if self.question and waits and has_form else None

    @property
    def cost_usd(self) -> Decimal | None:
        """Of question and answer together, as far as prices are known."""
        costs = [
            message.cost_usd for message in (self.question, self.answer) if message and message.cost_usd is not None
        ]
        return sum(costs, Decimal()) if costs else None

    @property
    def is_streaming(self) -> bool:
        return self.answer is not None and self.answer.status == Message.Status.STREAMING


def turns_of(conversation: Conversation) -> list[Turn]:
    """The newest messages, oldest first, each run's together: a few queries, however long the conversation."""
    newest = conversation.messages.select_related("run").order_by("-created_at", "-id")[:MAX_MESSAGES]
    return _turns(reversed(newest))


def turn_of(run: Run) -> Turn | None:
    """Read after `run`: its drawing then shows nothing older than `run.last_seq` says."""
    messages = list(Message.objects.filter(run=run).order_by("created_at", "id"))
    for message in messages:
        message.run = run
    return next(iter(_turns(messages)), None)


def _turns(messages: Iterable[Message]) -> list[Turn]:
    turns: dict[uuid.UUID, Turn] = {}
    for message in messages:
        turn = turns.setdefault(message.run_id or message.pk, Turn(run=message.run))
        if message.role == Message.Role.USER:
            turn.question = message
        else:
            turn.answer = message
    drawings = drawings_of([turn.run for turn in turns.values() if turn.run])
    for turn in turns.values():
        turn.drawing = drawings[turn.run.pk] if turn.run else None
    return list(turns.values())
