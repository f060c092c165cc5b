"""Which request and which run a line of the log belongs to, from the web server through the queue into the worker."""

import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

HEADER = b"x-request-id"
WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
request_id: ContextVar[str] = ContextVar("request_id", default="")
run_id: ContextVar[str] = ContextVar("run_id", default="")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


@contextmanager
def bound(*, request: str = "", run: str = "") -> Iterator[None]:
    """Lines written in here belong to this request and this run."""
    tokens = request_id.set(request), run_id.set(run)
    try:
        yield
    finally:
        request_id.reset(tokens[0])
        run_id.reset(tokens[1])


class ContextFilter(logging.Filter):
    """Gives every record what it belongs to: `request_id` and `run_id` for JSON, `context` for a line of text."""

    def filter(self, record: logging.LogRecord) -> bool:
        known = {"request_id": request_id.get(), "run_id": run_id.get()}
        for name, value in known.items():
            if value:
                setattr(record, name, value)
        told = [f"{name.removesuffix('_id')}={value}" for name, value in known.items() if value]
        record.context = f" [{' '.join(told)}]" if told else ""
        return True


class TracedApplication:
    """Outermost of all: takes a request's X-Request-ID where it is well-formed, or makes one, and returns it."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = told_id(scope)
        request_id.set(given)  # each connection has a task, and so a context, of its own

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                headers = [pair for pair in message.get("headers", ()) if bytes(pair[0]).lower() != HEADER]
                message["headers"] = [*headers, (HEADER, given.encode())]
            await send(message)

        await self.application(scope, receive, send_with_id)


def told_id(scope: Scope) -> str:
    for name, value in scope.get("headers", ()):
        if bytes(name).lower() == HEADER and WELL_FORMED.match(told := bytes(value).decode("latin-1")):
            return told
    return uuid.uuid4().hex
