"""What happened in a run, in order: rows, then a wake-up for whoever watches. One source for SSE and websocket."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from channels.db import database_sync_to_async
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from chains import tails, waking
from chains.leases import LostLease
from chains.models import Run, RunEvent
from chains.serializers import run_json
from chains.tails import Event

RUN_STARTED = "RUN_STARTED"
STATE_SNAPSHOT = "STATE_SNAPSHOT"
PLAN_READY = "PLAN_READY"
STEP_STARTED = "STEP_STARTED"
TOOL_CALL_START = "TOOL_CALL_START"
TOOL_CALL_ARGS = "TOOL_CALL_ARGS"
TOOL_CALL_PROGRESS = "TOOL_CALL_PROGRESS"
TOOL_CALL_LOG = "TOOL_CALL_LOG"  # what a command wrote to its standard error meanwhile: step, delta
TOOL_CALL_RESULT = "TOOL_CALL_RESULT"
STEP_FINISHED = "STEP_FINISHED"
APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
TEXT_MESSAGE_START = "TEXT_MESSAGE_START"
TEXT_MESSAGE_CONTENT = "TEXT_MESSAGE_CONTENT"
TEXT_MESSAGE_END = "TEXT_MESSAGE_END"
RUN_FINISHED = "RUN_FINISHED"
RUN_ERROR = "RUN_ERROR"
HEARTBEAT_S = 15


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
        rows = [
            RunEvent(run_id=run_id, seq=seq, type=type_, data=data, at=now)
            for seq, (type_, data) in enumerate(events, last - len(events) + 1)
        ]
        RunEvent.objects.bulk_create(rows)
        transaction.on_commit(partial(_wake, run_id, rows))
    return last


_ALLOCATE = "UPDATE runs SET last_seq = last_seq + %s WHERE id = %s AND (%s::bigint IS NULL OR lease_token = %s)"


def _allocate(run_id: uuid.UUID | str, count: int, lease_token: int | None) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"{_ALLOCATE} RETURNING last_seq", [count, str(run_id), lease_token, lease_token])
        row = cursor.fetchone()
    if row is None:
        raise LostLease(f"run {run_id}, token {lease_token}")
    return int(row[0])


def _wake(run_id: uuid.UUID | str, rows: Sequence[Event | RunEvent]) -> None:
    waking.wake(tails.group(run_id), tails.message(rows))


@dataclass(frozen=True, slots=True)
class Piece:
    """One event of a run, by whoever holds its lease."""

    run_id: uuid.UUID
    lease_token: int
    type: str
    data: dict[str, Any]


_PUBLISH_EACH = """
WITH told AS (
    SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[]) AS told (run_id, lease_token, type, data)
), held AS (
    SELECT runs.id FROM runs JOIN told ON runs.id = told.run_id AND runs.lease_token = told.lease_token
    ORDER BY runs.id FOR UPDATE OF runs SKIP LOCKED
), numbered AS (
    UPDATE runs SET last_seq = last_seq + 1 FROM held WHERE runs.id = held.id
    RETURNING runs.id, runs.lease_token, runs.last_seq
), written AS (
    INSERT INTO run_events (run_id, seq, type, data, at)
    SELECT id, last_seq, told.type, told.data::jsonb, %s
    FROM numbered JOIN told ON told.run_id = id AND told.lease_token = numbered.lease_token
)
SELECT id, lease_token, last_seq FROM numbered"""


def publish_each(pieces: Sequence[Piece]) -> set[tuple[uuid.UUID, int]]:
    """One event for each of many runs, in one statement; the runs that have theirs, each with its holder's token.

    A run that somebody else holds, or that is locked in this moment, has not: nobody waits for another's run.
    """
    ids, tokens = [piece.run_id for piece in pieces], [piece.lease_token for piece in pieces]
    types, data = [piece.type for piece in pieces], [json.dumps(piece.data, ensure_ascii=False) for piece in pieces]
    columns: list[list[Any]] = [[*ids], [*tokens], [*types], [*data]]
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(_PUBLISH_EACH, [*columns, now])
        numbers = {(run_id, token): seq for run_id, token, seq in cursor.fetchall()}
    for piece in pieces:
        if (seq := numbers.get((piece.run_id, piece.lease_token))) is not None:
            _wake(piece.run_id, [Event(piece.run_id, seq, piece.type, piece.data, now)])
    return set(numbers)


def snapshot(run: Run) -> dict[str, Any]:
    """The JSON of GET /chain/runs/{id}."""
    return run_json(run)


def _snapshot_event(run_id: uuid.UUID | str) -> Event:
    """The whole run and the number of the last event it includes; of a finished run the last event is to follow."""
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)  # every event locks this row: none comes in between
        ended = run.last_seq > 0 and run.is_finished
        return Event(run.pk, run.last_seq - ended, STATE_SNAPSHOT, {"snapshot": snapshot(run)}, timezone.now())


def _is_compacted(run_id: uuid.UUID | str, after: int) -> bool:
    with suppress(OperationalError, InterfaceError):  # a database that restarts: the tail waits for it
        return Run.objects.filter(pk=run_id, compacted_seq__gt=after).exists()
    return False


async def batches(run_id: uuid.UUID | str, after: int | None) -> AsyncGenerator[list[Event]]:
    """Every event after `after`, in order, none twice, until the run is over; without `after` a STATE_SNAPSHOT first.

    Those that are there at the same time come together. A run that is tried again after its end goes on in the same
    stream; where events after `after` were compacted, a snapshot stands for them. Raises Run.DoesNotExist.
    """
    async with tails.tail_of(uuid.UUID(str(run_id))) as tail:
        if after is None or await database_sync_to_async(_is_compacted)(run_id, after):
            state = await database_sync_to_async(_snapshot_event)(run_id)
            yield [state]
            after = state.seq
        while True:
            changed = tail.changed
            found = await tail.after(after)
            if found.events:
                yield found.events
                after = found.events[-1].seq
            if found.over:
                return
            if len(found.events) < tails.BATCH:
                with suppress(TimeoutError):
                    async with asyncio.timeout(tails.LOOK_AGAIN_S):
                        await changed.wait()


async def subscribe(run_id: uuid.UUID | str, after: int | None) -> AsyncGenerator[Event]:
    """The events of `batches`, one by one."""
    found = batches(run_id, after)
    try:
        async for events in found:
            for event in events:
                yield event
    finally:
        await found.aclose()


async def sse_stream(run_id: uuid.UUID | str, after: int | None) -> AsyncIterator[bytes]:
    """`batches` as the body of a text/event-stream response, with a comment every HEARTBEAT_S seconds."""
    yield b": connected\n\n"
    found = batches(run_id, after)
    upcoming = asyncio.ensure_future(anext(found, None))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=HEARTBEAT_S)
            if not done:
                yield b": still here\n\n"
                continue
            events = upcoming.result()
            if events is None:
                return
            yield b"".join(event.sse for event in events)
            upcoming = asyncio.ensure_future(anext(found, None))
    finally:
        upcoming.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await upcoming
        await found.aclose()


def parse_after(last_event_id: str | None, after: str | None) -> int | None:
    """Where a client left off: its Last-Event-ID header, else `?after=`; None starts with a snapshot."""
    for given in (last_event_id, after):
        if given and given.isascii() and given.isdigit():
            return int(given[:9])
    return None
