"""Which runs a list shows, and in what order."""

from collections.abc import Mapping
from typing import Any

from chains.models import Run, RunQuerySet

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
