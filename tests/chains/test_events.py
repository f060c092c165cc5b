"""What viewers of a run see: everything, in order, once, whenever they come."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.db import close_old_connections, connections

from chains import events, leases, services, tails
from chains.events import publish, sse_stream, subscribe
from chains.models import Run
from chains.routing import websocket_urlpatterns

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def _no_connection_left(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The communicator of channels keeps threads from closing their connections; here they do."""
    monkeypatch.setattr("channels.testing.application.no_op", close_old_connections)
    yield
    await sync_to_async(connections.close_all)()


@pytest.fixture
def run(alice: User) -> Run:
    run = Run.objects.create(owner=alice, kind=Run.Kind.CHAT)
    publish(run.pk, [(events.RUN_STARTED, {})])
    return run


def say(run: Run, *words: str) -> None:
    publish(run.pk, [(events.TEXT_MESSAGE_CONTENT, {"delta": word}) for word in words])


def end(run: Run) -> None:
    services.finish_run(run=run, status=Run.Status.SUCCEEDED, outputs={}, lease_token=run.lease_token)


async def seen(stream: AsyncIterator[tails.Event]) -> list[tuple[int, str]]:
    async with asyncio.timeout(20):
        return [(event.seq, event.type) async for event in stream]


async def test_a_viewer_who_comes_back_misses_nothing_and_sees_nothing_twice(run: Run) -> None:
    await database_sync_to_async(say)(run, *"abc")
    live = asyncio.create_task(seen(subscribe(run.pk, 2)))
    for word in "defgh":
        await database_sync_to_async(say)(run, word)
    await database_sync_to_async(end)(run)
    assert [seq for seq, _ in await live] == list(range(3, 11))
    assert await seen(subscribe(run.pk, 9)) == [(10, "RUN_FINISHED")]
    assert await seen(subscribe(run.pk, 10)) == []


async def test_a_new_viewer_gets_the_whole_run_first(run: Run) -> None:
    stream = subscribe(run.pk, None)
    first = await anext(stream)
    assert (first.seq, first.type) == (1, "STATE_SNAPSHOT")
    assert first.data["snapshot"]["id"] == str(run.pk)
    assert first.data["snapshot"]["steps"] == []
    await database_sync_to_async(say)(run, "a")
    await database_sync_to_async(end)(run)
    assert await seen(stream) == [(2, "TEXT_MESSAGE_CONTENT"), (3, "RUN_FINISHED")]


async def test_a_finished_run_is_a_snapshot_and_its_end(run: Run) -> None:
    await database_sync_to_async(end)(run)
    assert await seen(subscribe(run.pk, None)) == [(1, "STATE_SNAPSHOT"), (2, "RUN_FINISHED")]


async def test_events_are_seen_at_once_and_without_redis_a_little_later(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = subscribe(run.pk, 1)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.2)
    await database_sync_to_async(say)(run, "a")
    async with asyncio.timeout(tails.LOOK_AGAIN_S / 2):
        assert (await waiting).data == {"delta": "a"}
    monkeypatch.setattr(events, "_wake", lambda run_id, rows: None)
    await database_sync_to_async(say)(run, "b")
    async with asyncio.timeout(tails.LOOK_AGAIN_S * 3):
        assert (await anext(stream)).data == {"delta": "b"}
    await stream.aclose()


async def test_many_viewers_of_a_run_cost_the_table_as_little_as_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    viewers = [asyncio.create_task(seen(subscribe(run.pk, 1))) for _ in range(20)]
    await asyncio.sleep(0.5)
    reads = []
    read = tails.read
    monkeypatch.setattr(tails, "read", lambda *asked: reads.append(asked) or read(*asked))
    for word in "abcde":
        await database_sync_to_async(say)(run, word)
    await database_sync_to_async(end)(run)
    for viewer in viewers:
        assert [seq for seq, _ in await viewer] == list(range(2, 8))
    assert len(reads) < 5


async def test_a_viewer_who_leaves_as_an_event_comes_is_gone(run: Run) -> None:
    for _ in range(50):
        async with asyncio.timeout(5), tails.tail_of(run.pk) as tail:
            await asyncio.sleep(0)
            tail.messages.put_nowait([])
    assert tail.task.done()


