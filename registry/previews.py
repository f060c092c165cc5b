"""What an import would change, for people to look at before it does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from registry.models import SourceRecord
from registry.services.listing import Changes

MAX_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Preview:
    change: str  # created, updated or removed
    external_id: str
    detail: str

    def __str__(self) -> str:
        return f"{self.change} {self.external_id}{f': {self.detail}' if self.detail else ''}"


def previews(changes: Changes) -> list[Preview]:
    """Of one batch that was compared but not stored. One query."""
    ids = [record.external_id for record in changes.updated]
    rows = SourceRecord.objects.light().filter(external_id__in=ids) if ids else []
    before = {(row.source, row.external_id): row.columns for row in rows}
    created = [Preview("created", one.external_id, str(one.columns.get("name", ""))) for one in changes.created]
    updated = [
        Preview("updated", one.external_id, ", ".join(_differences(before[one.source, one.external_id], one.columns)))
        for one in changes.updated
    ]
    return [*created, *updated, *(Preview("removed", external_id, "") for _, external_id in changes.removed)]


def _differences(before: Any, after: Any) -> Iterator[str]:
    for name in sorted(after):
        if before.get(name) != after[name]:
            yield f"{name} {_short(before.get(name))} → {_short(after[name])}"


def _short(value: Any) -> str:
    text = str(value or "nothing")
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
