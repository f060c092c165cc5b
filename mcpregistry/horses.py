"""The process in which a worker's jobs are done, one after the other: RQ calls it a horse, and forks one for each job.

A horse that is kept has its connections, and has copied what memory it changes: a job of some milliseconds would else
spend most of them on that. It can be killed from outside all the same, and whatever is not well ends it: a job that
failed or was timed out, one that was to be nice to others, memory that grew, old age. The worker forks the next.
"""

import json
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

import psutil
from django.db import close_old_connections

MOST_JOBS = 500
MOST_GROWTH_BYTES = 64_000_000
IDLE_S = 60.0
TAKEN_S = 5.0
TAKEN, DONE, LEAVING = b"t", b"d", b"l"


@dataclass(frozen=True, slots=True)
class Order:
    job_id: str
    execution_id: str
    queue: str


class Horse:
    """As its worker sees it."""

    def __init__(self, pid: int, orders: int, answers: int) -> None:
        self.pid, self.orders, self.answers = pid, orders, answers
        self.has_ended = False

    @classmethod
    def fork(cls, serve: "Callable[[Post], None]") -> Self:
        """`serve` is what the new process does; it ends with it, whatever it raises."""
        orders, theirs = os.pipe()
        ours, answers = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(theirs)
                os.close(ours)
                serve(Post(orders, answers))
                status = os.EX_OK
            finally:
                os._exit(status)
        os.close(orders)
        os.close(answers)
        return cls(pid, theirs, ours)

    def take(self, order: Order) -> bool:
        """Does it do this one next? Not where it has ended meanwhile."""
        if self.has_ended:
            return False
        try:
            os.write(self.orders, json.dumps(asdict(order)).encode() + b"\n")
        except BrokenPipeError:
            return False
        heard, _, _ = select.select([self.answers], [], [], TAKEN_S)
        return bool(heard) and os.read(self.answers, 1) == TAKEN

    def wait(self) -> tuple[int, int, Any] | None:
        """Until the job is over: its end as os.wait4 tells it, or None where the horse is ready for another."""
        if os.read(self.answers, 1) == DONE:
            return None
        end = os.wait4(self.pid, 0)
        self._close()
        return end

    def look(self) -> None:
        """One that has nothing to do and left, or was killed, does not stay as a zombie until there is a job. The
        signal of its end may come at any place, in here too, and leads here."""
        with suppress(ChildProcessError):
            if not self.has_ended and os.waitpid(self.pid, os.WNOHANG) != (0, 0):
                self._close()

    def end(self) -> None:
        """One that has nothing to do, and that nobody looks at any more."""
        if not self.has_ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._close()

    def _close(self) -> None:
        self.has_ended = True
        os.close(self.orders)
        os.close(self.answers)


class Post:
    """In the horse: where orders come in and answers go out."""

    def __init__(self, orders: int, answers: int) -> None:
        self.orders, self.answers = orders, answers
        self.jobs = 0
        self.process = psutil.Process()
        self.memory = self.process.memory_info().rss

    def answer(self, *, is_well: bool) -> bool:
        """The job is over; will there be another?"""
        self.jobs += 1
        growth = self.process.memory_info().rss - self.memory
        stays = is_well and self.jobs < MOST_JOBS and growth < MOST_GROWTH_BYTES
        os.write(self.answers, DONE if stays else LEAVING)
        return stays

    def next(self) -> Order | None:
        """None where nobody has wanted anything for a while, or the worker is gone."""
        heard, _, _ = select.select([self.orders], [], [], IDLE_S)
        line = b""
        while heard and not line.endswith(b"\n"):
            if not (part := os.read(self.orders, 4096)):
                return None
            line += part
        if not line:
            return None
        os.write(self.answers, TAKEN)
        close_old_connections()  # one that broke meanwhile
        return Order(**json.loads(line))
