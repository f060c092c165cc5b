"""What the first session of a process loads and builds, done before a worker forks: else each job does it again."""

import asyncio
from contextlib import suppress
from typing import Any

from mcp.client import Client
from mcp.client.client import ConnectMode
from mcp.server.lowlevel import Server as ToolServer
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool

from registry import outbound
from registry.connectors.base import ConnectorError, Target
from registry.connectors.mcp import Link, McpSession, connect
from registry.models import Server

NOBODY = Target(Server.Transport.STREAMABLE_HTTP, url="http://127.0.0.1:9/mcp")
ERAS: tuple[ConnectMode, ...] = ("auto", "legacy")  # of the protocol: each has types of its own
ANSWER_S = 5


def rehearse() -> None:
    outbound.preload()
    asyncio.run(_rehearse())


async def _rehearse() -> None:
    with suppress(ConnectorError):  # nobody is there, or it is forbidden to go there: all that comes before an answer
        async with connect(NOBODY):
            return
    for era in ERAS:
        await _call(era)


async def _call(era: ConnectMode) -> None:
    """A tool of a server in this process."""
    server = ToolServer("rehearsal", on_list_tools=_list, on_call_tool=_answer)
    async with Client(server, mode=era, cache=None) as client:
        session = McpSession(client, Link(NOBODY))
        await session.introspect()
        await session.call("rehearsal", {}, timeout_s=ANSWER_S)


async def _list(*_: Any) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="rehearsal", input_schema={"type": "object"})])


async def _answer(context: Any, params: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=params.name)])
