"""Templates that run by themselves: when one is due, and the run it starts."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from chains import services
from chains.models import Schedule, Template
from chains.plan import PlanError

MAX_STARTED_AT_ONCE = 100
REFUSALS = (PlanError, services.InputError, services.Conflict)


def next_after(schedule: Schedule, now: dt.datetime) -> dt.datetime:
    """The first moment after `now` (UTC): every so many days at a time, or hours counted from midnight at a minute."""
    if schedule.unit == Schedule.Unit.DAY:
        today = now.replace(hour=schedule.at.hour, minute=schedule.at.minute, second=0, microsecond=0)
        return today + dt.timedelta(days=schedule.every - (1 if today > now else 0))
    midnight = now.replace(hour=0, minute=schedule.at.minute, second=0, microsecond=0)
    step = dt.timedelta(hours=schedule.every)
    return midnight + step * ((now - midnight) // step + 1)


def set_schedule(
    *, template: Template, every: int, unit: str, at: dt.time, inputs: Mapping[str, Any] | None = None
) -> Schedule:
    """Have a template run by itself, from its next time on, with the inputs given."""
    schedule = Schedule(template=template, every=every, unit=unit, at=at)
    values = {"every": every, "unit": unit, "at": at, "inputs": dict(inputs or {}), "error": ""}
    values["next_at"] = next_after(schedule, timezone.now())
    saved, _ = Schedule.objects.update_or_create(template=template, defaults=values)
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
