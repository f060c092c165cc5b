"""Whatever the SDK, HTTP or a socket raised, as one ConnectorError that a person can act on."""

import socket
import ssl
from collections.abc import Iterator

import httpx2
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, METHOD_NOT_FOUND, REQUEST_TIMEOUT
from pydantic import ValidationError

from registry.connectors.base import ConnectorError
from registry.connectors.recording import INSUFFICIENT, BodyRefused, Exchange
from registry.outbound import OutboundRefused

MAX_QUOTED = 300
# Answers by which a server says that it did not do what it was asked.
REFUSALS = {401, 403, 404, 405, 406, 415, 429}
# What the SDK says in place of an HTTP status; anything else is the server's own JSON-RPC error.
SESSION_ENDED = "Session terminated"
STAND_INS = {SESSION_ENDED, "Not Found", "Server returned an error response"}


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def explain(error: BaseException | None, exchange: Exchange) -> ConnectorError:
    """The leaf that explains most: our own error, then what HTTP said, then what the SDK made of it."""
    causes = list(leaves(error)) if error else []
    for cause in causes:
        if isinstance(cause, ConnectorError):
            return cause
    if exchange.failure is not None:
        return of_failure(exchange.failure, exchange)
    told = next((cause for cause in causes if isinstance(cause, MCPError)), None)
    if told is not None and told.message == SESSION_ENDED:
        return ConnectorError("unreachable", "The server has ended the session.", http_status=exchange.status)
    if exchange.status not in {None, 200} and not _says_itself(told, exchange) and (found := of_status(exchange)):
        return found
    if told is not None and told.code == REQUEST_TIMEOUT:
        return ConnectorError("timeout", "The server did not answer in time.", sent=exchange.sent)
    is_mcp_type = exchange.content_type in {"application/json", "text/event-stream"}
    if exchange.status == 200 and (not is_mcp_type or any(isinstance(cause, httpx2.SSEError) for cause in causes)):
        return not_mcp(exchange)
    if told is not None:
        return of_mcp_error(told, exchange)
    if exchange.status is not None and exchange.status >= 400:
        message = f"The address answers with HTTP {exchange.status}, not with MCP."
        return ConnectorError("not_mcp", message, sent=exchange.sent, http_status=exchange.status)
    return of_cause(causes[0] if causes else TimeoutError(), exchange)


def _says_itself(told: MCPError | None, exchange: Exchange) -> bool:
    """Did the server put an error of its own into the body of an error status?"""
    is_json = exchange.content_type == "application/json" and (exchange.status or 0) >= 400
    return told is not None and is_json and told.message not in STAND_INS and exchange.status not in {401, 403}


def of_failure(failure: Exception, exchange: Exchange) -> ConnectorError:
    match failure:
        case ConnectorError():
            return failure
        case OutboundRefused():
            return ConnectorError("blocked", str(failure))
        case BodyRefused():
            return ConnectorError("too_large", str(failure), sent=exchange.sent, http_status=exchange.status)
        case httpx2.TimeoutException():
            return ConnectorError("timeout", "The server did not accept the connection in time.", sent=exchange.sent)
        case httpx2.ConnectError():
            return ConnectorError("unreachable", why_unreachable(failure))
        case _:
            said = quoted(failure) or type(failure).__name__
            return ConnectorError("unreachable", f"The connection broke: {said}.", sent=exchange.sent)


def why_unreachable(error: BaseException) -> str:
    """The root of a failed connection in words."""
    chain = list(causes_of(error))
    for cause in chain:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"The server's TLS certificate is not trusted: {cause.verify_message}."
            case ssl.SSLError():
                return f"The TLS handshake failed ({cause.reason or quoted(cause)}). Is it https that is spoken there?"
            case socket.gaierror():
                return "The server's name cannot be resolved. Is the address spelled right?"
            case ConnectionRefusedError():
                return "The connection was refused: nothing listens at that address and port."
    return f"The server cannot be reached: {quoted(chain[-1])}."


def causes_of(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException] = [error]
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [each for each in (current.__cause__, current.__context__) if each is not None]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions


def of_status(exchange: Exchange) -> ConnectorError | None:
    """What an HTTP status other than 200 says; None where the body's own error says more."""
    status = exchange.status or 0
    sent = exchange.sent and status not in REFUSALS
    match status:
        case 401:
            code, message = "needs_auth", "The server asks for credentials (HTTP 401)."
        case 403 if INSUFFICIENT in exchange.challenge:
            code, message = "needs_auth", "The server wants more permissions than this sign-in has (HTTP 403)."
        case 403:
            code, message = "needs_auth", "The server refuses these credentials, or asks for some (HTTP 403)."
        case 404 | 405 | 406 | 415:
            code, message = "not_mcp", f"There is no MCP endpoint at this path for this transport (HTTP {status})."
        case 429:
            code, message = "unreachable", "The server asks us to slow down (HTTP 429). Try again in a while."
        case _ if 300 <= status < 400:
            code, message = "not_mcp", f"The server redirects to {exchange.location[:MAX_QUOTED]}: use that address."
        case _ if status >= 500:
            code, message = "unreachable", f"The server failed (HTTP {status})."
        case _:
            return None
    return ConnectorError(code, message, sent=sent, http_status=status, challenge=exchange.challenge)


def not_mcp(exchange: Exchange) -> ConnectorError:
    what = {"text/html": "a web page"}.get(exchange.content_type, exchange.content_type or "nothing that is named")
    return ConnectorError(
        "not_mcp", f"The address answers with {what}, not with MCP.", sent=exchange.sent, http_status=exchange.status
    )


CLOSED_WORDS = ("Connection closed", "SSE stream ended")


def is_closed(error: MCPError) -> bool:
    """The SDK says so under a code by which servers tell errors of their own."""
    return error.code == CONNECTION_CLOSED and error.message.startswith(CLOSED_WORDS)


def of_mcp_error(error: MCPError, exchange: Exchange) -> ConnectorError:
    if is_closed(error):
        return ConnectorError("unreachable", "The server closed the connection.", sent=exchange.sent)
    if error.message.startswith("Failed to parse"):
        message = "The address answers with something that is not JSON-RPC, so it is not MCP."
        return ConnectorError("not_mcp", message, sent=exchange.sent, http_status=exchange.status)
    unknown = error.code == METHOD_NOT_FOUND or "unknown tool" in error.message.lower()
    return ConnectorError(
        "tool_not_found" if unknown else "protocol",
        f"The server answered with an error: {quoted(error.message)} (code {error.code}).",
        sent=exchange.sent,
        http_status=exchange.status,
    )


def of_cause(cause: BaseException, exchange: Exchange) -> ConnectorError:
    if isinstance(cause, TimeoutError):
        return ConnectorError("timeout", "The server did not answer in time.", sent=exchange.sent)
    if isinstance(cause, ValidationError):
        message = "The server answered in a shape that MCP does not allow."
        return ConnectorError("protocol", message, sent=exchange.sent, http_status=exchange.status)
    said = quoted(cause) or type(cause).__name__
    return ConnectorError("protocol", f"The session failed: {said}.", sent=exchange.sent, http_status=exchange.status)


def quoted(what: object) -> str:
    """Words of a stranger, short and storable."""
    return str(what).replace("\x00", "").strip().rstrip(".")[:MAX_QUOTED]
