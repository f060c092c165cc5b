"""When a server is tested again without being asked, and who does it."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from registry.connectors import CONNECTORS
from registry.models import Connection, Health, Server

ALIVE = (Health.OK, Health.NEEDS_AUTH)  # it answered; what to sign in with is the user's affair
IN_USE_EVERY = timedelta(minutes=30)
UNUSED_EVERY = timedelta(hours=12)  # nobody here owns or connected it
AT_MOST = timedelta(days=1)
JITTER = 0.2
MAX_DOUBLINGS = 10


def claim_due(limit: int) -> list[Server]:
    """At most `limit` servers to test now, those that wait longest first. Nobody else gets them.

    A claim counts as a failure until a result is written, so that a server that takes its worker down with it is tried
    less and less often, and what a lost job left undone is due again.
    """
    with transaction.atomic():
        due = Server.objects.due(CONNECTORS).order_by("next_probe_at")
        claimed = list(
            due.only("pk", "transport", "owner_id", "probe_failures").select_for_update(skip_locked=True)[:limit]
        )
        in_use = _in_use(claimed)
        for server in claimed:
            server.probe_failures += 1
            server.next_probe_at = next_probe_at(server, is_used=server.pk in in_use)
        Server.objects.bulk_update(claimed, ["probe_failures", "next_probe_at"])
    return claimed


def give_back(server_ids: Sequence[Any]) -> None:
    """Claims that were not used: due again at once."""
    with transaction.atomic():
        servers = list(Server.objects.filter(pk__in=server_ids).only("pk", "probe_failures").select_for_update())
        for server in servers:
            server.probe_failures = max(0, server.probe_failures - 1)
            server.next_probe_at = timezone.now()
        Server.objects.bulk_update(servers, ["probe_failures", "next_probe_at"])


def reschedule(server: Server, health: str) -> None:
    """Set on `server`, unsaved, what follows from a test that found `health`. Failures that were claimed are counted
    already; one that somebody asked for counts as the first."""
    server.probe_failures = 0 if health in ALIVE else max(1, server.probe_failures)
    server.next_probe_at = next_probe_at(server, is_used=bool(_in_use([server])))


def probe_soon(server: Server) -> None:
    """Somebody uses it from now on."""
    soon = timezone.now() + jittered(IN_USE_EVERY)
    Server.objects.filter(pk=server.pk, probe_failures=0, next_probe_at__gt=soon).update(next_probe_at=soon)


def next_probe_at(server: Server, *, is_used: bool) -> datetime:
    """By use; each failure in a row doubles the time, up to a day."""
    usual = IN_USE_EVERY if is_used else UNUSED_EVERY
    return timezone.now() + jittered(min(AT_MOST, usual * 2 ** min(server.probe_failures, MAX_DOUBLINGS)))


def jittered(interval: timedelta) -> timedelta:
    return interval * random.uniform(1 - JITTER, 1 + JITTER)


def _in_use(servers: Sequence[Server]) -> set[Any]:
    owned = {server.pk for server in servers if server.owner_id is not None}
    others = [server.pk for server in servers if server.pk not in owned]
    connected = Connection.objects.granting().filter(server__in=others).values_list("server_id", flat=True)
    return owned | (set(connected) if others else set())
