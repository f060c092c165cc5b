"""Reach a server: one file a kind, one line a transport in CONNECTORS."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from django.conf import settings

from registry.commands import MayNotStart, check_confirmed
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
from registry.connectors.redacting import RedactedSession, redacted_bearer, redacted_error, redacted_log, secrets_of
from registry.models import Server
from registry.outbound import OutboundRefused, check_url
from registry.redaction import Redactor
from registry.watchdog import loop_watched

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
    what a server started by command writes to its standard error. Credentials and tokens it is told do not come back,
    in whatever it answers.
    """
    if server.transport == Server.Transport.STDIO and settings.STDIO_SERVERS == "off":
        raise ConnectorError("blocked", "This registry starts no servers by command (STDIO_SERVERS is off).")
    connector = CONNECTORS.get(server.transport)
    if connector is None:
        kind = f"an {TRANSPORT_NAMES[server.transport]} document" if server.transport else "no address"
        raise ConnectorError("unsupported", f"Servers with {kind} cannot be connected yet.")
    try:
        check_confirmed(server)
        _check_address(server)
    except (MayNotStart, OutboundRefused) as refused:
        raise ConnectorError("blocked", str(refused)) from refused
    redactor = Redactor(secrets_of(server, credentials))
    target = replace(
        Target.of(server, credentials),
        on_log=redacted_log(on_log, redactor),
        bearer=redacted_bearer(bearer, redactor),
    )
    try:
        async with loop_watched(), connector(target) as session:
            yield RedactedSession(session, redactor)
    except ConnectorError as error:
        raise redacted_error(error, redactor) from None  # its causes say what it was redacted of


def _check_address(server: Server) -> None:
    """As when it was saved; what a name means is checked when the connection is opened. An address into which
    something secret is filled is left to that: what is refused is quoted. Raises OutboundRefused."""
    address = server.openapi_url if server.transport == Server.Transport.OPENAPI else server.url
    if server.transport != Server.Transport.STDIO and "{" not in address:
        check_url(address)


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
