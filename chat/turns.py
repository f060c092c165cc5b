"""A conversation as it is drawn: what was said, the plan it led to, the answer."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Q

from chains.drawing import Drawing, drawing_to_approve, drawings_of
from chains.models import Result, Run
from chat.branches import Place, Tree
from chat.forms import LackingForm
from chat.models import Conversation, Message

MAX_TURNS = 100
PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp"}  # an SVG can hold a script


@dataclass(slots=True)
class Turn:
    question: Message | None = None
    answer: Message | None = None
    run: Run | None = None
    drawing: Drawing | None = None
    place: Place | None = None  # among the questions asked instead of each other

    @property
    def lacking(self) -> LackingForm | None:
        """The form this turn waits for."""
        waits = self.run is not None and self.run.status == Run.Status.AWAITING_APPROVAL
        has_form = self.question is not None and "form" in (self.question.planning or {})
        return LackingForm(self.question) if self.question and waits and has_form else None

    @property
    def preview(self) -> Drawing | None:
        """The plan this turn waits to run."""
        waits = self.run is not None and self.run.status == Run.Status.AWAITING_APPROVAL
        plan = (self.question.planning or {}).get("preview") if self.question else None
        return drawing_to_approve(self.run, plan) if self.run and waits and plan else None

    @property
    def cost_usd(self) -> Decimal | None:
        """Of question and answer together, as far as prices are known."""
        costs = [
            message.cost_usd for message in (self.question, self.answer) if message and message.cost_usd is not None
        ]
        return sum(costs, Decimal()) if costs else None

    @property
    def images(self) -> list[Result]:
        """Pictures among the files of its steps."""
        cards = self.drawing.cards if self.drawing else []
        return [file for card in cards for file in card.files if file.mime_type in PICTURES]

    @property
    def is_streaming(self) -> bool:
        return self.answer is not None and self.answer.status == Message.Status.STREAMING


def turns_of(conversation: Conversation, at: uuid.UUID | None = None) -> list[Turn]:
    """The end of the branch that goes on from the question `at`, else of the one asked in last; oldest first. A few
    queries, however long the conversation."""
    tree = Tree.of(conversation.pk)
    way = tree.path(tree.newest_leaf(at))[-MAX_TURNS:]
    shown = Message.objects.filter(Q(pk__in=way) | Q(parent__in=way, role=Message.Role.ASSISTANT))
    turns = _turns(shown.select_related("run").order_by("created_at", "id"))
    return _placed(turns, tree)


def turn_of(run: Run) -> Turn | None:
    """Read after `run`: its drawing then shows nothing older than `run.last_seq` says."""
    messages = list(Message.objects.filter(run=run).order_by("created_at", "id"))
    for message in messages:
        message.run = run
    turns = _turns(messages)
    if not turns:
        return None
    return _placed(turns, Tree.of(messages[0].conversation_id))[0]


def _turns(messages: Iterable[Message]) -> list[Turn]:
    turns: dict[uuid.UUID, Turn] = {}
    for message in messages:
        is_question = message.role == Message.Role.USER
        question = message.pk if is_question else message.parent_id or message.pk
        turn = turns.setdefault(question, Turn(run=message.run))
        if is_question:
            turn.question = message
        else:
            turn.answer = message
    drawings = drawings_of([turn.run for turn in turns.values() if turn.run])
    for turn in turns.values():
        turn.drawing = turn.preview or drawings[turn.run.pk] if turn.run else None
    return list(turns.values())


def _placed(turns: list[Turn], tree: Tree) -> list[Turn]:
    for turn in turns:
        if turn.question and turn.question.pk in tree.parents:
            turn.place = tree.place(turn.question.pk)
    return turns
