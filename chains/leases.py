"""Who drives a run: one holder at a time, by a lease with a fencing token.

A holder that was slow or cut off finds its token outdated at its next write (`events.publish`, `renew`) and stops;
whoever claimed the run after it has a higher one.
"""

import uuid
from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Count
from django.db.models.functions import Now

from chains.models import Run

LEASE_SECONDS = 30
AS_MANY_AS_THERE_ARE = 1_000_000


class LostLease(Exception):
    """Somebody else drives this run now, or it is over: write nothing more."""


_CLAIM = """
UPDATE runs SET lease_token = lease_token + 1, lease_expires_at = statement_timestamp() + make_interval(secs => %s)
WHERE id = %s AND NOT status = ANY(%s) AND (lease_expires_at IS NULL OR lease_expires_at < statement_timestamp())
RETURNING lease_token"""


def claim(run_id: uuid.UUID | str, seconds: float = LEASE_SECONDS) -> int | None:
    """A fencing token, or None where the run is over, unknown, in somebody's hands, or has to wait for a place."""
    with transaction.atomic(), connection.cursor() as cursor:
        owner = User.objects.select_for_update(no_key=True, of=("self",)).filter(runs__pk=run_id).only("pk").first()
        if owner is None or not places_of(owner.pk, beside=run_id):
            return None
        cursor.execute(_CLAIM, [seconds, str(run_id), list(Run.FINISHED)])
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def places_of(owner_id: int, *, beside: uuid.UUID | str | None = None) -> int:
    """How many more runs of this user may be driven now, beside those that are (but for one)."""
    if not settings.RUNS_AT_ONCE:
        return AS_MANY_AS_THERE_ARE
    driven = Run.objects.going().filter(owner_id=owner_id, lease_expires_at__gt=Now())
    return max(0, settings.RUNS_AT_ONCE - driven.exclude(pk=beside).count())


def without_place(owner_ids: Collection[int | None]) -> set[int | None]:
    """Those of these users who have as many runs driven as they may. One query."""
    if not settings.RUNS_AT_ONCE:
        return set()
    driven = Run.objects.going().filter(owner_id__in=owner_ids, lease_expires_at__gt=Now()).order_by()
    full = driven.values("owner_id").annotate(count=Count("pk")).filter(count__gte=settings.RUNS_AT_ONCE)
    return set(full.values_list("owner_id", flat=True))


def renew(run_id: uuid.UUID | str, lease_token: int, seconds: float = LEASE_SECONDS) -> None:
    """Raises LostLease."""
    held = Run.objects.unfinished().filter(pk=run_id, lease_token=lease_token)
    if not held.update(lease_expires_at=Now() + timedelta(seconds=seconds)):
        raise LostLease(f"run {run_id}, token {lease_token}")


_HOLD = """
UPDATE runs SET lease_expires_at = statement_timestamp() + make_interval(secs => %s)
WHERE id = %s AND lease_token = %s AND NOT status = ANY(%s) RETURNING cancel_requested_at IS NOT NULL"""


def hold(run_id: uuid.UUID | str, lease_token: int, seconds: float = LEASE_SECONDS) -> bool:
    """Renew, and hear in the same breath whether somebody wishes the run to stop. Raises LostLease."""
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, [seconds, str(run_id), lease_token, list(Run.FINISHED)])
        row = cursor.fetchone()
    if row is None:
        raise LostLease(f"run {run_id}, token {lease_token}")
    return bool(row[0])


def release(run_id: uuid.UUID | str, lease_token: int) -> None:
    """Give the run back; nothing happens where it is somebody else's by now."""
    Run.objects.filter(pk=run_id, lease_token=lease_token).update(lease_expires_at=None)
