"""One call of a step's tool: bounded in time, tried again only where that is safe, its progress told."""

import asyncio
import logging
import time
from typing import Any

from asgiref.sync import sync_to_async

from chains import artifacts, journal
from chains.leases import LostLease
from chains.models import Run
from chains.plan import Step
from chains.sessions import SessionPool
from registry.connectors import ConnectorError
from registry.connectors.base import Progress
from registry.models import Tool

logger = logging.getLogger(__name__)
MARGIN_S = 5  # the connector's own time-out comes first: it can tell the server
BACK_OFF_S = 0.5  # doubled with every try
PROGRESS_S = 0.1  # at most ten progress events a second
PASSING = {"unreachable", "protocol", "timeout"}  # errors that another try may not meet


class StepFailed(Exception):
    """A step came to no good end; `result` is what the tool answered, if it did."""

    def __init__(self, code: str, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.result = code, message, result

    def as_json(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message}


def is_repeatable(tool: Tool) -> bool:
    """By its own word a second call does nothing that the first did not."""
    return tool.is_read_only or tool.annotations.get("idempotentHint") is True


class Caller:
    """Calls tools for one run, over sessions that stay open until `close`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.sessions = SessionPool(run.owner)

    async def call(self, step: Step, tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
        """The step's result, whole. Raises StepFailed."""
        for retry in range(step.retries + 1):
            try:
                return await self._try(step, tool, arguments)
            except ConnectorError as error:
                again = error.code in PASSING and (not error.sent or is_repeatable(tool)) and retry < step.retries
                if not again:
                    raise StepFailed(error.code, error.message) from error
            await asyncio.sleep(BACK_OFF_S * 2**retry)
        raise AssertionError("the last try returns or raises")

    async def _try(self, step: Step, tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
        told = ProgressTeller(self.run, step.id)
        try:
            called = await self.sessions.call(tool, arguments, timeout_s=step.timeout_s, on_progress=told.on_progress)
        finally:
            await told.done()
        result = artifacts.result_of(called)
        if result["is_error"]:
            raise StepFailed("tool_error", artifacts.preview(result["text"]) or "The tool reported an error.", result)
        return result

    async def close(self) -> None:
        await self.sessions.close()


class ProgressTeller:
    """Publishes a call's progress, at most every PROGRESS_S seconds; the connector is not held up by it."""

    def __init__(self, run: Run, step: str) -> None:
        self.run, self.step = run, step
        self.last = float("-inf")
        self.publishing: set[asyncio.Task[None]] = set()
        self.on_progress: Progress = self.tell

    async def tell(self, done: float, total: float | None, message: str) -> None:
        now = time.monotonic()
        if now - self.last < PROGRESS_S:
            return
        self.last = now
        task = asyncio.create_task(self._publish(done, total, message))
        self.publishing.add(task)
        task.add_done_callback(self.publishing.discard)

    async def _publish(self, done: float, total: float | None, message: str) -> None:
        try:
            await sync_to_async(journal.progress)(self.run, self.step, done, total, message or "")
        except LostLease:
            logger.info("Progress of step %s is told by another driver now.", self.step)

    async def done(self) -> None:
        if self.publishing:
            await asyncio.gather(*self.publishing, return_exceptions=True)
