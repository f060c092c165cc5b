"""A session with an OpenAPI service: the document says what can be called, each call is a request of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
from asgiref.sync import sync_to_async

from registry import outbound
from registry.connectors.base import CallResult, ConnectorError, Introspection, Progress, Session, Target
from registry.connectors.openapi import memory, security
from registry.connectors.openapi.answers import result_of
from registry.connectors.openapi.forms import BadArgument
from registry.connectors.openapi.operations import Operation, Service
from registry.connectors.openapi.reading import fetch, read
from registry.connectors.openapi.requests import request_of
from registry.connectors.openapi.transfer import client, send
from registry.connectors.recording import MAX_BODY_BYTES, Exchange
from registry.connectors.repair import MAX_CONTAINERS, containers


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Session]:
    """Nothing is sent before the first question: there is no session on the other side."""
    async with client() as http:
        yield OpenApiSession(http, target)


class OpenApiSession:
    """Calls go by what the last introspection saw; the target's headers are the credentials as they were entered."""

    def __init__(self, http: outbound.Client, target: Target) -> None:
        self.http = http
        self.url = target.url
        self.credentials = target.headers
        self.service: Service | None = None
        self.reading = anyio.Lock()

    async def introspect(self) -> Introspection:
        fetched = await fetch(self.http, self.url, self.credentials)
        introspection, self.service = await read(fetched)
        await sync_to_async(memory.remember)(self.url, fetched.headers, fetched.digest, self.service)
        return introspection

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout_s: float,
        accepted: str = "",
        on_progress: Progress | None = None,
    ) -> CallResult:
        exchange = Exchange()
        with anyio.move_on_after(timeout_s):
            service = await self._service()
            return await self._send(service, _operation(service, tool, accepted), arguments, exchange)
        raise ConnectorError("timeout", f"The service did not answer within {timeout_s:g} s.", sent=exchange.sent)

    async def _send(
        self, service: Service, operation: Operation, arguments: dict[str, Any], exchange: Exchange
    ) -> CallResult:
        try:
            request = request_of(self.http, service, operation, arguments, self.credentials)
        except BadArgument as error:
            raise ConnectorError("invalid_arguments", str(error)) from error
        except (httpx2.InvalidURL, ValueError) as error:
            raise ConnectorError("invalid_arguments", "The arguments make no address that can be called.") from error
        answer = await send(self.http, request, exchange, limit_bytes=MAX_BODY_BYTES)
        if containers(answer.body) > MAX_CONTAINERS:
            message = f"The service's answer holds more than {MAX_CONTAINERS:,} objects and lists."
            raise ConnectorError("too_large", message, sent=True, http_status=answer.status)
        return result_of(answer, operation.method, _asked_for(service, operation))

    async def _service(self) -> Service:
        """Read once, however many calls wait for it."""
        async with self.reading:
            if self.service is None:
                known = security.fetch_headers(self.credentials)
                self.service = await sync_to_async(memory.recall)(self.url, known)
            if self.service is None:
                await self.introspect()
            assert self.service is not None
            return self.service


def _operation(service: Service, tool: str, accepted: str) -> Operation:
    """Raises ConnectorError where there is none of this name, or not as it was accepted."""
    operation = service.operations.get(tool)
    if operation is None:
        message = f"The service has no operation {tool[:80]}: test the connection to see what it has now."
        raise ConnectorError("tool_not_found", message)
    if accepted and operation.definition != accepted:
        message = (
            f"The service's document describes {tool[:80]} differently than it was authorised, so it was not called: "
            "test the connection, then accept what changed on the server's page."
        )
        raise ConnectorError("changed_tool", message)
    return operation


def _asked_for(service: Service, operation: Operation) -> str:
    wanted = security.used(service.schemes, [operation])
    return " or ".join(dict.fromkeys(scheme.credential for scheme in wanted)) or "Authorization"
