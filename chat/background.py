"""Wait for something slow without sitting still: leases want renewing and people change their minds."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from chat.llm import ModelError

T = TypeVar("T")
ROOM = 1_000  # items that may wait for their reader


class ThreadEnded(Exception):
    """The source's thread died of something nobody foresaw; its traceback is in the log."""


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


def items_of(source: Callable[[], Iterator[T]], *, every_s: float) -> Generator[T | None]:
    """The items of `source()`, which runs in a thread of its own; None whenever none came for `every_s` seconds.

    The source must not use the database. A ModelError it raises is raised here. When this iterator is closed the
    source is told to stop at its next item; a silent one goes on in its daemon thread until its own time-out.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(ROOM)
    stop = threading.Event()
    threading.Thread(target=_run, args=(source, waiting, stop), name="model", daemon=True).start()
    try:
        while True:
            try:
                item = waiting.get(timeout=every_s)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()


def result_of(call: Callable[[], T], *, while_waiting: Callable[[], None], every_s: float) -> T:
    """What `call()` returns; `while_waiting` is called in this thread meanwhile, and may raise to give up on it."""
    results: list[T] = []
    for item in items_of(lambda: iter([call()]), every_s=every_s):
        if item is None:
            while_waiting()
        else:
            results.append(item)
    return results[0]


def _run(source: Callable[[], Iterator[T]], waiting: "queue.Queue[T | _End]", stop: threading.Event) -> None:
    end = _End(ThreadEnded())
    try:
        for item in source():
            if stop.is_set():
                return
            _put(waiting, item, stop)
        end = _End(None)
    except ModelError as error:
        end = _End(error)
    finally:
        _put(waiting, end, stop)


def _put(waiting: "queue.Queue[T | _End]", item: T | _End, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            waiting.put(item, timeout=1)
        except queue.Full:
            continue
        return
