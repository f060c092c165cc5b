"""Templates that run by themselves: when one is due, and the run it starts."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from croniter import CroniterBadDateError, CroniterError, croniter
from django.db import transaction
from django.utils import timezone

from chains import services
from chains.models import Schedule, Template
from chains.plan import PlanError
from registry.quotas import QuotaReached, check_quota

MAX_STARTED_AT_ONCE = 100
TIMES_SHOWN = 3
FIELDS = ("minute", "hour", "day", "month", "weekday")
LONGEST_CRON = 100  # characters, as many as are kept
_CHANCE = re.compile(r"(?i)(?<![a-z])[rh](?![a-z])")  # “at random”: the next time would be another one at each look
REFUSALS = (PlanError, services.InputError, services.Conflict, QuotaReached)


def next_after(schedule: Schedule, now: dt.datetime) -> dt.datetime:
    """The first moment after `now` (UTC): every so many days at a time, hours counted from midnight at a minute, or
    what its cron expression says."""
    if schedule.unit == Schedule.Unit.CRON:
        return moment_by(schedule.cron, now)
    if schedule.unit == Schedule.Unit.DAY:
        today = now.replace(hour=schedule.at.hour, minute=schedule.at.minute, second=0, microsecond=0)
        return today + dt.timedelta(days=schedule.every - (1 if today > now else 0))
    midnight = now.replace(hour=0, minute=schedule.at.minute, second=0, microsecond=0)
    step = dt.timedelta(hours=schedule.every)
    return midnight + step * ((now - midnight) // step + 1)


def moment_by(cron: str, now: dt.datetime) -> dt.datetime:
    """The first moment after `now` by an expression of five fields, as RQ's cron reads it. Raises ValueError."""
    if len(cron) > LONGEST_CRON or len(cron.split()) != len(FIELDS) or _CHANCE.search(cron):
        raise ValueError(f"A cron expression has five fields: {', '.join(FIELDS)}.")
    try:
        found: dt.datetime = croniter(cron, now, max_years_between_matches=8).get_next(dt.datetime)
    except CroniterBadDateError as error:
        raise ValueError("No day fits this cron expression.") from error
    except CroniterError as error:
        raise ValueError(f"This is no cron expression: {error}.") from error
    return found


def next_times(schedule: Schedule, now: dt.datetime, count: int = TIMES_SHOWN) -> list[dt.datetime]:
    times = [next_after(schedule, now)]
    while len(times) < count:
        times.append(next_after(schedule, times[-1]))
    return times


def set_schedule(
    *, template: Template, every: int, unit: str, at: dt.time, inputs: Mapping[str, Any] | None = None, cron: str = ""
) -> Schedule:
    """Have a template run by itself, from its next time on, with the inputs given.

    Raises ValueError or QuotaReached."""
    values = {"every": every, "unit": unit, "at": at, "cron": cron if unit == Schedule.Unit.CRON else ""}
    following = next_after(Schedule(template=template, **values), timezone.now())
    kept = values | {"inputs": dict(inputs or {}), "error": "", "next_at": following}
    with transaction.atomic():
        others = Schedule.objects.filter(template__owner=template.owner).exclude(template=template)
        check_quota(template.owner, "schedules", others)
        saved, _ = Schedule.objects.update_or_create(template=template, defaults=kept)
    return saved


def start_due() -> int:
    """Start what is due, each once however many ask at the same time; how many runs were started."""
    due = Schedule.objects.filter(next_at__lte=timezone.now()).select_related("template__owner")
    return sum(start(schedule) for schedule in due.order_by("next_at")[:MAX_STARTED_AT_ONCE])


def start(schedule: Schedule) -> bool:
    """Claim and run are one transaction: a worker that dies in between leaves it due."""
    with transaction.atomic():
        following = next_after(schedule, timezone.now())
        mine = Schedule.objects.filter(pk=schedule.pk, next_at=schedule.next_at).update(next_at=following)
        return bool(mine) and _run(schedule)


def _run(schedule: Schedule) -> bool:
    template = schedule.template
    try:
        run = services.start_run(user=template.owner, plan=None, template=template, inputs=schedule.inputs)
    except REFUSALS as error:
        Schedule.objects.filter(pk=schedule.pk).update(error=str(error)[:1000], last_run=None)
        return False
    Schedule.objects.filter(pk=schedule.pk).update(error="", last_run=run)
    return True
