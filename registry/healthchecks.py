"""Test a connection now: a worker does it, whoever asked waits for what it found."""

from datetime import datetime

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from rest_framework.exceptions import PermissionDenied

from registry.commands import MayNotStart, check_confirmed, check_start
from registry.models import HealthCheck, Server
from registry.probers import is_private
from registry.services.probing import PROBE_JOB
from registry.waiting import Errand, Message, WorkerUnavailable, result_of

NOBODY = "No worker is running the test: nothing was found out. Start the workers (`make run` does) and try again."

__all__ = ["WorkerUnavailable", "check_now"]


async def check_now(server: Server, user: User) -> HealthCheck:
    """Probe with the user's own credentials; clicks that come while a test is under way share its result.

    Raises WorkerUnavailable when no worker answers in time, at once when there is none, and PermissionDenied for a
    command this user may not start.
    """
    try:
        await sync_to_async(check_start)(user, server)
        check_confirmed(server)
    except MayNotStart as refused:
        raise PermissionDenied(refused.message) from refused
    # A check answers this user where it was made with their own credentials, or where it is everybody's.
    tested_as = user if await sync_to_async(is_private)(server, user) else None
    answers = HealthCheck.objects.filter(server=server, user=tested_as).order_by("-checked_at")

    async def look(since: datetime, message: Message | None) -> HealthCheck | None:
        told = message["check_id"] if message else None
        return await (HealthCheck.objects.filter(pk=told) if told else answers.filter(checked_at__gte=since)).afirst()

    group = f"probe.{server.pk}.{user.pk}"
    errand = Errand(group, PROBE_JOB, (str(server.pk), user.pk, group), NOBODY)
    check = await result_of(errand, look)
    if check is None:
        raise errand.unavailable()
    return check
