"""MCP servers over streamable HTTP, SSE and stdio, by the `mcp` SDK; every wait bounded, every error translated."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import anyio
import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client._input_required import run_input_required_driver
from mcp.client._transport import TransportStreams
from mcp.client.session import ClientRequestContext, ElicitationFnT
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    HEADER_MISMATCH,
    METHOD_NOT_FOUND,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    Implementation,
    InputRequest,
    InputRequiredResult,
    InputResponse,
    InputResponses,
    ListToolsResult,
)
from pydantic import TypeAdapter

from registry import outbound
from registry.connectors.base import (
    Answers,
    CallResult,
    ConnectorError,
    Introspection,
    Progress,
    Session,
    Target,
    ToolDefinition,
)
from registry.connectors.errors import explain, is_closed
from registry.connectors.recording import MAX_BODY_BYTES, Exchange, RecordingTransport, current_exchange
from registry.connectors.stdio import Command, stdio_transport
from registry.connectors.tools import MAX_TOOLS, definition_of, lenient, storable
from registry.models import Server

CONNECT_TIMEOUT_S: dict[str, float] = {
    Server.Transport.STDIO: 90.0
}  # uvx and npx download a package before its first start
HTTP_CONNECT_TIMEOUT_S = 25.0  # the SDK's own probe for the protocol takes up to ten
LIST_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 3.0
MARGIN_S = 1.0  # the SDK's time-out comes first, so that it can tell the server
MAX_PAGES = 100
MAX_LISTED_BYTES = 30_000_000  # of all pages together
CLIENT_INFO = Implementation(name="mcp-registry", version="0.1.0")
FAILURES = (BaseExceptionGroup, ConnectorError, MCPError, httpx2.HTTPError, OSError, ValueError, RuntimeError)
CALL_RESULT: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(CallToolResult | InputRequiredResult)


@dataclass
class Link:
    """What one session stands on. HTTP has a recorder, stdio a command."""

    target: Target
    recorder: RecordingTransport | None = None
    command: Command | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def connecting(self) -> Exchange:
        return self.recorder.connecting if self.recorder else Exchange(sent=True)

    def error_of(self, error: BaseException | None, exchange: Exchange) -> ConnectorError:
        """What a session's failure means; a command that ended says it best itself."""
        told = explain(error, exchange)
        if self.command and told.code == "unreachable" and (self.command.ended or self.command.fault):
            return self.command.error(sent=told.sent)
        if self.command and told.code == "timeout" and self.command.last_words:
            return ConnectorError("timeout", f"{told.message} It said: {self.command.last_words}", sent=told.sent)
        return told


@dataclass
class Body:
    """Remembers how the caller's part of a session went, which a task group would wrap."""

    entered: bool = False
    error: BaseException | None = None

    def __enter__(self) -> None:
        self.entered = True

    def __exit__(self, kind: Any, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.error = error

    def raise_own(self) -> None:
        """The caller's own error, unless it only felt the session break around it."""
        if self.error is None:
            return
        task = asyncio.current_task()
        broken = isinstance(self.error, asyncio.CancelledError) and not (task and task.cancelling())
        if not broken:
            raise self.error


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Session]:
    """A session with the server; entered and left in the same task. Raises ConnectorError, or the caller's own."""
    link = _link(target)
    body = Body()
    deadline = anyio.current_time() + CONNECT_TIMEOUT_S.get(target.transport, HTTP_CONNECT_TIMEOUT_S)
    try:
        with anyio.CancelScope(deadline=deadline) as scope:
            link.connecting.waiting = scope if target.transport == Server.Transport.SSE else None
            async with _client(link) as client:
                link.connecting.waiting = None
                scope.deadline = math.inf
                try:
                    with body:
                        yield McpSession(client, link)
                finally:
                    scope.deadline = anyio.current_time() + CLOSE_TIMEOUT_S
    except FAILURES as error:
        body.raise_own()
        raise link.error_of(error, link.connecting) from error
    body.raise_own()
    if scope.cancelled_caught and not body.entered:
        raise link.error_of(None, link.connecting)


def _link(target: Target) -> Link:
    if target.transport == Server.Transport.STDIO:
        return Link(target, command=Command(target))
    streams_events = target.transport == Server.Transport.SSE
    return Link(target, recorder=RecordingTransport(target.url, streams_events=streams_events, bearer=target.bearer))


def _client(link: Link) -> Client:
    return Client(
        lenient(_transport(link), link.problems),
        mode="auto",
        read_timeout_seconds=CONNECT_TIMEOUT_S.get(link.target.transport, HTTP_CONNECT_TIMEOUT_S),
        client_info=CLIENT_INFO,
        cache=None,
        elicitation_callback=_asking(link.target.answers) if link.target.answers else None,
    )


