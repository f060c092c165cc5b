"""What calls tell while they run, progress and what commands write to their standard error: kept together and written
down at most every PAUSE_S seconds, for all steps at once."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from django.db import InterfaceError, OperationalError

from chains import artifacts, events, journal
from chains.database import in_database
from chains.leases import LostLease
from chains.models import Run

logger = logging.getLogger(__name__)
PAUSE_S = 0.1
MESSAGE_CHARS = 4_000  # of one event; what came before is left out
LOG_CHARS = 20_000  # of one step's standard error; it may go on for ever


@dataclass
class Waiting:
    """Of one step, what has not been written down."""

    progress: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    def as_events(self, step: str) -> list[tuple[str, dict[str, Any]]]:
        told = [(events.TOOL_CALL_PROGRESS, {"step": step, **self.progress})] if self.progress else []
        return told + ([(events.TOOL_CALL_LOG, {"step": step, "delta": self.log})] if self.log else [])


class Teller:
    """Nobody waits for it while a call runs; `settle` writes what is left before the call's end is written."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.waiting: dict[str, Waiting] = {}
        self.logged: dict[str, int] = {}
        self.last = float("-inf")
        self.task: asyncio.Task[None] | None = None
        self.writing = asyncio.Lock()

    def progress(self, step: str, done: float, total: float | None, message: str) -> None:
        waiting = self.waiting.setdefault(step, Waiting())
        said = "\n".join(filter(None, [waiting.progress.get("message", ""), artifacts.storable(message)]))
        waiting.progress = {"progress": done, "total": total, "message": said[-MESSAGE_CHARS:]}
        self._start()

    def log(self, step: str, text: str) -> None:
        room = LOG_CHARS - self.logged.get(step, 0)
        if room > 0:
            waiting = self.waiting.setdefault(step, Waiting())
            waiting.log += artifacts.storable(text[:room]) + ("…" if len(text) > room else "")
            self.logged[step] = self.logged.get(step, 0) + len(text)
            self._start()

    def _start(self) -> None:
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._write_at_times(), name="telling")

    async def _write_at_times(self) -> None:
        while self.waiting:
            await asyncio.sleep(max(0.0, self.last + PAUSE_S - time.monotonic()))
            await self.settle()

    async def settle(self) -> None:
        async with self.writing:
            waiting, self.waiting = self.waiting, {}
            told = [event for step, each in waiting.items() for event in each.as_events(step)]
            self.last = time.monotonic()
            if told:
                await self._write(told)

    async def _write(self, told: list[tuple[str, dict[str, Any]]]) -> None:
        try:
            await in_database(journal.tell, self.run, told)
        except LostLease:
            logger.info("What run %s does is told by another driver now.", self.run.pk)
        except (OperationalError, InterfaceError):
            logger.warning("Progress of run %s was not written down: the database does not answer.", self.run.pk)

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
