"""A job that somebody waits for: a worker does it at once, and no thread is held meanwhile.

It goes to the front of the queue of tests, where batches make way for it. Who waits is told by a message when it is
done, and looks for the result now and then all the same: a lost message costs LOOK_S.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.utils import timezone
from rest_framework.exceptions import APIException
from rq import Queue, Worker
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus

from registry import queues
from registry.services.probing import ASKED, QUEUE

WAIT_S = 100.0
JOB_TIMEOUT_S = 98  # the worker's hard limit: whoever waits still hears of it
GRACE_S = 5
LOOK_S = 2.0
PICKUP_S = 10.0  # a job that idle workers leave lying this long has nobody to run it

Result = TypeVar("Result")
Message = dict[str, Any]


class WorkerUnavailable(APIException):
    status_code = 503
    default_code = "worker_unavailable"
    default_detail = "No worker is running. Start the workers (`make run` does) and try again."


@dataclass(frozen=True, slots=True)
class Errand:
    """`job` is the dotted path of a function, which tells the channel group `group` when it is done. Who asks for the
    same group shares the job that is under way. `nobody` is what is said where no worker runs."""

    group: str
    job: str
    args: tuple[Any, ...]
    nobody: str

    @property
    def job_id(self) -> str:
        return ASKED + self.group.removeprefix("probe.").replace(".", "-")

    def unavailable(self) -> WorkerUnavailable:
        return WorkerUnavailable(self.nobody)


async def result_of(
    errand: Errand, look: Callable[[datetime, Message | None], Awaitable[Result | None]]
) -> Result | None:
    """What `look` finds: it is asked with the time since when a result counts, and the message that came, if any. None
    when the job is lost, or over its time. Raises WorkerUnavailable where nobody is there to do it."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(errand.group, channel)
    try:
        since = await sync_to_async(_enqueue)(errand)
        return await _wait(errand, lambda message: look(since, message), layer, channel)
    finally:
        await layer.group_discard(errand.group, channel)


async def _wait(
    errand: Errand, look: Callable[[Message | None], Awaitable[Result | None]], layer: Any, channel: str
) -> Result | None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    is_over = False
    while not is_over:
        message = await _told(layer, channel)
        waited_s = loop.time() - began
        is_over = waited_s > WAIT_S or (waited_s > PICKUP_S and await sync_to_async(_is_stranded)(errand))
        if (found := await look(message)) is not None:
            return found
    return None


async def _told(layer: Any, channel: str) -> Message | None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):  # wait_for may swallow a cancellation that comes with a message
            return await layer.receive(channel)
    return None


def _enqueue(errand: Errand) -> datetime:
    """Since when a result counts: from now on, or since the job that is under way was asked for."""
    now = timezone.now()
    queue = queues.queue(QUEUE)
    if not Worker.all_keys(queue=queue, connection=queue.connection):
        raise errand.unavailable()
    _forget_dead(errand, queue)
    try:
        queue.enqueue_call(
            errand.job,
            args=errand.args,
            job_id=errand.job_id,
            unique=True,
            timeout=JOB_TIMEOUT_S,
            result_ttl=0,
            failure_ttl=1,
            ttl=int(WAIT_S),
            at_front=True,
        )
    except DuplicateJobError:
        job = _job(errand, queue)
        return (job and job.enqueued_at) or now - timedelta(seconds=GRACE_S)  # the one that has ended this moment
    return now


def _job(errand: Errand, queue: Queue) -> Job | None:
    try:
        return Job.fetch(errand.job_id, connection=queue.connection)
    except NoSuchJobError:
        return None


def _forget_dead(errand: Errand, queue: Queue) -> None:
    """A job whose worker was killed would stand in the way of the next for as long as RQ remembers it."""
    job = _job(errand, queue)
    if job and job.started_at and timezone.now() - job.started_at > timedelta(seconds=JOB_TIMEOUT_S + GRACE_S):
        job.delete()


def _is_stranded(errand: Errand) -> bool:
    """The job still waits although no worker of the queue is busy, or it is gone without a result."""
    queue = queues.queue(QUEUE)
    job = _job(errand, queue)
    if job is None:
        return True
    if job.get_status() != JobStatus.QUEUED:
        return False
    workers = Worker.all(queue=queue, connection=queue.connection)
    return not any(worker.get_current_job_id() for worker in workers)
