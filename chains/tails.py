"""The newest events of a run, read once in this process for all who watch it.

Whoever publishes sends the events along with the wake-up. A tail takes them as they come where they follow on what it
has, and looks into the table where they do not: after a lost message, one too large to send, or a quiet while.
"""

import asyncio
import json
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from prometheus_client import Histogram
from redis.exceptions import RedisError

from chains.models import Run, RunEvent

logger = logging.getLogger(__name__)
LOOK_AGAIN_S = 1.5  # a wake-up can get lost; the table cannot
STUCK_S = 15.0  # without a look: then viewers look for themselves
CLOSE_S = 2.0
BATCH = 500
KEPT = 1_000  # events that viewers who lag behind find here
SENT_BYTES = 64_000  # larger events are fetched from the table
TERMINAL = ("RUN_FINISHED", "RUN_ERROR")
delivery = Histogram(
    "mcpr_event_delivery_seconds",
    "From an event's time to its arrival in a web process that watches the run: with the message, or by a look.",
    ["way"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 30),
)


@dataclass(frozen=True)
class Event:
    run_id: uuid.UUID
    seq: int
    type: str
    data: dict[str, Any]
    at: datetime

    def as_json(self) -> dict[str, Any]:
        return {**self.data, "run_id": self.run_id, "seq": self.seq, "type": self.type, "at": self.at}

    @cached_property
    def text(self) -> str:
        """Its JSON, made once for all viewers."""
        return json.dumps(self.as_json(), cls=DjangoJSONEncoder, ensure_ascii=False)

    @cached_property
    def sse(self) -> bytes:
        # One line: JSON escapes line breaks, so no server's text can end the event early.
        return f"id: {self.seq}\nevent: {self.type}\ndata: {self.text}\n\n".encode()


@dataclass(frozen=True, slots=True)
class Read:
    """What the table held: the next events, at most BATCH, and whether the run is over and these are all."""

    events: list[Event]
    over: bool


def events_after(run_id: uuid.UUID, after: int) -> Read:
    run = Run.objects.only("status", "last_seq").get(pk=run_id)  # read first: what comes later is seen next time
    rows = RunEvent.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")[:BATCH]
    events = [Event(row.run_id, row.seq, row.type, row.data, row.at) for row in rows]
    last = events[-1].seq if events else after
    return Read(events, run.is_finished and last >= run.last_seq)


async def read(run_id: uuid.UUID, after: int) -> Read:
    """A database that restarts is looked at again later: the stream outlives it."""
    try:
        return await database_sync_to_async(events_after, thread_sensitive=False)(run_id, after)
    except (OperationalError, InterfaceError):
        logger.warning("The database does not answer; the stream of run %s waits.", run_id)
        return Read([], False)


def group(run_id: uuid.UUID | str) -> str:
    return f"run.{run_id}"


def message(events: Sequence[Event | RunEvent]) -> dict[str, Any]:
    """What is sent to a run's group: the events, where they are not too large."""
    told = json.dumps([[event.seq, event.type, event.data, event.at.isoformat()] for event in events])
    return {"type": "run.event", "events": told if len(told) <= SENT_BYTES else "[]"}


class Tail:
    """`last` is the number of the newest event known here, None until the table was read."""

    def __init__(self, run_id: uuid.UUID) -> None:
        self.run_id = run_id
        self.viewers = 0
        self.last: int | None = None
        self.over = False
        self.kept: deque[Event] = deque(maxlen=KEPT)
        self.looked_at = time.monotonic()
        self.changed = asyncio.Event()
        self.messages: asyncio.Queue[list[Event]] = asyncio.Queue()
        # In a context of its own: it outlives the request of the viewer who came first.
        self.task = asyncio.create_task(self._follow(), name=f"tail {run_id}", context=Context())

    async def after(self, seq: int) -> Read:
        """What follows on `seq`: from here where that reaches back far enough, else from the table."""
        is_stuck = time.monotonic() - self.looked_at > STUCK_S
        if self.task.done() or self.last is None or is_stuck:
            return await read(self.run_id, seq)
        first = self.kept[0].seq if self.kept else self.last + 1
        if not first <= seq + 1 <= self.last + 1:
            return await read(self.run_id, seq)
        return Read([event for event in self.kept if event.seq > seq], self.over)

    async def close(self) -> None:
        """Its viewers are gone: nobody waits for a look that takes for ever."""
        self.task.cancel()
        with suppress(asyncio.CancelledError, Run.DoesNotExist, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.task

    async def _follow(self) -> None:
        """For as long as somebody watches. Ends when the run is deleted: its viewers find that out for themselves."""
        listener = asyncio.create_task(self._listen())
        try:
            while True:
                await self._next()
                self.looked_at = time.monotonic()
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    async def _next(self) -> None:
        if self.last is None:
            self.last = await _begin(self.run_id)
        sent: list[Event] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):  # wait_for may swallow a cancellation that comes with a message
                sent = await self.messages.get()
        if self.last is None or (sent and sent[-1].seq <= self.last):
            return
        follows_on = bool(sent) and sent[0].seq == self.last + 1
        ends = any(event.type in TERMINAL for event in sent)  # only the table says whether the run is really over
        whole = follows_on and not ends
        found = Read(sent, False) if whole else await read(self.run_id, self.last)
        if found.events:
            took = timezone.now() - found.events[0].at
            delivery.labels("message" if whole else "table").observe(took.total_seconds())
        self._take(found)

    def _take(self, found: Read) -> None:
        if not found.events and found.over == self.over:
            return
        self.kept.extend(found.events)
        self.last = found.events[-1].seq if found.events else self.last
        self.over = found.over
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._receive()
            except (RedisError, OSError):
                logger.warning("Redis does not answer; run %s is looked at every %s s.", self.run_id, LOOK_AGAIN_S)
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _receive(self) -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(group(self.run_id), channel)
        try:
            self.messages.put_nowait([])  # what was published before we listened
            while True:
                self.messages.put_nowait(_sent(self.run_id, await layer.receive(channel)))
        finally:
            await layer.group_discard(group(self.run_id), channel)


async def _begin(run_id: uuid.UUID) -> int | None:
    """Where the run stands; what was before, each viewer reads for itself."""
    try:
        return await database_sync_to_async(_last_seq, thread_sensitive=False)(run_id)
    except (OperationalError, InterfaceError):
        return None


def _last_seq(run_id: uuid.UUID) -> int:
    return Run.objects.only("last_seq").get(pk=run_id).last_seq


def _sent(run_id: uuid.UUID, received: dict[str, Any]) -> list[Event]:
    told = json.loads(received["events"])
    return [Event(run_id, seq, type_, data, datetime.fromisoformat(at)) for seq, type_, data, at in told]


_tails: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[uuid.UUID, Tail]]" = WeakKeyDictionary()


@asynccontextmanager
async def tail_of(run_id: uuid.UUID) -> AsyncIterator[Tail]:
    """This process's tail of the run, followed for as long as somebody is in here."""
    tails = _tails.setdefault(asyncio.get_running_loop(), {})
    if (tail := tails.get(run_id)) is None:
        tail = tails[run_id] = Tail(run_id)
    tail.viewers += 1
    try:
        yield tail
    finally:
        tail.viewers -= 1
        if not tail.viewers:
            del tails[run_id]
            await tail.close()