async def test_a_look_that_takes_for_ever_keeps_no_viewer_from_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin_and_hang(tail: tails.Tail) -> None:
        tail.last = await tails._begin(tail.run_id)
        await asyncio.Event().wait()

    monkeypatch.setattr(tails, "STUCK_S", 0.1)
    monkeypatch.setattr(tails.Tail, "_next", begin_and_hang)
    live = asyncio.create_task(seen(subscribe(run.pk, 1)))
    await asyncio.sleep(0.3)
    await database_sync_to_async(say)(run, "a")
    await database_sync_to_async(end)(run)
    assert await live == [(2, "TEXT_MESSAGE_CONTENT"), (3, "RUN_FINISHED")]


async def test_events_too_large_to_send_are_seen_all_the_same(run: Run) -> None:
    live = asyncio.create_task(seen(subscribe(run.pk, 1)))
    await asyncio.sleep(0.2)
    await database_sync_to_async(say)(run, "a", "b" * tails.SENT_BYTES, "c")
    await database_sync_to_async(end)(run)
    assert [seq for seq, _ in await live] == [2, 3, 4, 5]


async def test_writers_at_the_same_time_leave_no_gap_and_no_double(run: Run) -> None:
    writes = [database_sync_to_async(say, thread_sensitive=False)(run, "a", "b") for _ in range(10)]
    await asyncio.gather(*writes)
    await database_sync_to_async(end)(run)
    assert [seq for seq, _ in await seen(subscribe(run.pk, 0))] == list(range(1, 23))


def test_a_driver_that_lost_its_lease_writes_nothing(run: Run) -> None:
    first, second = leases.claim(run.pk, -1), leases.claim(run.pk)
    assert first and second
    with pytest.raises(leases.LostLease):
        publish(run.pk, [(events.TEXT_MESSAGE_CONTENT, {})], lease_token=first.lease_token)
    publish(run.pk, [(events.TEXT_MESSAGE_CONTENT, {})], lease_token=second.lease_token)
    assert list(run.events.values_list("seq", flat=True)) == [1, 2]
    assert leases.claim(run.pk) is None


async def test_sse_is_one_line_of_json_an_event_with_heartbeats_between(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    await database_sync_to_async(say)(run, "two\n\nlines")
    stream = sse_stream(run.pk, 1)
    assert (await anext(stream)).startswith(b":")
    while (told := await anext(stream)).startswith(b":"):  # a database that is slower than the heart
        pass
    assert (await anext(stream)).startswith(b":")
    lines = told.decode().splitlines()
    assert lines[:2] == ["id: 2", "event: TEXT_MESSAGE_CONTENT"]
    data = json.loads(lines[2].removeprefix("data: "))
    assert (data["run_id"], data["seq"], data["delta"]) == (str(run.pk), 2, "two\n\nlines")
    assert "at" in data
    await stream.aclose()


def watcher(user: Any, run_id: Any, query: str = "") -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(URLRouter(websocket_urlpatterns), f"/ws/runs/{run_id}{query}")
    communicator.scope["user"] = user
    return communicator


async def test_a_websocket_shows_the_same_events(alice: User, run: Run) -> None:
    socket = watcher(alice, run.pk)
    assert (await socket.connect())[0]
    assert (await socket.receive_json_from(5))["type"] == "STATE_SNAPSHOT"
    await database_sync_to_async(say)(run, "a")
    event = await socket.receive_json_from(5)
    assert (event["seq"], event["type"], event["delta"], event["run_id"]) == (
        2,
        "TEXT_MESSAGE_CONTENT",
        "a",
        str(run.pk),
    )
    await database_sync_to_async(end)(run)
    assert (await socket.receive_json_from(5))["type"] == "RUN_FINISHED"
    assert (await socket.receive_output(5))["type"] == "websocket.close"


async def test_a_websocket_goes_on_where_its_viewer_left_off(alice: User, run: Run) -> None:
    await database_sync_to_async(say)(run, "a", "b")
    socket = watcher(alice, run.pk, "?after=2")
    await socket.connect()
    assert (await socket.receive_json_from(5))["delta"] == "b"
    await socket.disconnect()


@pytest.mark.parametrize("who", ["bob", "nobody"])
async def test_a_websocket_of_another_users_run_is_closed(who: str, bob: User, run: Run) -> None:
    socket = watcher(bob if who == "bob" else AnonymousUser(), run.pk)
    await socket.connect()
    assert await socket.receive_output(5) == {"type": "websocket.close", "code": 4404}


async def test_a_websocket_of_no_run_is_closed(alice: User) -> None:
    socket = watcher(alice, uuid.uuid4())
    await socket.connect()
    assert (await socket.receive_output(5))["code"] == 4404
