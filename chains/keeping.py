"""What old runs leave behind: first the bulk of their events goes, later the whole run; results stay.

A run that is over shows its end from its journal rows, so its events are only for playing it again. Those that a
replay draws are kept; those that repeat what other rows hold (arguments, results, answers) are not.
"""

import datetime as dt
import logging

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chains import events
from chains.models import Run, RunEvent, SpentKey

logger = logging.getLogger(__name__)
BULKY = [
    events.TOOL_CALL_ARGS,
    events.TOOL_CALL_PROGRESS,
    events.TOOL_CALL_LOG,
    events.TOOL_CALL_RESULT,
    events.TEXT_MESSAGE_CONTENT,
]
AT_ONCE = 100  # runs in a transaction: none of them is locked for long
MAX_BATCHES = 200  # in one job; the next one goes on


def tidy() -> tuple[int, int]:
    """By the settings: how many runs were compacted, and how many removed."""
    return compact_runs(_ago(settings.EVENTS_KEEP_DAYS)), remove_runs(_ago(settings.RUNS_KEEP_DAYS))


def _ago(days: int) -> dt.datetime | None:
    """None: never."""
    return timezone.now() - dt.timedelta(days=days) if days > 0 else None


def compact_runs(before: dt.datetime | None) -> int:
    """Drop the bulky events of runs that ended before then, a batch after the other; the number of runs."""
    done = 0
    for _ in range(MAX_BATCHES if before else 0):
        compacted = _compact_some(before)
        done += compacted
        if compacted < AT_ONCE:
            break
    return done


@transaction.atomic
def _compact_some(before: dt.datetime | None) -> int:
    due = Run.objects.ended_before(before).filter(last_seq__gt=F("compacted_seq")).select_for_update(skip_locked=True)
    ids = list(due.order_by("finished_at").values_list("pk", flat=True)[:AT_ONCE])
    RunEvent.objects.filter(run__in=ids, type__in=BULKY).delete()
    Run.objects.filter(pk__in=ids).update(compacted_seq=F("last_seq"))
    return len(ids)


def remove_runs(before: dt.datetime | None) -> int:
    """Remove runs that ended before then, with their journal; the number of runs. Results and files stay, and so does
    of every template the run that says how it went last."""
    done = 0
    for _ in range(MAX_BATCHES if before else 0):
        removed = _remove_some(before)
        done += removed
        if removed < AT_ONCE:
            break
    return done


@transaction.atomic
def _remove_some(before: dt.datetime | None) -> int:
    due = Run.objects.ended_before(before).superseded().select_for_update(skip_locked=True, of=("self",))
    runs = list(due.order_by("finished_at").only("owner", "idempotency_key", "request_hash")[:AT_ONCE])
    SpentKey.objects.bulk_create(
        SpentKey(owner_id=run.owner_id, key=run.idempotency_key, run_id=run.pk) for run in runs if run.idempotency_key
    )
    Run.objects.filter(pk__in=[run.pk for run in runs]).delete()
    return len(runs)
