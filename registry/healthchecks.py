"""Test a connection now: a worker does it, whoever asked waits for the result without holding a thread."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import django_rq
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.exceptions import APIException, PermissionDenied
from rq import Queue, Worker
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus

from registry.commands import MayNotStart, check_start
from registry.models import HealthCheck, HealthCheckQuerySet, Server
from registry.probers import is_private
from registry.services.probing import ASKED, PROBE_JOB, QUEUE

WAIT_S = 100.0
JOB_TIMEOUT_S = 98  # the worker's hard limit: whoever waits still hears of it
GRACE_S = 5
LOOK_S = 2.0  # a lost message is found in the table this much later
PICKUP_S = 10.0  # a job that idle workers leave lying this long has nobody to run it


class WorkerUnavailable(APIException):
    status_code = 503
    default_code = "worker_unavailable"
    default_detail = (
        "No worker is running the test: nothing was found out. Start the workers (`make run` does) and try again."
    )


async def check_now(server: Server, user: User) -> HealthCheck:
    """Probe with the user's own credentials; clicks that come while a test is under way share its result.

    Raises WorkerUnavailable when no worker answers within WAIT_S, at once when there is none, and PermissionDenied
    for a command this user may not start.
    """
    try:
        check_start(user, server)
    except MayNotStart as refused:
        raise PermissionDenied(refused.message) from refused
    layer = get_channel_layer()
    group = f"probe.{server.pk}.{user.pk}"
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    try:
        since = await sync_to_async(_enqueue)(server, user, group)
        return await _wait(layer, channel, group, await sync_to_async(_answers)(server, user, since))
    finally:
        await layer.group_discard(group, channel)


def _enqueue(server: Server, user: User, group: str) -> datetime:
    """Since when a result counts: from now on, or since a test that is under way was asked for."""
    now = timezone.now()
    queue = django_rq.get_queue(QUEUE)
    if not Worker.all_keys(queue=queue, connection=queue.connection):
        raise WorkerUnavailable
    _forget_dead(group, queue)
    try:
        queue.enqueue_call(
            PROBE_JOB,
            args=(str(server.pk), user.pk, group),
            job_id=_job_id(group),
            unique=True,
            timeout=JOB_TIMEOUT_S,
            result_ttl=0,
            failure_ttl=1,
            ttl=int(WAIT_S),
            at_front=True,  # batches of scheduled tests make way
        )
    except DuplicateJobError:
        return _asked_at(group, queue) or now - timedelta(seconds=GRACE_S)  # the one that has ended this moment
    return now


def _asked_at(group: str, queue: Queue) -> datetime | None:
    try:
        return Job.fetch(_job_id(group), connection=queue.connection).enqueued_at
    except NoSuchJobError:
        return None


def _forget_dead(group: str, queue: Queue) -> None:
    """A test whose worker was killed would stand in the way of the next for as long as RQ remembers it."""
    try:
        job = Job.fetch(_job_id(group), connection=queue.connection)
    except NoSuchJobError:
        return
    if job.started_at and timezone.now() - job.started_at > timedelta(seconds=JOB_TIMEOUT_S + GRACE_S):
        job.delete()


def _job_id(group: str) -> str:
    return ASKED + group.removeprefix("probe.").replace(".", "-")


def _answers(server: Server, user: User, since: datetime) -> HealthCheckQuerySet:
    """The checks that answer this user: their own where their credentials are, else what everybody sees."""
    tested_as = user if is_private(server, user) else None
    return HealthCheck.objects.filter(server=server, user=tested_as, checked_at__gte=since).order_by("-checked_at")


async def _wait(layer: Any, channel: str, group: str, answers: HealthCheckQuerySet) -> HealthCheck:
    loop = asyncio.get_running_loop()
    began = loop.time()
    is_over = False
    while not is_over:
        told = await _told(layer, channel, LOOK_S)
        waited_s = loop.time() - began
        is_over = waited_s > WAIT_S or (waited_s > PICKUP_S and await sync_to_async(_is_stranded)(group))
        if check := await (HealthCheck.objects.filter(pk=told) if told else answers).afirst():
            return check
    raise WorkerUnavailable


async def _told(layer: Any, channel: str, timeout_s: float) -> int | None:
    """The id of the health check a worker tells of; None when nothing came in time."""
    try:
        message = await asyncio.wait_for(layer.receive(channel), timeout_s)
    except TimeoutError:
        return None
    return message["check_id"]


def _is_stranded(group: str) -> bool:
    """The job still waits although no worker of the queue is busy, or it is gone without a result."""
    queue = django_rq.get_queue(QUEUE)
    try:
        status = Job.fetch(_job_id(group), connection=queue.connection).get_status()
    except NoSuchJobError:
        return True
    if status != JobStatus.QUEUED:
        return False
    workers = Worker.all(queue=queue, connection=queue.connection)
    return not any(worker.get_current_job_id() for worker in workers)
