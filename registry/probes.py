"""Test a server's connection: is it there, does it speak MCP the way it is registered, what does it offer."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from registry.connectors import TRANSPORT_NAMES, Bearer, ConnectorError, Introspection, connect
from registry.models import Health, Server
from registry.oauth.discovery import Challenge, Protection, look
from registry.oauth.errors import SignInError

PROBE_TIMEOUT_S: dict[str, float] = {Server.Transport.STDIO: 95.0}
HTTP_PROBE_TIMEOUT_S = 60.0
OTHER_TRANSPORT_TIMEOUT_S = 10.0
SIGN_IN_TIMEOUT_S = 15.0
MAX_DETAIL = 2_000
MAX_PROBLEMS_TOLD = 5
HTTP_TRANSPORTS = {
    Server.Transport.STREAMABLE_HTTP: Server.Transport.SSE,
    Server.Transport.SSE: Server.Transport.STREAMABLE_HTTP,
}
HEALTH_OF = {
    "needs_auth": Health.NEEDS_AUTH,
    "wrong_transport": Health.WRONG_TRANSPORT,
    "not_mcp": Health.NOT_MCP,
    "not_openapi": Health.NOT_MCP,
    "timeout": Health.TIMEOUT,
    "blocked": Health.BLOCKED,
    "unsupported": Health.UNTESTED,
}
NEXT_STEP = {
    Health.NEEDS_AUTH: "Enter credentials under Authorise and test again.",
    Health.NOT_MCP: "Check the address: MCP is often served under /mcp or /sse.",
    Health.UNREACHABLE: "Check that the server runs and that its address is right, then test again.",
    Health.TIMEOUT: "Test again later; if it stays silent, ask whoever runs it.",
}

WRITE_MESSAGES = "Check the command: an MCP server writes messages to its standard output, and nothing else."
FIND_DOCUMENT = "Check that the address is that of the document itself, in JSON or YAML, not of a page about it."


@dataclass(frozen=True, slots=True)
class SignInFound:
    """Where one signs in, or why not; `error` says so, and None in both that the server offers none."""

    protection: Protection | None
    error: SignInError | None = None

    @property
    def problem(self) -> str:
        return "" if self.error is None or self.error.code == "not_offered" else self.error.message

    @property
    def next_step(self) -> str:
        if self.protection is not None:
            return f"Sign in at {self.protection.metadata.issuer.host} on its page."
        return f"It offers a sign-in that cannot be used: {self.problem}" if self.problem else ""


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """`detail` says what was tried, what came back and what to do next; `latency_ms` is that of connecting."""

    health: Health
    detail: str
    latency_ms: int | None = None
    introspection: Introspection | None = None
    sign_in: SignInFound | None = None


async def probe(
    server: Server,
    credentials: Mapping[str, str],
    timeout_s: float | None = None,
    *,
    bearer: Bearer | None = None,
) -> ProbeOutcome:
    """Never raises for what a server does. `timeout_s` is for those that are not started first."""
    usual_s = PROBE_TIMEOUT_S.get(server.transport)
    outcome = await _attempt(server, credentials, usual_s or timeout_s or HTTP_PROBE_TIMEOUT_S, bearer)
    if outcome.health == Health.NOT_MCP and server.transport in HTTP_TRANSPORTS:
        return await _with_other_transport(server, credentials, outcome)
    return outcome


async def _attempt(
    server: Server, credentials: Mapping[str, str], timeout_s: float, bearer: Bearer | None = None
) -> ProbeOutcome:
    started = time.monotonic()
    try:
        with anyio.fail_after(timeout_s):
            async with connect(server, credentials, bearer=bearer) as session:
                latency_ms = round((time.monotonic() - started) * 1000)
                introspection = await session.introspect()
    except ConnectorError as error:
        found = await _sign_in(server, error) if error.code == "needs_auth" else None
        return _failed(server, error, found)
    except TimeoutError:
        message = f"The server did not finish within {timeout_s:.0f} s."
        return _failed(server, ConnectorError("timeout", message))
    if introspection.latency_ms is not None:
        latency_ms = introspection.latency_ms
    return ProbeOutcome(Health.OK, _ok_detail(server, introspection), latency_ms, introspection)


async def _with_other_transport(server: Server, credentials: Mapping[str, str], outcome: ProbeOutcome) -> ProbeOutcome:
    """Streamable HTTP and SSE are often mistaken for each other: look whether the other one answers."""
    other = HTTP_TRANSPORTS[Server.Transport(server.transport)]
    twin = Server(transport=other, url=server.url, auth_type=server.auth_type)
    found = await _attempt(twin, credentials, OTHER_TRANSPORT_TIMEOUT_S)
    if found.health not in {Health.OK, Health.NEEDS_AUTH}:
        return outcome
    speaks, registered = TRANSPORT_NAMES[other], TRANSPORT_NAMES[server.transport]
    detail = f"It speaks {speaks}, but is registered as {registered}. Change its transport to {other.value}."
    return ProbeOutcome(Health.WRONG_TRANSPORT, f"{_tried(server)} {detail}")


async def _sign_in(server: Server, error: ConnectorError) -> SignInFound | None:
    """Where one signs in to a server that asks for it."""
    if server.transport not in HTTP_TRANSPORTS:
        return None
    with anyio.move_on_after(SIGN_IN_TIMEOUT_S):
        try:
            return SignInFound(await look(server.url, Challenge.of(error.challenge) if error.challenge else None))
        except SignInError as failed:
            return None if failed.may_pass else SignInFound(None, failed)
    return None


def _failed(server: Server, error: ConnectorError, sign_in: SignInFound | None = None) -> ProbeOutcome:
    health = HEALTH_OF.get(error.code, Health.UNREACHABLE)
    next_step = FIND_DOCUMENT if error.code == "not_openapi" else NEXT_STEP.get(health, "")
    if health == Health.NOT_MCP and server.transport == Server.Transport.STDIO:
        next_step = WRITE_MESSAGES
    if sign_in is not None:
        next_step = sign_in.next_step or next_step
    is_kept = server.transport == Server.Transport.STDIO and error.code == "blocked"  # nothing was started
    parts = ["" if is_kept else _tried(server), error.message, next_step]
    return ProbeOutcome(health, " ".join(part for part in parts if part)[:MAX_DETAIL], sign_in=sign_in)


def _tried(server: Server) -> str:
    if server.transport == Server.Transport.STDIO:
        return f"Started `{server.command}`."
    if server.transport == Server.Transport.OPENAPI:
        return f"Tried {server.openapi_url} as an OpenAPI document."
    return f"Tried {server.url} over {TRANSPORT_NAMES[server.transport]}." if server.url else ""


def _ok_detail(server: Server, found: Introspection) -> str:
    speaks = f"Speaks MCP {found.protocol_version} over {TRANSPORT_NAMES[server.transport]}"
    if server.transport == Server.Transport.OPENAPI:
        speaks = f"The document is {found.protocol_version}"
    told = found.problems[:MAX_PROBLEMS_TOLD]
    if more := len(found.problems) - len(told):
        told.append(f"And {more} more like these.")
    return " ".join([f"{speaks}, {len(found.tools)} tools.", *_asks(found), *told])[:MAX_DETAIL]


def _asks(found: Introspection) -> list[str]:
    names = ", ".join(str(entry["name"]) for entry in found.env_schema[:MAX_PROBLEMS_TOLD])
    return [f"Calls may need credentials ({names}): enter them under Authorise."] if names else []
