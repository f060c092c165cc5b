"""Who drives a run: one holder at a time, by a lease with a fencing token.

A holder that was slow or cut off finds its token outdated at its next write (`events.publish`, `renew`) and stops;
whoever claimed the run after it has a higher one.
"""

import uuid
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from chains.models import Run

LEASE_SECONDS = 30
AS_MANY_AS_THERE_ARE = 1_000_000


class LostLease(Exception):
    """Somebody else drives this run now, or it is over: write nothing more."""


def claim(run_id: uuid.UUID | str, seconds: float = LEASE_SECONDS) -> int | None:
    """A fencing token, or None where the run is over, unknown, in somebody's hands, or has to wait for a place."""
    free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True, of=("self",)).filter(runs__pk=run_id).only("pk").first()
        if owner is None or not places_of(owner.pk, beside=run_id):
            return None
        claimed = (
            Run.objects.unfinished()
            .filter(free, pk=run_id)
            .update(lease_token=F("lease_token") + 1, lease_expires_at=Now() + timedelta(seconds=seconds))
        )
    if not claimed:
        return None
    # The row was locked by the update; until the lease runs out nobody else changes the token.
    return Run.objects.values_list("lease_token", flat=True).get(pk=run_id)


def places_of(owner_id: int, *, beside: uuid.UUID | str | None = None) -> int:
    """How many more runs of this user may be driven now, beside those that are (but for one)."""
    if not settings.RUNS_AT_ONCE:
        return AS_MANY_AS_THERE_ARE
    driven = Run.objects.going().filter(owner_id=owner_id, lease_expires_at__gt=Now())
    return max(0, settings.RUNS_AT_ONCE - driven.exclude(pk=beside).count())


def renew(run_id: uuid.UUID | str, lease_token: int, seconds: float = LEASE_SECONDS) -> None:
    """Raises LostLease."""
    held = Run.objects.unfinished().filter(pk=run_id, lease_token=lease_token)
    if not held.update(lease_expires_at=Now() + timedelta(seconds=seconds)):
        raise LostLease(f"run {run_id}, token {lease_token}")


def release(run_id: uuid.UUID | str, lease_token: int) -> None:
    """Give the run back; nothing happens where it is somebody else's by now."""
    Run.objects.filter(pk=run_id, lease_token=lease_token).update(lease_expires_at=None)


def cancel_requested(run_id: uuid.UUID | str) -> bool:
    return Run.objects.filter(pk=run_id).exclude(cancel_requested_at=None).exists()
