"""Who may open a websocket."""

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.db import close_old_connections, connections
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from pytest_django.fixtures import Settings

from chains import events, services
from chains.models import Run
from chains.routing import websocket_urlpatterns
from mcpregistry.tokens import make_token
from mcpregistry.websockets import guarded

pytestmark = pytest.mark.django_db(transaction=True)
OURS, FOREIGN = b"http://localhost", b"https://evil.example"
NOT_FOUND = {"type": "websocket.close", "code": 4404}


@pytest.fixture(autouse=True)
async def _no_connection_left(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The communicator of channels keeps threads from closing their connections; here they do."""
    monkeypatch.setattr("channels.testing.application.no_op", close_old_connections)
    yield
    await sync_to_async(connections.close_all)()


@pytest.fixture
def run(alice: User) -> Run:
    run = Run.objects.create(owner=alice, kind=Run.Kind.CHAIN)
    events.publish(run.pk, [(events.RUN_STARTED, {})])
    services.finish_run(run=run, status=Run.Status.SUCCEEDED, outputs={}, lease_token=run.lease_token)
    return run


def cookie_of(user: User) -> bytes:
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}".encode()


async def opened(run: Run, **headers: bytes) -> str:
    """What comes of it: refused, nothing (there is no such run), or the first event."""
    told = [(name.encode(), value) for name, value in headers.items()]
    socket = WebsocketCommunicator(guarded(URLRouter(websocket_urlpatterns)), f"/ws/runs/{run.pk}", told)
    is_accepted, _ = await socket.connect()
    if not is_accepted:
        return "refused"
    first = await socket.receive_output()
    await socket.disconnect()
    return "nothing" if first == NOT_FOUND else str(first["text"])


@pytest.mark.parametrize("scope", ["read", "run", "admin"])
async def test_a_token_of_any_scope_may_watch(run: Run, alice: User, scope: str) -> None:
    token = await database_sync_to_async(make_token)(user=alice, name="watcher", scope=scope)
    assert "STATE_SNAPSHOT" in await opened(run, authorization=f"Token {token}".encode())


async def test_a_token_shows_nobody_elses_run(run: Run, bob: User) -> None:
    token = await database_sync_to_async(make_token)(user=bob, name="watcher")
    assert await opened(run, authorization=f"Token {token}".encode()) == "nothing"


async def test_a_token_that_does_not_hold_is_refused(run: Run, alice: User) -> None:
    token = await database_sync_to_async(make_token)(user=alice, name="watcher")
    for told in (b"", b"Token", b"Token mcpr_x", b"Token \xff", f"Bearer {token}".encode()):
        assert await opened(run, authorization=told, origin=OURS) == "refused"
    await AuthToken.objects.aupdate(expiry=timezone.now())
    assert await opened(run, authorization=f"Token {token}".encode()) == "refused"


async def test_a_deactivated_user_is_refused(run: Run, alice: User) -> None:
    token = await database_sync_to_async(make_token)(user=alice, name="watcher")
    cookie = await database_sync_to_async(cookie_of)(alice)
    await User.objects.aupdate(is_active=False)
    assert await opened(run, authorization=f"Token {token}".encode()) == "refused"
    assert await opened(run, cookie=cookie, origin=OURS) == "nothing"


async def test_a_page_of_ours_comes_by_its_session(run: Run, alice: User, bob: User) -> None:
    cookie = await database_sync_to_async(cookie_of)(alice)
    assert "STATE_SNAPSHOT" in await opened(run, cookie=cookie, origin=OURS)
    assert await opened(run, cookie=await database_sync_to_async(cookie_of)(bob), origin=OURS) == "nothing"


@pytest.mark.parametrize("origin", [FOREIGN, b"http://localhost.evil.example", b"null", b""])
async def test_a_foreign_page_is_refused_whatever_it_brings(run: Run, alice: User, origin: bytes) -> None:
    cookie = await database_sync_to_async(cookie_of)(alice)
    token = await database_sync_to_async(make_token)(user=alice, name="watcher")
    assert await opened(run, cookie=cookie, origin=origin) == "refused"
    assert await opened(run, authorization=f"Token {token}".encode(), origin=origin) == "refused"


async def test_a_session_from_no_page_is_refused(run: Run, alice: User) -> None:
    assert await opened(run, cookie=await database_sync_to_async(cookie_of)(alice)) == "refused"


async def test_a_session_without_the_second_factor_it_needs_sees_nothing(
    run: Run, alice: User, settings: Settings
) -> None:
    cookie = await database_sync_to_async(cookie_of)(alice)
    settings.SECOND_FACTOR = "everyone"
    assert await opened(run, cookie=cookie, origin=OURS) == "nothing"
