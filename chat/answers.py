"""Write the answer of a turn: a model's words as they come, or a text of our own, through the same events."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from langchain_core.messages import BaseMessage

from chains.journal import CancelRequested
from chat import services
from chat.background import items_of
from chat.driving import Driver
from chat.llm import OFFLINE, ChatModel, ModelError, Usage
from chat.models import Message
from registry.embeddings import storable

Items = Generator[tuple[str, Usage] | None]
FLUSH_S = 0.05  # at most twenty pieces a second
MODEL_ATTEMPTS = 2
CHUNK_CHARACTERS = 400  # of a text that is there at once


@dataclass(frozen=True, slots=True)
class Speech:
    """What to say: what a model is asked, and the text that stands in for it."""

    plain: str
    messages: Sequence[BaseMessage] = ()


@dataclass(slots=True)
class Writer:
    """Collects an answer and tells it in pieces, the first at once."""

    driver: Driver
    answer: Message
    told: list[str] = field(default_factory=list)
    waiting: str = ""
    usage: Usage = field(default_factory=Usage)
    told_at: float = 0.0

    def take(self, item: tuple[str, Usage] | None) -> None:
        """The next piece, or nothing but a moment's time."""
        if item is not None:
            self.waiting += storable(item[0])
            self.usage += item[1]
        if self.waiting and time.monotonic() - self.told_at >= FLUSH_S:
            self.tell()

    def tell(self) -> None:
        if not self.waiting:
            return
        services.add_to_answer(answer=self.answer, delta=self.waiting, lease_token=self.driver.token)
        self.told.append(self.waiting)
        self.waiting, self.told_at = "", time.monotonic()

    def end(self, status: str) -> None:
        self.tell()
        services.end_answer(
            answer=self.answer,
            content="".join(self.told),
            status=status,
            usage=self.usage,
            lease_token=self.driver.token,
        )


def write_answer(
    speech: Speech, *, driver: Driver, question: Message, model: ChatModel | None, note: str, status: str
) -> None:
    """Stream the speech into the run's answer, which ends with this status.

    A model that breaks off is asked once more, from the beginning; then the plain text takes its place and the note
    says why. Raises LostLease, and CancelRequested after keeping what had come.
    """
    write = partial(_write, driver=driver, question=question, status=status)
    if model is not None and speech.messages:
        error = _by_model(model, speech, partial(write, provider=model.provider, model=model.name, note=note))
        if error is None:
            return
        note = f"The model {model.name} {error.message}; this is put together without it."
    write(_pieces(speech.plain), provider=OFFLINE, model="", note=note)


def _by_model(model: ChatModel, speech: Speech, write: Callable[[Items], None]) -> ModelError | None:
    """Why the model gave no whole answer; None when it did."""
    for attempt in range(1, MODEL_ATTEMPTS + 1):
        try:
            write(items_of(partial(model.stream, speech.messages), every_s=FLUSH_S))
        except ModelError as error:
            if not error.retryable or attempt == MODEL_ATTEMPTS:
                return error
        else:
            return None
    return None


def _write(
    items: Items, *, driver: Driver, question: Message, status: str, provider: str, model: str, note: str
) -> None:
    answer = services.start_answer(
        run=driver.run, question=question, provider=provider, model=model, note=note, lease_token=driver.token
    )
    writer = Writer(driver, answer)
    try:
        with closing(items):
            for item in items:
                driver.beat()
                writer.take(item)
    except CancelRequested:
        writer.end(Message.Status.STOPPED)
        raise
    writer.end(status)


def _pieces(text: str) -> Items:
    for start in range(0, len(text), CHUNK_CHARACTERS):
        yield text[start : start + CHUNK_CHARACTERS], Usage()
