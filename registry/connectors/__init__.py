"""Reach a server: one file a kind, one line a transport in CONNECTORS."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from django.conf import settings

from registry.connectors import mcp, openapi
from registry.connectors.base import (
    TRANSPORT_NAMES,
    Bearer,
    CallResult,
    ConnectorError,
    Introspection,
    Session,
    Target,
    ToolDefinition,
)
from registry.models import Server

CONNECTORS: dict[str, Callable[[Target], AbstractAsyncContextManager[Session]]] = {
    Server.Transport.STREAMABLE_HTTP: mcp.connect,
    Server.Transport.SSE: mcp.connect,
    Server.Transport.STDIO: mcp.connect,
    Server.Transport.OPENAPI: openapi.connect,
}


@asynccontextmanager
async def connect(
    server: Server,
    credentials: Mapping[str, str],
    *,
    bearer: Bearer | None = None,
    on_log: Callable[[str], None] | None = None,
) -> AsyncIterator[Session]:
    """A session with the server, entered and left in the same task. Raises ConnectorError only.

    `bearer` is the sign-in whose token goes along, instead of an Authorization among the credentials. `on_log` hears
    what a server started by command writes to its standard error.
    """
    if server.transport == Server.Transport.STDIO and settings.STDIO_SERVERS == "off":
        raise ConnectorError("blocked", "This registry starts no servers by command (STDIO_SERVERS is off).")
    connector = CONNECTORS.get(server.transport)
    if connector is None:
        kind = f"an {TRANSPORT_NAMES[server.transport]} document" if server.transport else "no address"
        raise ConnectorError("unsupported", f"Servers with {kind} cannot be connected yet.")
    target = replace(Target.of(server, credentials), on_log=on_log, bearer=bearer)
    async with connector(target) as session:
        yield session


__all__ = [
    "TRANSPORT_NAMES",
    "Bearer",
    "CallResult",
    "ConnectorError",
    "Introspection",
    "Session",
    "Target",
    "ToolDefinition",
    "connect",
]
