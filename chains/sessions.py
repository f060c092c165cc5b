"""One open session a server for the whole run, each entered and left by a task of its own."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError

from chains.database import in_database
from registry.bearers import bearer_for
from registry.connectors import CallResult, ConnectorError, Session, connect
from registry.connectors.base import Progress
from registry.credentials import CredentialsLost, credentials_for
from registry.models import Server, Tool

logger = logging.getLogger(__name__)
OnLog = Callable[[uuid.UUID, str], None]  # a server's id, a text
CLOSE_S = 2
DATABASE_AWAY = (InterfaceError, OperationalError)
USABLE_AFTER = {"tool_not_found", "changed_tool", "too_large", "timeout"}  # errors of one call, not of the session


class OpenSession:
    """A session and the task that owns it: MCP clients must be left by the task that entered them."""

    def __init__(self, server: Server, owner: User, on_log: OnLog) -> None:
        self.ready: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self.closing = asyncio.Event()
        self.calls = 0
        self.task = asyncio.create_task(self._own(server, owner, on_log), name=f"session {server.slug}")
        self.task.add_done_callback(self._ended)
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())

    async def _own(self, server: Server, owner: User, on_log: OnLog) -> None:
        try:
            credentials = await in_database(credentials_for, owner, server)
            bearer = await in_database(bearer_for, owner, server)
            async with connect(server, credentials, bearer=bearer, on_log=partial(on_log, server.pk)) as session:
                self.ready.set_result(session)
                await self.closing.wait()
        except ConnectorError as error:
            self._failed(error)
        except CredentialsLost as error:
            self._failed(ConnectorError("needs_auth", str(error)))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Whoever waits for a session that was never opened hears why. A database that does not answer is no fault of
        the server: it is the driver's to deal with."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, DATABASE_AWAY):
            logger.error("%s ended by a mistake of ours.", task.get_name(), exc_info=error)
        self._failed(error if isinstance(error, DATABASE_AWAY) else _gone(sent=False))

    def _failed(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)

    async def call(
        self, tool: Tool, arguments: dict[str, Any], *, timeout_s: float, on_progress: Progress
    ) -> CallResult:
        try:
            async with asyncio.timeout(timeout_s):
                session = await asyncio.shield(self.ready)
        except TimeoutError:
            message = f"The server could not be connected within {timeout_s:g} s."
            raise ConnectorError("timeout", message) from None  # the opening goes on, for whoever asks next
        if self.task.done():
            raise _gone(sent=False)
        calling = asyncio.ensure_future(
            session.call(tool.name, arguments, timeout_s=timeout_s, accepted=tool.schema_hash, on_progress=on_progress)
        )
        self.calls += 1
        try:
            await asyncio.wait({calling, self.task}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise _gone(sent=True)
            return calling.result()
        finally:
            self.calls -= 1
            await _stopped(calling)
            if self.closing.is_set() and not self.calls:
                self.task.cancel()

    def retire(self) -> None:
        """Close once the calls that are under way are done."""
        if not self.calls:
            self.closing.set()

    async def close(self) -> None:
        self.closing.set()
        if not self.ready.done():  # nobody waits for it to be opened any more
            self.task.cancel()
        await asyncio.wait({self.task}, timeout=CLOSE_S)
        await _stopped(self.task)


def _gone(*, sent: bool) -> ConnectorError:
    return ConnectorError("unreachable", "The connection to the server ended unexpectedly.", sent=sent)


async def _stopped(task: "asyncio.Future[Any]") -> None:
    """Cancel and wait, but no longer than CLOSE_S: a server that hangs must not hold up the run."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CLOSE_S)


class SessionPool:
    """The sessions of one run; a broken one is replaced at the next call."""

    def __init__(self, owner: User, on_log: OnLog) -> None:
        """`on_log` hears what started commands write to their standard error."""
        self.owner, self.on_log = owner, on_log
        self.open: dict[uuid.UUID, OpenSession] = {}
        self.retired: list[OpenSession] = []

    def opening(self, server: Server) -> OpenSession:
        """The session with this server, which may not be ready yet."""
        current = self.open.get(server.pk)
        if current is None or current.task.done():
            current = self.open[server.pk] = OpenSession(server, self.owner, self.on_log)
        return current

    async def call(
        self, tool: Tool, arguments: dict[str, Any], *, timeout_s: float, on_progress: Progress
    ) -> CallResult:
        """A tool as it was accepted, with its server. Raises ConnectorError."""
        server, current = tool.server, self.opening(tool.server)
        try:
            return await current.call(tool, arguments, timeout_s=timeout_s, on_progress=on_progress)
        except ConnectorError as error:
            if error.code not in USABLE_AFTER and self.open.get(server.pk) is current:
                self.retired.append(self.open.pop(server.pk))
                current.retire()
            raise

    async def close(self) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*(session.close() for session in [*self.open.values(), *self.retired]))
