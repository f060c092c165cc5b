"""Servers that turn out to be one: what hangs on the others goes to the one that is kept."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Case, Model, Value, When

from registry.models import Connection, Server, SourceRecord, Tool
from registry.precedence import anchor

SEEN_BY_PROBES = [
    "tool_count", "model_count", "tools_synced_at", "toolset_hash", "health", "health_detail", "latency_ms",
    "last_healthcheck", "last_ok_at",
]  # fmt: skip
BY_HAND = (Tool, Connection, SourceRecord)


def fold(*, into: Mapping[Server, Server], anchors: Mapping[Server, str]) -> None:
    """Delete the servers `into` maps, each after its connections, tests and the like moved to the one it becomes.

    Where that is reached elsewhere, connections are not moved: nobody entrusted it their credentials. Tools that the
    server itself told, and what was seen of its health, come along where the kept one was never asked. Their records
    are the caller's business. `anchors` are where each was reached before."""
    if not into:
        return
    same = {old: kept for old, kept in into.items() if anchors[old] == anchor(kept)}
    _move_tools(same)
    _move_connections(same)
    for model, column in _related():
        _repoint(model, column, into)
    for old, kept in into.items():
        kept.former_slugs = [*dict.fromkeys([*kept.former_slugs, old.slug, *old.former_slugs])]
        kept.verified = kept.verified or old.verified
    Server.objects.filter(pk__in=[old.pk for old in into]).delete()
    Server.objects.bulk_update(set(into.values()), ["former_slugs", "verified", *SEEN_BY_PROBES])


def _move_tools(into: Mapping[Server, Server]) -> None:
    told = {}
    for old, kept in into.items():
        if old.tools_synced_at is not None and kept.tools_synced_at is None:
            told[old] = kept
            for name in SEEN_BY_PROBES:
                setattr(kept, name, getattr(old, name))
    Tool.objects.filter(server__in=list(told.values())).delete()
    _repoint(Tool, "server", told)


def _move_connections(into: Mapping[Server, Server]) -> None:
    """A user's connection to the kept server stays; else that to the oldest of the others is taken over."""
    taken = set(Connection.objects.filter(server__in=into.values()).values_list("user_id", "server_id"))
    moving = []
    for row in Connection.objects.filter(server__in=into.keys()).order_by("created_at", "pk"):
        kept = next(kept for old, kept in into.items() if old.pk == row.server_id)
        if (row.user_id, kept.pk) not in taken:
            taken.add((row.user_id, kept.pk))
            row.server = kept
            moving.append(row)
    Connection.objects.bulk_update(moving, ["server"])


def _related() -> list[tuple[type[Model], str]]:
    """Everything else that many rows of point at a server, of whichever app."""
    relations = [relation for relation in Server._meta.related_objects if relation.one_to_many]
    return [(one.related_model, one.field.name) for one in relations if one.related_model not in BY_HAND]


def _repoint(model: type[Model], column: str, into: Mapping[Server, Server]) -> None:
    if into:
        targets: Any = [When(**{column: old.pk}, then=Value(kept.pk)) for old, kept in into.items()]
        rows = model._base_manager.filter(**{f"{column}__in": [old.pk for old in into]})
        rows.update(**{f"{column}": Case(*targets)})
