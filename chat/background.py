"""Wait for a model without sitting still: leases want renewing and people change their minds."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from chat.driving import let_go
from chat.lines import Line
from chat.llm import ModelError

T = TypeVar("T")
ROOM = 1_000  # items that may wait for their reader


class ThreadEnded(Exception):
    """The source's thread died of something nobody foresaw; its traceback is in the log."""


class _Stopped(Exception):
    """Nobody waits for more."""


class _Mailbox(Generic[T]):
    """What one thread gives and another takes, all that is there at a time."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.items: list[T] = []
        self.ended: bool = False
        self.error: Exception | None = None
        self.stopped = False

    def put(self, item: T) -> None:
        """Raises _Stopped."""
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or len(self.items) < ROOM)
            if self.stopped:
                raise _Stopped
            self.items.append(item)
            if len(self.items) == 1:
                self.changed.notify_all()

    def end(self, error: Exception | None) -> None:
        with self.changed:
            self.ended, self.error = True, error
            self.changed.notify_all()

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def take(self, *, not_before: float, timeout_s: float) -> list[T]:
        """Everything there is, once there is something and it is time for it, or nothing more will come."""
        with self.changed:
            self.changed.wait_for(lambda: self.items or self.ended, timeout_s)
            if self.items and (pause_s := not_before - time.monotonic()) > 0:
                self.changed.wait_for(lambda: self.ended or len(self.items) >= ROOM, pause_s)
            taken, self.items = self.items, []
            self.changed.notify_all()
            return taken


def items_of(source: Callable[[], Iterator[T]], *, every_s: float, pace_s: float = 0) -> Generator[list[T]]:
    """The items of `source()`, which runs in a thread of its own: all that came, at most every `pace_s` seconds, and
    an empty list whenever none came for `every_s`.

    The source must not use the database. A ModelError it raises is raised here. When this iterator is closed the line
    to the model is cut.
    """
    mailbox: _Mailbox[T] = _Mailbox()
    line = Line()
    threading.Thread(target=_run, args=(source, mailbox, line), name="model", daemon=True).start()
    let_go()
    not_before = 0.0
    try:
        while True:
            taken = mailbox.take(not_before=not_before, timeout_s=every_s)
            if taken or not mailbox.ended:
                not_before = time.monotonic() + pace_s
                yield taken
            elif mailbox.error is not None:
                raise mailbox.error
            else:
                return
    finally:
        mailbox.stop()
        line.cut()


def result_of(call: Callable[[], T], *, while_waiting: Callable[[], None], every_s: float) -> T:
    """What `call()` returns; `while_waiting` is called in this thread meanwhile, and may raise to give up on it."""
    results: list[T] = []
    for items in items_of(lambda: iter([call()]), every_s=every_s):
        results += items
        if not items:
            while_waiting()
    return results[0]


def _run(source: Callable[[], Iterator[T]], mailbox: "_Mailbox[T]", line: Line) -> None:
    line.hold()
    error: Exception | None = ThreadEnded()
    try:
        for item in source():
            mailbox.put(item)
        error = None
    except _Stopped:
        error = None
    except ModelError as broken:
        error = broken
    finally:
        mailbox.end(error)
