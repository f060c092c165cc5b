"""Try a tool now: a worker calls it, whoever asked waits for what it answers without holding a thread.

The answer goes through the cache, read once: nothing of it is kept. A call is never made twice, and never after its
caller was told that it was not made: whoever sets the mark `claimed` first decides.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any

import anyio
import django_rq
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.core.cache import cache
from rest_framework.exceptions import APIException
from rq import Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException

from registry.commands import MayNotStart, check_start
from registry.connectors import ConnectorError, connect
from registry.credentials import CredentialsLost, credentials_for
from registry.models import Tool
from registry.services.probing import ASKED, QUEUE
from registry.trial_results import answered, failed

JOB = "registry.jobs.call_tool"
CALL_S = 60.0
SESSION_S = 90.0  # starting or reaching the server, and the call
JOB_TIMEOUT_S = 98  # the worker's hard limit: whoever waits still hears of it
WAIT_S = 100.0
LOOK_S = 2.0  # a lost message is found in the cache this much later
PICKUP_S = 10.0  # a job that idle workers leave lying this long has nobody to run it
KEPT_S = 120  # an answer nobody came for
CLAIMED_S = 3600


class NobodyToCall(APIException):
    status_code = 503
    default_code = "worker_unavailable"
    default_detail = "No worker is running: nothing was called. Start the workers (`make run` does) and try again."


async def call_now(*, user: User, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The answer, in the shape of registry/trial_results.py. Raises NobodyToCall, and then nothing was called."""
    layer = get_channel_layer()
    trial = uuid.uuid4().hex
    channel = await layer.new_channel()
    await layer.group_add(_group(trial), channel)
    try:
        await sync_to_async(_enqueue)(trial, tool, user, arguments)
        return await _wait(layer, channel, trial)
    finally:
        await layer.group_discard(_group(trial), channel)


def _enqueue(trial: str, tool: Tool, user: User, arguments: Mapping[str, Any]) -> None:
    queue = django_rq.get_queue(QUEUE)
    if not Worker.all_keys(queue=queue, connection=queue.connection):
        raise NobodyToCall
    queue.enqueue_call(
        JOB,
        args=(trial, tool.pk, user.pk, dict(arguments)),
        job_id=_job_id(trial),
        timeout=JOB_TIMEOUT_S,
        result_ttl=0,
        failure_ttl=1,
        ttl=int(WAIT_S),
        at_front=True,
    )


async def _wait(layer: Any, channel: str, trial: str) -> dict[str, Any]:
    began = time.monotonic()
    is_over = False
    while not is_over:
        await _told(layer, channel)
        waited_s = time.monotonic() - began
        is_over = waited_s > WAIT_S or (waited_s > PICKUP_S and await sync_to_async(_is_stranded)(trial))
        if answer := await cache.aget(_key(trial)):
            await cache.adelete(_key(trial))
            return answer
    if await cache.aadd(_key(trial, "claimed"), True, CLAIMED_S):
        raise NobodyToCall
    return failed("timeout", "The worker that called it was lost or is still at it.", sent=True)


async def _told(layer: Any, channel: str) -> None:
    try:
        await asyncio.wait_for(layer.receive(channel), LOOK_S)
    except TimeoutError:
        return


def _is_stranded(trial: str) -> bool:
    """The job still waits although no worker of the queue is busy, or it is gone."""
    queue = django_rq.get_queue(QUEUE)
    try:
        status = Job.fetch(_job_id(trial), connection=queue.connection).get_status()
    except NoSuchJobError:
        return True
    workers = Worker.all(queue=queue, connection=queue.connection)
    return status == JobStatus.QUEUED and not any(worker.get_current_job_id() for worker in workers)


def perform(trial: str, tool_id: int, user_id: int, arguments: dict[str, Any]) -> None:
    """In the worker: call the tool once, and leave the answer for whoever waits."""
    if not cache.add(_key(trial, "claimed"), True, CLAIMED_S):
        return
    answer = _answer(tool_id, user_id, arguments)
    cache.set(_key(trial), answer, KEPT_S)
    async_to_sync(get_channel_layer().group_send)(_group(trial), {"type": "trial.done"})


def _answer(tool_id: int, user_id: int, arguments: dict[str, Any]) -> dict[str, Any]:
    user = User.objects.get(pk=user_id)
    tool = Tool.objects.authorised_by(user).select_related("server").filter(pk=tool_id).first()
    if tool is None:
        return failed("not_authorised", "You have not authorised this tool as it is now.", sent=False)
    try:
        check_start(user, tool.server)
        credentials = credentials_for(user, tool.server)
        return asyncio.run(_call(tool, credentials, arguments))
    except CredentialsLost as error:
        return failed("needs_auth", str(error), sent=False)
    except MayNotStart as error:
        return failed("blocked", error.message, sent=False)
    except JobTimeoutException:
        return failed("timeout", "The server kept the worker busy beyond its time.", sent=True)


async def _call(tool: Tool, credentials: Mapping[str, str], arguments: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    is_calling = False
    try:
        with anyio.fail_after(SESSION_S):
            async with connect(tool.server, credentials) as session:
                is_calling = True
                began = time.monotonic()
                called = await session.call(tool.name, arguments, timeout_s=CALL_S, accepted=tool.schema_hash)
                duration_ms = round((time.monotonic() - began) * 1000)
    except ConnectorError as error:
        return failed(error.code, error.message, sent=error.sent, duration_ms=round((time.monotonic() - began) * 1000))
    except TimeoutError:
        return failed("timeout", f"It did not end within {SESSION_S:.0f} s.", sent=is_calling)
    return answered(called, duration_ms)


def _group(trial: str) -> str:
    return f"trial.{trial}"


def _job_id(trial: str) -> str:
    return f"{ASKED}trial-{trial}"


def _key(trial: str, part: str = "answer") -> str:
    return f"trial:{trial}:{part}"
