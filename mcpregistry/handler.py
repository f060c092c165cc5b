"""HTTP requests answered in one trip to a thread.

Django's own ASGI handler goes to and fro between the event loop and threads six times for each request and starts two
threads for it, which takes longer than many a view. Here a request to a plain view is answered in one call in a thread
that is kept, from the first middleware to the closing of its response; one to a coroutine goes Django's way, so that
what waits (a stream, a worker's answer) holds no thread. A view with `foresee` is told of a request as it comes in.
"""

import tempfile
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from asgiref.sync import SyncToAsync, iscoroutinefunction
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve, set_script_prefix

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Body = tempfile.SpooledTemporaryFile[bytes]
ADDRESSES = 512  # last asked for, that are not looked up again
THREADS = 20  # without a pool of database connections; with one, as many as it has


class Request(ASGIRequest):
    found: ResolverMatch | None = None  # at its address, as it was looked up to choose the handler


class PlainHandler(BaseHandler):
    """The middleware around plain views."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware(is_async=False)

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Once a request."""
        match: ResolverMatch | None = getattr(request, "found", None)
        if match is None or request.path_info != request.path:  # a middleware changed it
            return super().resolve_request(request)
        request.resolver_match = match
        return match


class Handler(ASGIHandler):
    request_class = Request

    def __init__(self) -> None:
        super().__init__()
        self.plain = PlainHandler()
        self.threads = ThreadPoolExecutor(settings.DATABASE_POOL or THREADS, thread_name_prefix="request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = found_at(scope["path"])
        if match is not None and iscoroutinefunction(match.func):
            await super().__call__(scope, receive, send)
            return
        if match is not None and (foresee := getattr(getattr(match.func, "cls", None), "foresee", None)):
            foresee(scope)
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            response = await self._in_thread(self._answer)(scope, body, match)
            await self.send_response(response, send)
            if response.streaming:
                await self._in_thread(response.close)()
        finally:
            body.close()

    def _in_thread(self, work: Callable[..., Any]) -> SyncToAsync[..., Any]:
        return SyncToAsync(work, thread_sensitive=False, executor=self.threads)

    def _answer(self, scope: Scope, body: Body, match: ResolverMatch | None) -> HttpResponseBase:
        """Closed already, unless it streams: whoever sends it needs no connection to the database."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refused = self.create_request(scope, body)
        response = self._respond(request, match) if isinstance(request, Request) else refused
        assert response is not None  # Django makes one or the other
        if not response.streaming:
            response.close()
        return response

    def _respond(self, request: Request, match: ResolverMatch | None) -> HttpResponseBase:
        request.found = match
        response = self.plain.get_response(request)
        response._handler_class = self.__class__  # type: ignore[attr-defined]  # whose request has finished
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        return response


@lru_cache(maxsize=ADDRESSES)
def found_at(path: str) -> ResolverMatch | None:
    """With or without its trailing slash. What stands at an address stays there as long as the process lives."""
    for address in dict.fromkeys([path, path.rstrip("/")]):
        try:
            return resolve(address)
        except Resolver404:
            continue
    return None
