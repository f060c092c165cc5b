"""One call of a step's tool: bounded in time, tried again only where that is safe, its progress told."""

import asyncio
import logging
import uuid
from typing import Any

from chains import artifacts
from chains.models import Run
from chains.plan import Step
from chains.plan.schemas import problems_of
from chains.sessions import SessionPool
from chains.telling import Teller
from registry.connectors import CallResult, ConnectorError
from registry.models import Tool

logger = logging.getLogger(__name__)
MARGIN_S = 5  # the connector's own time-out comes first: it can tell the server
BACK_OFF_S = 0.5  # doubled with every try
PASSING = {"unreachable", "protocol", "timeout"}  # errors that another try may not meet
DOUBT = "The call had been sent, so it may have happened all the same: look before you retry."


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
        self.teller = Teller(run)
        self.calling: dict[uuid.UUID, list[str]] = {}  # steps by server, the longest under way first
        self.sessions = SessionPool(run.owner, self._on_log)

    def _on_log(self, server_id: uuid.UUID, text: str) -> None:
        """A server's standard error is told with the step that has waited for it longest."""
        if calling := self.calling.get(server_id):
            self.teller.log(calling[0], text)

    def prepare(self, tool: Tool) -> None:
        """Begin to connect, while what must come before the call is written down."""
        self.sessions.opening(tool.server)

    async def call(self, step: Step, tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
        """The step's result, whole. Raises StepFailed."""
        for retry in range(step.retries + 1):
            try:
                return await self._try(step, tool, arguments)
            except ConnectorError as error:
                again = error.code in PASSING and (not error.sent or is_repeatable(tool)) and retry < step.retries
                if not again:
                    doubt = error.sent and error.code in PASSING and not is_repeatable(tool)
                    raise StepFailed(error.code, f"{error.message} {DOUBT}" if doubt else error.message) from error
            await asyncio.sleep(BACK_OFF_S * 2**retry)
        raise AssertionError("the last try returns or raises")

    async def _try(self, step: Step, tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
        calling = self.calling.setdefault(tool.server_id, [])
        calling.append(step.id)

        async def on_progress(done: float, total: float | None, message: str) -> None:
            self.teller.progress(step.id, done, total, message)

        try:
            called = await self.sessions.call(tool, arguments, timeout_s=step.timeout_s, on_progress=on_progress)
            self._note_mismatch(step, tool, called)
        finally:
            await self.teller.settle()
            calling.remove(step.id)
        result = artifacts.result_of(called)
        if result["is_error"]:
            raise StepFailed("tool_error", artifacts.preview(result["text"]) or "The tool reported an error.", result)
        return result

    def _note_mismatch(self, step: Step, tool: Tool, called: CallResult) -> None:
        """The call is done and its answer is kept as it is; who reads it should know that it is not what was said."""
        if tool.output_schema is None or called.structured is None or called.is_error:
            return
        if problems := problems_of(called.structured, tool.output_schema, ""):
            told = " ".join(f"{problem.path or '/'}: {problem.message}" for problem in problems[:3])
            self.teller.log(step.id, f"The answer does not fit what the server says of it. {told}\n")

    async def close(self) -> None:
        await self.sessions.close()
        await self.teller.close()