def _asking(answers: Answers) -> ElicitationFnT:
    """Only what can be filled in here; nobody is sent to an address that a server names."""

    async def ask(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        if not isinstance(params, ElicitRequestFormParams):
            return ElicitResult(action="decline")
        answer = await answers(params.message, dict(params.requested_schema))
        return ElicitResult(action="decline") if answer is None else ElicitResult(action="accept", content=answer)

    return ask


def _transport(link: Link) -> AbstractAsyncContextManager[TransportStreams]:
    if link.command is not None:
        return stdio_transport(link.command)
    return _sse(link) if link.target.transport == Server.Transport.SSE else _streamable_http(link)


@asynccontextmanager
async def _streamable_http(link: Link) -> AsyncIterator[TransportStreams]:
    async with (
        outbound.client(headers=link.target.headers, transport=link.recorder) as http,
        streamable_http_client(link.target.url, http_client=http, max_sse_event_size=MAX_BODY_BYTES) as streams,
    ):
        yield streams


def _sse(link: Link) -> AbstractAsyncContextManager[TransportStreams]:
    def factory(headers: Any = None, timeout: Any = None, auth: Any = None) -> outbound.Client:
        return outbound.client(headers=link.target.headers, transport=link.recorder)

    return sse_client(link.target.url, httpx_client_factory=factory)


class McpSession:
    """One open MCP session. Output schemas are not applied here: a stranger's pattern could hold up the worker."""

    def __init__(self, client: Client, link: Link) -> None:
        self.client = client
        self.link = link
        self.broken = False

    async def introspect(self) -> Introspection:
        tools = await self._bounded(self._all_tools(), LIST_TIMEOUT_S)
        info = self.client.server_info
        return Introspection(
            protocol_version=self.client.protocol_version,
            server_name=storable(info.name if info else "")[:255],
            server_version=storable(info.version if info else "")[:255],
            tools=tools,
            problems=list(dict.fromkeys(self.link.problems)),
        )

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout_s: float,
        accepted: str = "",
        on_progress: Progress | None = None,
    ) -> CallResult:
        result = await self._bounded(self._call(tool, arguments, timeout_s, on_progress), timeout_s + MARGIN_S)
        if isinstance(result, InputRequiredResult):
            message = f"{tool} asks its caller for more input, which is not supported here."
            raise ConnectorError("unsupported", message, sent=True)
        data = storable(result.model_dump(mode="json", by_alias=True, exclude_none=True))
        return CallResult(data.get("content", []), data.get("structuredContent"), bool(data.get("isError")))

    async def _bounded(self, work: Any, timeout_s: float) -> Any:
        """Run one operation within its time, with an exchange of its own; its failure becomes a ConnectorError."""
        exchange = Exchange(sent=self.link.command is not None and not self.broken)
        token = current_exchange.set(exchange)
        try:
            with anyio.move_on_after(timeout_s) as scope:
                exchange.waiting = scope if self.link.target.transport == Server.Transport.SSE else None
                return await work
        except FAILURES as error:
            self.broken = self.broken or (isinstance(error, MCPError) and is_closed(error))
            raise self.link.error_of(error, exchange) from error
        finally:
            exchange.waiting = None
            current_exchange.reset(token)
        raise self.link.error_of(None, exchange)

    async def _call(
        self, tool: str, arguments: dict[str, Any], timeout_s: float, on_progress: Progress | None
    ) -> CallToolResult | InputRequiredResult:
        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            if on_progress is not None:
                await on_progress(progress, total, storable(message or ""))

        async def send(
            responses: InputResponses | None = None, state: str | None = None
        ) -> CallToolResult | InputRequiredResult:
            params = CallToolRequestParams(
                name=tool, arguments=arguments, input_responses=responses, request_state=state
            )
            return await self.client.session.send_request(
                CallToolRequest(params=params),
                CALL_RESULT,
                request_read_timeout_seconds=timeout_s,
                progress_callback=progressed if on_progress else None,
            )

        try:
            first = await send()
        except MCPError as error:
            if error.code != HEADER_MISMATCH:
                raise
            await self._all_tools()  # the SDK takes the headers a tool asks for from its listing
            first = await send()
        return await self._answered(first, send) if isinstance(first, InputRequiredResult) else first

    async def _answered(
        self, asked: InputRequiredResult, send: Callable[..., Awaitable[CallToolResult | InputRequiredResult]]
    ) -> CallToolResult | InputRequiredResult:
        """Answer and send again, until the server has what it wants; a call that nobody answers stays as it is."""
        session = self.client.session
        if self.link.target.answers is None and asked.input_requests:
            return asked

        async def dispatch(key: str, request: InputRequest) -> InputResponse | ErrorData:
            context = ClientRequestContext(session=session, request_id=key, meta=None)
            return await session.dispatch_input_request(context, request)

        return await run_input_required_driver(asked, dispatch=dispatch, retry=send)

    async def _all_tools(self) -> list[ToolDefinition]:
        found: dict[str, ToolDefinition] = {}
        cursors: set[str | None] = set()
        cursor: str | None = None
        size_bytes = 0
        while cursor not in cursors and len(cursors) < MAX_PAGES and size_bytes < MAX_LISTED_BYTES:
            cursors.add(cursor)
            page = await self._page(cursor)
            size_bytes += len(page.model_dump_json())
            is_full = self._collect(page, found)
            cursor = page.next_cursor
            if cursor is None and not is_full:
                return list(found.values())
            if is_full:
                break
        self.link.problems.append(f"The list of tools is too long or does not end: {len(found)} tools were taken.")
        return list(found.values())

    async def _page(self, cursor: str | None) -> ListToolsResult:
        """A server without tools may not know the question."""
        try:
            return await self.client.list_tools(cursor=cursor, cache_mode="bypass")
        except MCPError as error:
            capabilities = self.client.server_capabilities
            if error.code == METHOD_NOT_FOUND and (capabilities is None or capabilities.tools is None):
                return ListToolsResult(tools=[])
            raise

    def _collect(self, page: ListToolsResult, found: dict[str, ToolDefinition]) -> bool:
        """Add a page's tools to those found. Were there more than we take?"""
        for tool in page.tools:
            definition = definition_of(tool)
            if definition.name in found:
                self.link.problems.append(f"The tool {definition.name[:80]} is listed twice; the first one was taken.")
            elif len(found) >= MAX_TOOLS:
                return True
            else:
                found[definition.name] = definition
        return False
