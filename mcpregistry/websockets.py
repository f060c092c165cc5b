"""Who opens a websocket: a page of ours by its session, or a program by its token."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from django.contrib.auth.models import AnonymousUser, User

from mcpregistry.second_factor import is_missing
from mcpregistry.tokens import may, row_of, scope_of

Scope = dict[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]
PREFIX = b"token "


def guarded(inner: Application) -> Application:
    """A foreign page is refused whatever it brings; only a program, which brings a token, may come from no page."""
    by_session = AllowedHostsOriginValidator(AuthMiddlewareStack(WithSecondFactor(inner)))
    by_token = ByToken(inner)
    by_token_from_a_page = AllowedHostsOriginValidator(by_token)

    async def application(scope: Scope, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        if b"authorization" not in headers:
            await by_session(scope, receive, send)
        else:
            await (by_token_from_a_page if b"origin" in headers else by_token)(scope, receive, send)

    return application


class ByToken:
    """`Authorization: Token …`, as on every other call. Refused before the handshake where it does not hold."""

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        told = dict(scope["headers"])[b"authorization"]
        user = await database_sync_to_async(user_of)(told, scope["path"])
        if user is None:
            return await WebsocketDenier()(scope, receive, send)
        return await self.inner({**scope, "user": user}, receive, send)


def user_of(authorization: bytes, path: str) -> User | None:
    """Opening a websocket reads: every scope lets it through."""
    is_token = authorization[: len(PREFIX)].lower() == PREFIX
    row = row_of(authorization[len(PREFIX) :].strip()) if is_token else None
    is_let_through = row is not None and row.user.is_active and may(scope_of(row), "GET", path)
    return row.user if row is not None and is_let_through else None


class WithSecondFactor:
    """Who must have a second factor and has none is nobody here, as on the pages."""

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if await database_sync_to_async(is_missing)(scope["user"]):
            scope = {**scope, "user": AnonymousUser()}
        await self.inner(scope, receive, send)
