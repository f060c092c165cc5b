"""What every connector speaks: the words in which a server is described, called, and fails."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from registry.models import Server
from registry.secrets import filled, filled_url, places

Answers = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any] | None]]  # question, schema → answer; None: no
Progress = Callable[[float, float | None, str], Awaitable[None]]  # done, total, message


TRANSPORT_NAMES: dict[str, str] = {
    Server.Transport.STREAMABLE_HTTP: "streamable HTTP",
    Server.Transport.SSE: "SSE",
    Server.Transport.STDIO: "its standard streams",
    Server.Transport.OPENAPI: "OpenAPI",
}


class ConnectorError(Exception):
    """A server could not be reached, or did not do what it was asked.

    `code` is one of needs_auth, wrong_transport, not_mcp, not_openapi, unreachable, timeout, blocked, protocol,
    tool_not_found, changed_tool, invalid_arguments, too_large, unsupported. `message` is a sentence a person can act
    on. `sent` is False when the request certainly had no effect on the server, so that asking again is safe.
    `http_status` is the last one seen, if any, and `challenge` the WWW-Authenticate that came with it.
    """

    def __init__(
        self, code: str, message: str, *, sent: bool = False, http_status: int | None = None, challenge: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.sent = sent
        self.http_status = http_status
        self.challenge = challenge


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool as the server declares it; every text can be stored."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Introspection:
    """Who a server says it is and what it offers. `problems` are sentences about tools left out.

    A description of a service may also say what it is for, how many data models it has, how one signs in (a value of
    Server.AuthType) and what to ask a user for (in the shape of Server.env_schema). `latency_ms` is set where
    connecting sent nothing.
    """

    protocol_version: str
    server_name: str
    server_version: str
    tools: list[ToolDefinition]
    problems: list[str]
    description: str = ""
    model_count: int | None = None
    auth_type: str | None = None
    env_schema: list[dict[str, Any]] = field(default_factory=list)
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CallResult:
    """`content` holds MCP content blocks as JSON (`{"type": "text", "text": …}`)."""

    content: list[dict[str, Any]]
    structured: Any | None
    is_error: bool


class Bearer(Protocol):
    """Whoever signed in to a server, and the access token that came of it. Raises ConnectorError."""

    async def token(self, *, refused: str = "") -> str:
        """The token to send; another one than `refused`, which the server did not take, where there is one."""

    async def wants_more(self, challenge: str) -> None:
        """The server took the token, but what it allows is not enough: `challenge` is its WWW-Authenticate."""


class Session(Protocol):
    """An open connection to one server. Calls may run at the same time; all of them raise ConnectorError only.

    `accepted` is the `schema_hash` of the definition that the user accepted. Where the definition says what a call
    sends, and to whom, a tool that is defined differently by now is not called (`changed_tool`). An MCP server is sent
    the tool's name, whatever it means by it. Empty: as it is now.
    """

    async def introspect(self) -> Introspection: ...

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout_s: float,
        accepted: str = "",
        on_progress: Progress | None = None,
    ) -> CallResult: ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server is and what it must be told to let us in."""

    transport: str
    url: str = ""
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    on_log: Callable[[str], None] | None = None
    bearer: Bearer | None = None
    answers: Answers | None = None  # who answers what a server asks during a call; without, it may not ask

    @classmethod
    def of(cls, server: Server, credentials: Mapping[str, str]) -> "Target":
        """Credentials are environment variables of a command and headers of an address; where an OpenAPI service
        wants them is for its document to say. One whose name stands as `{name}` in the address or the arguments is
        put there instead."""
        address = [server.url, server.openapi_url, *server.args]
        others = {name: value for name, value in credentials.items() if name not in places(address)}
        if server.transport == Server.Transport.STDIO:
            args = tuple(filled(part, credentials) for part in server.args)
            return cls(server.transport, command=server.command, args=args, env={**server.env, **others})
        if server.transport == Server.Transport.OPENAPI:
            return cls(server.transport, url=filled_url(server.openapi_url, credentials), headers=others)
        url = filled_url(server.url, credentials)
        return cls(server.transport, url=url, headers=headers_of(server, others))


def headers_of(server: Server, credentials: Mapping[str, str]) -> dict[str, str]:
    """A bare bearer token becomes `Bearer TOKEN`; everything else is sent as it was given."""
    headers = dict(credentials)
    for name, value in credentials.items():
        bare = name.lower() == "authorization" and " " not in value.strip()
        if bare and server.auth_type in {Server.AuthType.BEARER, Server.AuthType.OAUTH2}:
            headers[name] = f"Bearer {value.strip()}"
    return headers
