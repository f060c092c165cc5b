"""Write down what a probe found: the server's health, and which tools are new, gone or changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from registry.connectors import Introspection, ToolDefinition
from registry.definitions import model_count, schema_hash, toolset_hash
from registry.embeddings import content_hash, text_of
from registry.models import Connection, Health, HealthCheck, Server, Tool
from registry.probes import ProbeOutcome
from registry.services.embedding import embed_on_commit

BATCH_SIZE = 500
DEFINED = (
    "title", "description", "input_schema", "output_schema", "annotations", "schema_hash", "content_hash",
    "search_text", "quarantined", "last_changed", "removed_at",
)  # fmt: skip


@dataclass
class Changes:
    """Tools by what happened to them: `returned` were gone and are back as they were, `redefined` in a new form."""

    new: list[Tool] = field(default_factory=list)
    returned: list[Tool] = field(default_factory=list)
    redefined: list[Tool] = field(default_factory=list)
    removed: list[Tool] = field(default_factory=list)
    retold: list[Tool] = field(default_factory=list)  # those of the redefined whose text for search is another
    names: dict[str, list[str]] = field(default_factory=lambda: {"added": [], "removed": [], "changed": []})


def record_probe(*, server: Server, outcome: ProbeOutcome) -> HealthCheck:
    """One transaction; what a failed probe could not see stays as it was. `server` is brought up to date."""
    now = timezone.now()
    with transaction.atomic():
        Server.objects.select_for_update().only("pk").get(pk=server.pk)
        changes = Changes()
        if outcome.introspection is not None:
            changes = _record_tools(server, outcome.introspection.tools, now)
            _count(server, outcome.introspection, now)
        _record_health(server, outcome, now)
        check = _healthcheck(server, outcome, changes, now)
        if changes.new or changes.retold:
            embed_on_commit()
    return check


def _record_tools(server: Server, seen: Sequence[ToolDefinition], now: datetime) -> Changes:
    known = {tool.name: tool for tool in Tool.objects.filter(server=server)}
    changes = Changes()
    for definition in seen:
        _compare(server, known.pop(definition.name, None), definition, now, changes)
    changes.removed = [tool for tool in known.values() if tool.removed_at is None]
    changes.names["removed"] = [tool.name for tool in changes.removed]
    changes.names = {kind: sorted(names) for kind, names in changes.names.items()}
    if Connection.objects.filter(server=server).exists():
        for tool in changes.redefined:
            tool.quarantined = True
    _write(changes, now)
    return changes


def _compare(server: Server, tool: Tool | None, definition: ToolDefinition, now: datetime, changes: Changes) -> None:
    if tool is None:
        tool = Tool(server=server, name=definition.name, first_seen=now)
        _define(tool, definition, now)
        changes.new.append(tool)
        changes.names["added"].append(tool.name)
        return
    was_removed = tool.removed_at is not None
    if tool.schema_hash != schema_hash(definition):
        if _define(tool, definition, now):
            changes.retold.append(tool)
        changes.redefined.append(tool)
        changes.names["added" if was_removed else "changed"].append(tool.name)
    elif was_removed:
        changes.returned.append(tool)
        changes.names["added"].append(tool.name)


def _write(changes: Changes, now: datetime) -> None:
    Tool.objects.bulk_create(changes.new, batch_size=BATCH_SIZE)
    Tool.objects.bulk_update(changes.redefined, DEFINED, batch_size=BATCH_SIZE)
    _update(changes.retold, embedding=None)
    _update(changes.returned, removed_at=None)
    _update(changes.removed, removed_at=now)


def _update(tools: list[Tool], **values: Any) -> None:
    if tools:
        Tool.objects.filter(pk__in=[tool.pk for tool in tools]).update(**values)


def _define(tool: Tool, definition: ToolDefinition, now: datetime) -> bool:
    """Take over a definition. Is the text that search reads another one, so that its vector is out of date?"""
    for name in ("title", "description", "input_schema", "output_schema", "annotations"):
        setattr(tool, name, getattr(definition, name))
    tool.search_text = text_of(
        name=definition.name,
        title=definition.title,
        description=definition.description,
        input_schema=definition.input_schema,
    )
    before, tool.content_hash = tool.content_hash, content_hash(tool.search_text)
    tool.schema_hash = schema_hash(definition)
    tool.last_changed, tool.removed_at = now, None
    return before != tool.content_hash


def _count(server: Server, found: Introspection, now: datetime) -> None:
    server.tool_count = len(found.tools)
    server.model_count = model_count(found.tools)
    server.toolset_hash = toolset_hash(schema_hash(tool) for tool in found.tools)
    server.tools_synced_at = now


def _record_health(server: Server, outcome: ProbeOutcome, now: datetime) -> None:
    server.health, server.health_detail = outcome.health, outcome.detail
    server.latency_ms, server.last_healthcheck = outcome.latency_ms, now
    if outcome.health == Health.OK:
        server.last_ok_at = now
    fields = ["health", "health_detail", "latency_ms", "last_healthcheck", "last_ok_at", "tool_count", "model_count"]
    server.save(update_fields=[*fields, "toolset_hash", "tools_synced_at", "updated_at"])


def _healthcheck(server: Server, outcome: ProbeOutcome, changes: Changes, now: datetime) -> HealthCheck:
    found = outcome.introspection
    return HealthCheck.objects.create(
        server=server,
        health=outcome.health,
        detail=outcome.detail,
        latency_ms=outcome.latency_ms,
        protocol_version=found.protocol_version if found else "",
        server_name=found.server_name if found else "",
        server_version=found.server_version if found else "",
        tool_count=server.tool_count,
        model_count=server.model_count,
        changes=changes.names,
        checked_at=now,
    )
