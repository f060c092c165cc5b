"""What happened in a run, in order: rows, then a wake-up for whoever watches. One source for SSE and websocket."""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from chains.leases import LostLease
from chains.models import Run, RunEvent
from chains.serializers import run_json

logger = logging.getLogger(__name__)

RUN_STARTED = "RUN_STARTED"
STATE_SNAPSHOT = "STATE_SNAPSHOT"
PLAN_READY = "PLAN_READY"
STEP_STARTED = "STEP_STARTED"
TOOL_CALL_START = "TOOL_CALL_START"
TOOL_CALL_ARGS = "TOOL_CALL_ARGS"
TOOL_CALL_PROGRESS = "TOOL_CALL_PROGRESS"
TOOL_CALL_RESULT = "TOOL_CALL_RESULT"
STEP_FINISHED = "STEP_FINISHED"
APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
TEXT_MESSAGE_START = "TEXT_MESSAGE_START"
TEXT_MESSAGE_CONTENT = "TEXT_MESSAGE_CONTENT"
TEXT_MESSAGE_END = "TEXT_MESSAGE_END"
RUN_FINISHED = "RUN_FINISHED"
RUN_ERROR = "RUN_ERROR"
TERMINAL = (RUN_FINISHED, RUN_ERROR)

LOOK_AGAIN_S = 1.5  # a wake-up can get lost; the table cannot
HEARTBEAT_S = 15
BATCH = 500


@dataclass(frozen=True, slots=True)
class Event:
    run_id: uuid.UUID
    seq: int
    type: str
    data: dict[str, Any]
    at: datetime

    def as_json(self) -> dict[str, Any]:
        return {**self.data, "run_id": self.run_id, "seq": self.seq, "type": self.type, "at": self.at}


def publish(
    run_id: uuid.UUID | str, events: Sequence[tuple[str, dict[str, Any]]], *, lease_token: int | None = None
) -> int:
    """Append events (type, data) to a run in the caller's transaction; viewers wake when it commits.

    With a lease_token only its holder may write: LostLease is raised, and rolls back, for anybody else.
    Returns the sequence number of the last event.
    """
    with transaction.atomic(savepoint=False):
        last = _allocate(run_id, len(events), lease_token)
        now = timezone.now()
        RunEvent.objects.bulk_create(
            RunEvent(run_id=run_id, seq=seq, type=type_, data=data, at=now)
            for seq, (type_, data) in enumerate(events, last - len(events) + 1)
        )
        transaction.on_commit(partial(_wake, run_id))
    return last


_ALLOCATE = "UPDATE runs SET last_seq = last_seq + %s WHERE id = %s AND (%s::bigint IS NULL OR lease_token = %s)"


def _allocate(run_id: uuid.UUID | str, count: int, lease_token: int | None) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"{_ALLOCATE} RETURNING last_seq", [count, str(run_id), lease_token, lease_token])
        row = cursor.fetchone()
    if row is None:
        raise LostLease(f"run {run_id}, token {lease_token}")
    return int(row[0])


def _group(run_id: uuid.UUID | str) -> str:
    return f"run.{run_id}"


def _wake(run_id: uuid.UUID | str) -> None:
    try:
        async_to_sync(get_channel_layer().group_send)(_group(run_id), {"type": "run.event"})
    except (RedisError, OSError):
        logger.warning("Viewers of run %s could not be woken: Redis does not answer. They look by themselves.", run_id)


def snapshot(run: Run) -> dict[str, Any]:
    """The JSON of GET /chain/runs/{id}."""
    return run_json(run)


def _snapshot_event(run_id: uuid.UUID | str) -> Event:
    """The whole run and the number of the last event it includes; of a finished run the last event is to follow."""
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)  # every event locks this row: none comes in between
        ended = run.last_seq > 0 and run.is_finished
        return Event(run.pk, run.last_seq - ended, STATE_SNAPSHOT, {"snapshot": snapshot(run)}, timezone.now())


def _events_after(run_id: uuid.UUID | str, after: int) -> tuple[list[Event], bool]:
    """The next events, at most BATCH, and whether the run is over and these are all."""
    run = Run.objects.only("status", "last_seq").get(pk=run_id)  # read first: what comes later is seen next time
    rows = RunEvent.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")[:BATCH]
    events = [Event(row.run_id, row.seq, row.type, row.data, row.at) for row in rows]
    last = events[-1].seq if events else after
    return events, run.is_finished and last >= run.last_seq


async def subscribe(run_id: uuid.UUID | str, after: int | None) -> AsyncGenerator[Event]:
    """Every event after `after`, in order, none twice, until the run is over; without `after` a STATE_SNAPSHOT first.

    A run that is tried again after its end goes on in the same stream. Raises Run.DoesNotExist.
    """
    async with _wake_ups(run_id) as woken:
        if after is None:
            state = await database_sync_to_async(_snapshot_event)(run_id)
            yield state
            after = state.seq
        while True:
            woken.clear()
            events, over = await _read(run_id, after)
            for event in events:
                yield event
                after = event.seq
            if over:
                return
            if len(events) < BATCH:
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), LOOK_AGAIN_S)


async def _read(run_id: uuid.UUID | str, after: int) -> tuple[list[Event], bool]:
    """A database that restarts is looked at again later: the stream outlives it."""
    try:
        return await database_sync_to_async(_events_after)(run_id, after)
    except (OperationalError, InterfaceError):
        logger.warning("The database does not answer; the stream of run %s waits.", run_id)
        return [], False


@asynccontextmanager
async def _wake_ups(run_id: uuid.UUID | str) -> AsyncIterator[asyncio.Event]:
    woken = asyncio.Event()
    listener = asyncio.create_task(_listen(run_id, woken))
    try:
        yield woken
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener


async def _listen(run_id: uuid.UUID | str, woken: asyncio.Event) -> None:
    layer = get_channel_layer()
    try:
        channel = await layer.new_channel()
        await layer.group_add(_group(run_id), channel)
        try:
            woken.set()  # what was published before we listened
            while True:
                await layer.receive(channel)
                woken.set()
        finally:
            await layer.group_discard(_group(run_id), channel)
    except (RedisError, OSError):
        logger.warning("Redis does not answer; the stream of run %s looks every %s s.", run_id, LOOK_AGAIN_S)


def as_text(event: Event) -> str:
    """The JSON text of an event, for a websocket."""
    return json.dumps(event.as_json(), cls=DjangoJSONEncoder, ensure_ascii=False)


def as_sse(event: Event) -> bytes:
    # One line: JSON escapes line breaks, so no server's text can end the event early.
    return f"id: {event.seq}\nevent: {event.type}\ndata: {as_text(event)}\n\n".encode()


async def sse_stream(run_id: uuid.UUID | str, after: int | None) -> AsyncIterator[bytes]:
    """`subscribe` as the body of a text/event-stream response, with a comment every HEARTBEAT_S seconds."""
    yield b": connected\n\n"
    events = subscribe(run_id, after)
    upcoming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=HEARTBEAT_S)
            if not done:
                yield b": still here\n\n"
                continue
            event = upcoming.result()
            if event is None:
                return
            yield as_sse(event)
            upcoming = asyncio.ensure_future(anext(events, None))
    finally:
        upcoming.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await upcoming
        await events.aclose()


def parse_after(last_event_id: str | None, after: str | None) -> int | None:
    """Where a client left off: its Last-Event-ID header, else `?after=`; None starts with a snapshot."""
    for given in (last_event_id, after):
        if given and given.isascii() and given.isdigit():
            return int(given[:9])
    return None
