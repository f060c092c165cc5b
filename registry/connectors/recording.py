"""The HTTP transport under a session: records what came back, so that an error can be told as it was.

The SDK turns 401, 403 and 500 into one error and lets a broken connection take the whole session down. Here every
request keeps an `Exchange`, failures become an answer the SDK understands, and no body is larger than we allow.
"""

from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2

from registry.connectors.base import Bearer, ConnectorError
from registry.connectors.repair import MAX_CONTAINERS, containers, repaired
from registry.outbound import GuardedTransport, OutboundRefused

MAX_BODY_BYTES = 10_000_000
INSUFFICIENT = "insufficient_scope"  # RFC 6750, 3.1
DENIED = {401, 403}
FAILED = 502  # what the SDK is told when there was no answer


class BodyRefused(Exception):
    """A body that is too large or compressed; the message says which."""


@dataclass
class Exchange:
    """What happened to one request, or while connecting to the last of several."""

    sent: bool = False
    status: int | None = None
    content_type: str = ""
    challenge: str = ""
    location: str = ""
    failure: Exception | None = None
    waiting: anyio.CancelScope | None = None  # cancelled when no answer can come any more

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """httpcore2's trace: from the first header on the server may have seen the request."""
        if event.endswith("send_request_headers.started"):
            self.sent = True

    def answered(self, response: httpx2.Response) -> None:
        """What the SDK tries after a refusal may be refused for another reason, which says less."""
        if self.status in DENIED and response.is_error:
            return
        self.failure = None
        self.status = response.status_code
        self.content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.challenge = response.headers.get("www-authenticate", "")
        self.location = response.headers.get("location", "")
        if response.is_error:
            self.give_up()

    def failed(self, error: Exception) -> None:
        self.failure = error
        self.give_up()

    def give_up(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()


# The exchange of the call that runs in this context; the SDK carries the context into its sending tasks.
current_exchange: ContextVar[Exchange | None] = ContextVar("current_exchange", default=None)


class RecordingTransport(httpx2.AsyncBaseTransport):
    def __init__(self, url: str, *, streams_events: bool, bearer: Bearer | None = None) -> None:
        self.origin = _origin(httpx2.URL(url)) if bearer else None
        self.bearer = bearer
        self.inner = GuardedTransport()
        self.connecting = Exchange()
        self.streams_events = streams_events

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = self._exchange_of(request)
        request.extensions = {**request.extensions, "trace": exchange.trace}
        try:
            response = await self._sent(request)
        except (httpx2.TransportError, OutboundRefused, ConnectorError) as error:
            exchange.failed(error)
            return httpx2.Response(FAILED, request=request)
        exchange.answered(response)
        if encoding := response.headers.get("content-encoding", "identity").lower().replace("identity", ""):
            exchange.failed(BodyRefused(f"The server sent a body compressed with {encoding[:40]}, unasked."))
            await response.aclose()
            return httpx2.Response(FAILED, request=request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        is_endless = request.method == "GET" and exchange.content_type == "text/event-stream"
        response.stream = RecordedStream(response.stream, exchange, is_endless=is_endless)
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def _sent(self, request: httpx2.Request) -> httpx2.Response:
        """With the token of whoever signed in, and once more with a new one where the server turns it down."""
        if self.bearer is None or _origin(request.url) != self.origin:
            return await self.inner.handle_async_request(request)
        token = await self.bearer.token()
        response = await self._sent_with(token, request)
        if response.status_code == 401:
            newer = await self.bearer.token(refused=token)
            if newer != token:
                await response.aclose()
                response = await self._sent_with(newer, request)
        challenge = response.headers.get("www-authenticate", "")
        if response.status_code == 403 and INSUFFICIENT in challenge:
            await self.bearer.wants_more(challenge)
        return response

    async def _sent_with(self, token: str, request: httpx2.Request) -> httpx2.Response:
        request.headers["authorization"] = f"Bearer {token}"
        return await self.inner.handle_async_request(request)

    def _exchange_of(self, request: httpx2.Request) -> Exchange:
        """A side channel (the optional GET stream of streamable HTTP, the closing DELETE) is nobody's news."""
        if request.method == "POST" or (request.method == "GET" and self.streams_events):
            return current_exchange.get() or self.connecting
        return Exchange()


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


class RecordedStream(httpx2.AsyncByteStream):
    """A body that ends early, and says why in its exchange, instead of raising or growing without end.

    It comes in whole documents, which can be repaired: JSON at its end, events line by line. Which of them it is was
    said at its beginning: over SSE other requests are answered, in the same exchange, while it goes on.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, exchange: Exchange, *, is_endless: bool) -> None:
        self.inner = inner
        self.exchange = exchange
        self.content_type = exchange.content_type
        self.is_endless = is_endless

    async def __aiter__(self) -> AsyncIterator[bytes]:
        waiting = bytearray()
        try:
            async for part in self._bounded():
                waiting += part
                if self.content_type == "text/event-stream" and (end := _end_of_lines(waiting)):
                    lines = bytes(waiting[:end])
                    del waiting[:end]
                    yield b"\n".join(map(_repaired_event, lines.split(b"\n")))
            if waiting:
                yield repaired(bytes(waiting)) if self.content_type == "application/json" else bytes(waiting)
        except BodyRefused as refused:
            self.exchange.failed(refused)
        except httpx2.TransportError as error:
            self.exchange.failed(error)

    async def _bounded(self) -> AsyncIterator[bytes]:
        """Of a stream without end each line is bounded. Raises BodyRefused."""
        size_bytes = values = 0
        async for part in self.inner:
            if self.is_endless and b"\n" in part:
                size_bytes = values = 0
            size_bytes += len(part)
            values += containers(part)
            if size_bytes > MAX_BODY_BYTES:
                raise BodyRefused(f"The server's answer is larger than {MAX_BODY_BYTES // 1_000_000} MB.")
            if values > MAX_CONTAINERS:
                raise BodyRefused(f"The server's answer holds more than {MAX_CONTAINERS:,} objects and lists.")
            yield part

    async def aclose(self) -> None:
        await self.inner.aclose()


def _end_of_lines(text: bytearray) -> int:
    return max(text.rfind(b"\n"), text.rfind(b"\r")) + 1


def _repaired_event(line: bytes) -> bytes:
    name, colon, data = line.partition(b":")
    return name + colon + repaired(data) if name == b"data" else line
