"""Write the answer of a turn: a model's words as they come, or a text of our own, through the same events."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from django.db import transaction
from langchain_core.messages import BaseMessage

from chains.journal import CancelRequested
from chat import services
from chat.background import items_of
from chat.driving import Driver
from chat.llm import OFFLINE, ModelError
from chat.metering import BudgetSpent, Meter, MeteredModel
from chat.models import Message
from registry.embeddings import storable

Items = Generator[Sequence[str]]
FLUSH_S = 0.05  # at most twenty pieces a second
LOOK_S = 0.5  # how often somebody looks whether a silent model is still wanted
MODEL_ATTEMPTS = 2
CHUNK_CHARACTERS = 400  # of a text that is there at once


@dataclass(frozen=True, slots=True)
class Speech:
    """What to say: what a model is asked, and the text that stands in for it."""

    plain: str
    messages: Sequence[BaseMessage] = ()


@dataclass(frozen=True, slots=True)
class End:
    """How an answer ends, and what is written together with its end."""

    status: str
    then: Callable[[Message], None]


@dataclass(slots=True)
class Writer:
    """Collects an answer and tells it in pieces."""

    driver: Driver
    answer: Message
    meter: Meter
    told: list[str] = field(default_factory=list)

    def tell(self, items: Sequence[str]) -> None:
        if piece := storable("".join(items)):
            services.add_to_answer(answer=self.answer, delta=piece, lease_token=self.driver.token)
            self.told.append(piece)

    def end(self, status: str) -> None:
        services.end_answer(
            answer=self.answer,
            content="".join(self.told),
            status=status,
            spent=self.meter.take(),
            lease_token=self.driver.token,
        )


def write_answer(
    speech: Speech, *, driver: Driver, question: Message, model: MeteredModel | None, note: str, end: End
) -> None:
    """Stream the speech into the run's answer, to this end.

    A model that breaks off is asked once more, from the beginning, then the one that takes over; then the plain text
    takes its place, and the note says why. Raises LostLease, and CancelRequested after keeping what had come.
    """
    meter = model.meter if model else Meter()
    write = partial(_write, driver=driver, question=question, end=end, meter=meter)
    if model is not None and speech.messages:
        error = _by_model(model, speech, note, write)
        if error is None:
            return
        told = f"The model {model.name} {error.message}; this is put together without it."
        note = " ".join(dict.fromkeys([*model.notes, told]))
    write(_pieces(speech.plain), provider=OFFLINE, model="", note=note)


def _by_model(model: MeteredModel, speech: Speech, note: str, write: Callable[..., None]) -> ModelError | None:
    """Why no model gave a whole answer; None when one did."""
    attempt = 1
    while True:
        told = " ".join(dict.fromkeys([part for part in (note, *model.notes) if part]))
        items = items_of(partial(model.stream, speech.messages), every_s=LOOK_S, pace_s=FLUSH_S)
        try:
            write(items, provider=model.provider, model=model.name, note=told)
        except ModelError as error:
            if not isinstance(error, BudgetSpent) and error.retryable and attempt < MODEL_ATTEMPTS:
                attempt += 1
            elif model.fall_back(error):
                attempt = 1
            else:
                return error
        else:
            return None


def _write(
    items: Items,
    *,
    driver: Driver,
    question: Message,
    meter: Meter,
    end: End,
    provider: str,
    model: str,
    note: str,
) -> None:
    answer = services.start_answer(
        run=driver.run, question=question, provider=provider, model=model, note=note, lease_token=driver.token
    )
    writer = Writer(driver, answer, meter)
    try:
        with closing(items):
            for pieces in items:
                writer.tell(pieces)
                driver.beat()
    except CancelRequested:
        writer.end(Message.Status.STOPPED)
        raise
    with transaction.atomic():
        writer.end(end.status)
        end.then(answer)


def _pieces(text: str) -> Items:
    for start in range(0, len(text), CHUNK_CHARACTERS):
        yield [text[start : start + CHUNK_CHARACTERS]]
