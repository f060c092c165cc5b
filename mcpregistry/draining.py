"""How a web process ends when it is asked to: streams are told to come again elsewhere, requests are finished.

SIGTERM or SIGINT: `/readyz` says no at once; for DRAIN_SECONDS the process serves on, so that the proxy in front finds
that out; then it takes no new connection, ends event streams and websockets between two events (their clients come
back with the number of the last one and miss nothing) and waits for what else is under way.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from django.conf import settings
from twisted.internet import reactor, tcp, unix

from mcpregistry.tracing import Application, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)
PATIENCE_S = 25  # for requests that are under way; the longest is a test of a connection
LOOK_S = 0.05
COME_AGAIN = 4503  # of a websocket's close; 1012 says the same, but daphne may not send it
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Serving:
    """One request or websocket, from its scope to its end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, is_draining: Callable[[], bool]) -> None:
        self.kind, self._receive, self._send, self.is_draining = scope["type"], receive, send, is_draining
        self.is_stream = self.kind == "websocket"
        self.is_read = False  # the body: who asks for more of a request waits for its reader to leave
        self.is_open = False  # something was sent, and not yet its end
        self.ended = asyncio.Event()

    def end(self) -> None:
        """A stream has its reader leave; whatever else is let be."""
        if self.is_stream:
            self.ended.set()

    async def receive(self) -> Message:
        if not self.is_stream and (self.kind != "http" or not self.is_read):
            message = await self._receive()
            self.is_read = not message.get("more_body", False)
            return message
        coming = asyncio.ensure_future(self._receive())
        ending = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else self.farewell()
        finally:
            coming.cancel()
            ending.cancel()

    def farewell(self) -> Message:
        return {"type": "http.disconnect"} if self.kind == "http" else {"type": "websocket.disconnect", "code": 1001}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begin(message)
        elif message["type"] == "websocket.accept":
            self.is_open = True
        elif message["type"] == "websocket.close" or not message.get("more_body", message["type"] == "websocket.send"):
            self.is_open = False
        await self._send(message)

    def begin(self, message: Message) -> None:
        self.is_open = True
        kinds = [bytes(value) for name, value in message.get("headers", ()) if bytes(name).lower() == b"content-type"]
        self.is_stream = any(kind.startswith(b"text/event-stream") for kind in kinds)
        if self.is_draining():
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            self.end()

    async def close(self) -> None:
        """What the application left open when its reader was taken away."""
        if not self.is_open or not self.ended.is_set():
            return
        if self.kind == "http":
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send({"type": "websocket.close", "code": COME_AGAIN})


class DrainingApplication:
    def __init__(self, application: Application) -> None:
        self.application = application
        self.serving: set[Serving] = set()
        self.is_draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serving = Serving(scope, receive, send, is_draining=lambda: self.is_draining)
        self.serving.add(serving)
        try:
            await self.application(scope, serving.receive, serving.send)
            await serving.close()
        finally:
            self.serving.discard(serving)

    async def drain(self, stop_listening: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Until nothing is under way any more, or patience is at its end."""
        self.is_draining = state.is_draining = True
        await asyncio.sleep(settings.DRAIN_SECONDS)
        stop_listening()
        for serving in list(self.serving):
            serving.end()
        deadline = asyncio.get_running_loop().time() + patience_s
        while self.serving and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LOOK_S)
        if self.serving:
            logger.warning("%d requests did not end within %s s and are cut off.", len(self.serving), patience_s)


class State:
    """Of this process, for /readyz."""

    is_draining = False


state = State()


def drain_on_signals(application: DrainingApplication) -> None:
    """In a daphne process, once its reactor runs and has set handlers of its own."""
    reactor.callWhenRunning(reactor.callLater, 0, _install, application)  # type: ignore[attr-defined]


def _install(application: DrainingApplication) -> None:
    loop = asyncio.get_event_loop()
    ending: list[Any] = []

    async def end() -> None:
        await application.drain(_stop_listening)
        reactor.stop()  # type: ignore[attr-defined,misc]

    def on_signal(signum: int, frame: FrameType | None) -> None:
        """The second one does not wait."""
        act = reactor.stop if ending else lambda: ending.append(loop.create_task(end()))  # type: ignore[attr-defined,misc]
        loop.call_soon_threadsafe(act)

    for signum in SIGNALS:
        signal.signal(signum, on_signal)


def _stop_listening() -> None:
    for reader in reactor.getReaders():  # type: ignore[attr-defined,misc]
        if isinstance(reader, tcp.Port | unix.Port):
            reader.stopListening()
