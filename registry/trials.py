"""Try a tool now: a worker calls it, whoever asked waits for what it answers.

The answer goes through the cache, read once: nothing of it is kept. A call is never made twice, and never after its
caller was told that it was not made: whoever sets the mark `claimed` first decides.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import anyio
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.core.cache import cache
from rq.timeouts import JobTimeoutException

from registry.bearers import bearer_for
from registry.commands import MayNotStart, check_start
from registry.connectors import Bearer, ConnectorError, connect
from registry.credentials import CredentialsLost, credentials_for
from registry.models import Tool
from registry.trial_results import answered, failed
from registry.waiting import Errand, Message, result_of

JOB = "registry.jobs.call_tool"
CALL_S = 60.0
SESSION_S = 90.0  # starting or reaching the server, and the call
KEPT_S = 120  # an answer nobody came for
CLAIMED_S = 3600
NOBODY = "No worker is running: nothing was called. Start the workers (`make run` does) and try again."


async def call_now(*, user: User, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The answer, in the shape of registry/trial_results.py. Raises WorkerUnavailable, and then nothing was called."""
    trial = uuid.uuid4().hex

    async def look(since: datetime, message: Message | None) -> dict[str, Any] | None:
        answer = await cache.aget(_key(trial))
        if answer is not None:
            await cache.adelete(_key(trial))
        return answer

    errand = Errand(_group(trial), JOB, (trial, tool.pk, user.pk, dict(arguments)), NOBODY)
    if (answer := await result_of(errand, look)) is not None:
        return answer
    if await cache.aadd(_key(trial, "claimed"), True, CLAIMED_S):
        raise errand.unavailable()
    return failed("timeout", "The worker that called it was lost or is still at it.", sent=True)


def perform(trial: str, tool_id: int, user_id: int, arguments: dict[str, Any]) -> None:
    """In the worker: call the tool once, and leave the answer for whoever waits."""
    if not cache.add(_key(trial, "claimed"), True, CLAIMED_S):
        return
    leave_answer(trial, _answer(tool_id, user_id, arguments))


def leave_answer(trial: str, answer: Mapping[str, Any]) -> None:
    cache.set(_key(trial), answer, KEPT_S)
    async_to_sync(get_channel_layer().group_send)(_group(trial), {"type": "trial.done"})


def _answer(tool_id: int, user_id: int, arguments: dict[str, Any]) -> dict[str, Any]:
    user = User.objects.get(pk=user_id)
    tool = Tool.objects.authorised_by(user).select_related("server").filter(pk=tool_id).first()
    if tool is None:
        return failed("not_authorised", "You have not authorised this tool as it is now.", sent=False)
    try:
        check_start(user, tool.server)
        credentials, bearer = credentials_for(user, tool.server), bearer_for(user, tool.server)
        return asyncio.run(_call(tool, credentials, bearer, arguments))
    except CredentialsLost as error:
        return failed("needs_auth", str(error), sent=False)
    except MayNotStart as error:
        return failed("blocked", error.message, sent=False)
    except JobTimeoutException:
        return failed("timeout", "The server kept the worker busy beyond its time.", sent=True)


async def _call(
    tool: Tool, credentials: Mapping[str, str], bearer: Bearer | None, arguments: dict[str, Any]
) -> dict[str, Any]:
    began = time.monotonic()
    is_calling = False
    try:
        with anyio.fail_after(SESSION_S):
            async with connect(tool.server, credentials, bearer=bearer) as session:
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


def _key(trial: str, part: str = "answer") -> str:
    return f"trial:{trial}:{part}"
