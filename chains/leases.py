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


_OWNER = """
SELECT auth_user.* FROM auth_user JOIN runs ON runs.owner_id = auth_user.id WHERE runs.id = %s
FOR NO KEY UPDATE OF auth_user"""
_CLAIM = """
UPDATE runs SET lease_token = lease_token + 1, lease_expires_at = statement_timestamp() + make_interval(secs => %s),
    status = CASE WHEN plan IS NULL THEN %s ELSE %s END, started_at = coalesce(started_at, statement_timestamp())
WHERE id = %s AND NOT status = ANY(%s) AND (lease_expires_at IS NULL OR lease_expires_at < statement_timestamp())
    AND %s > (
        SELECT count(*) FROM runs AS other
        WHERE other.owner_id = runs.owner_id AND other.id <> runs.id
            AND other.status = ANY(%s) AND other.lease_expires_at > statement_timestamp()
    )
RETURNING *"""


def claim(run_id: uuid.UUID | str, seconds: float = LEASE_SECONDS) -> Run | None:
    """The run, with its owner, planning or running from now on, and ours by its `lease_token`; None where it is over,
    unknown, in somebody's hands, or has to wait for a place."""
    going_on = [seconds, Run.Status.PLANNING, Run.Status.RUNNING, str(run_id), list(Run.FINISHED)]
    places = settings.RUNS_AT_ONCE or AS_MANY_AS_THERE_ARE
    with transaction.atomic():  # the owner's row is locked: nobody else counts their places meanwhile
        owner = next(iter(User.objects.raw(_OWNER, [str(run_id)])), None)
        claimed = list(Run.objects.raw(_CLAIM, [*going_on, places, list(Run.GOING)]))
    if owner is None or not claimed:
        return None
    claimed[0].owner = owner
    return claimed[0]


def places_of(owner_id: int) -> int:
    """How many more runs of this user may be driven now, beside those that are."""
    if not settings.RUNS_AT_ONCE:
        return AS_MANY_AS_THERE_ARE
    driven = Run.objects.going().filter(owner_id=owner_id, lease_expires_at__gt=Now())
    return max(0, settings.RUNS_AT_ONCE - driven.count())


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
