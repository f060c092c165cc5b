"""Which runs a list shows, and in what order."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import User

from chains.models import Run, RunQuerySet, Template

SORTS = {
    "newest": ("-created_at", "-id"),
    "oldest": ("created_at", "id"),
    "longest": ("-duration", "-id"),
    "shortest": ("duration", "id"),
}
LOOKUPS = {
    "status": "status",
    "kind": "kind",
    "template": "template_id",
    "since": "created_at__gte",
    "until": "created_at__lt",
}


def listed(runs: RunQuerySet, filters: Mapping[str, Any]) -> RunQuerySet:
    """By the fields of RunFilters, all of them optional. By duration only runs that are over."""
    found = runs.filter(**{lookup: filters[name] for name, lookup in LOOKUPS.items() if name in filters})
    found = found.about(filters.get("q", "")).with_duration()
    ordering = SORTS[filters.get("sort", "newest")]
    if "duration" in ordering[0]:
        found = found.filter(status__in=Run.FINISHED, finished_at__isnull=False)
    return found.order_by(*ordering)


def without_hidden_templates(runs: Iterable[Run], user: User) -> list[Run]:
    """As they read to this user, unsaved: a template that is shared with them no longer is not named. One query, where
    there is a template that was another's."""
    shown = list(runs)
    others = {run.template_id for run in shown if run.template and run.template.owner_id != user.pk}
    if not others:
        return shown
    visible = set(Template.objects.visible_to(user).filter(pk__in=others).values_list("pk", flat=True))
    for run in shown:
        if run.template_id in others - visible:
            run.template = None
    return shown
