"""Write down what a probe found: the server's health, and which tools are new, gone or changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from registry.connectors import Introspection, ToolDefinition
from registry.connectors.definitions import models_of, schema_hash, toolset_hash
from registry.embeddings import content_hash, text_of
from registry.models import Connection, Health, HealthCheck, Server, Tool
from registry.probes import ProbeOutcome
from registry.schedule import reschedule
from registry.search.indexing import describe
from registry.services.acceptance import accept_first_sight
from registry.services.embedding import embed_on_commit
from registry.services.sign_ins import note_protection

BATCH_SIZE = 500
KEPT_CHECKS = 2_000  # a server
KEPT_FOR = timedelta(days=90)
DEFINED = (
    "title", "description", "input_schema", "output_schema", "annotations", "schema_hash", "content_hash",
    "search_text", "last_changed", "removed_at",
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


def record_probe(*, server: Server, outcome: ProbeOutcome, user: User | None = None) -> HealthCheck:
    """One transaction; what a failed probe could not see stays as it was. `server` is brought up to date.

    With `user` it was tested with that user's own credentials: the health is theirs alone, on their connection. What
    tools they saw is everybody's only where nobody sees any without credentials (see `_sees_for_all`).
    """
    now = timezone.now()
    with transaction.atomic():
        stored = Server.objects.select_for_update().only("health", "probe_failures").get(pk=server.pk)
        server.probe_failures = stored.probe_failures
        changes = Changes()
        if outcome.introspection is not None and (user is None or _sees_for_all(stored)):
            keeps = user is not None and Connection.objects.filter(server=server).exclude(user=user).exists()
            changes = _record_tools(server, outcome.introspection.tools, now, keeps_missing=keeps)
            _count(server, outcome.introspection, now)
            _take_sign_in(server, outcome.introspection)
            _take_description(server, outcome.introspection)
        if outcome.sign_in is not None:
            found = outcome.sign_in
            note_protection(server=server, protection=found.protection, problem=found.problem)
        if user is None:
            _record_health(server, outcome, now)
        else:
            _record_own_health(user, server, outcome, now)
        check = _healthcheck(server, outcome, changes, now, user)
        _prune(server, now)
        if changes.new or changes.retold:
            embed_on_commit()
    return check


def _sees_for_all(server: Server) -> bool:
    """Without credentials nobody gets to its tools. Then somebody's own look is the best there is; it can put a tool
    into quarantine for others, and no more."""
    return server.health in (Health.NEEDS_AUTH, Health.UNTESTED)


def _record_tools(
    server: Server, seen: Sequence[ToolDefinition], now: datetime, *, keeps_missing: bool = False
) -> Changes:
    known = {tool.name: tool for tool in Tool.objects.filter(server=server)}
    is_first_sight = not known
    changes = Changes()
    for definition in seen:
        _compare(server, known.pop(definition.name, None), definition, now, changes)
    changes.removed = [] if keeps_missing else [tool for tool in known.values() if tool.removed_at is None]
    changes.names["removed"] = [tool.name for tool in changes.removed]
    changes.names = {kind: sorted(names) for kind, names in changes.names.items()}
    _write(changes, now)
    if is_first_sight:
        accept_first_sight(server, changes.new)
    return changes


def _compare(server: Server, tool: Tool | None, definition: ToolDefinition, now: datetime, changes: Changes) -> None:
    if tool is None:
        tool = Tool(server=server, name=definition.name, first_seen=now)
        define(tool, definition, now)
        changes.new.append(tool)
        changes.names["added"].append(tool.name)
        return
    was_removed = tool.removed_at is not None
    if tool.schema_hash != schema_hash(definition):
        if define(tool, definition, now):
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


def define(tool: Tool, definition: ToolDefinition, now: datetime) -> bool:
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
    server.model_count = models_of(found)
    server.toolset_hash = toolset_hash(schema_hash(tool) for tool in found.tools)
    server.tools_synced_at = now
    server.save(update_fields=["tool_count", "model_count", "toolset_hash", "tools_synced_at", "updated_at"])


def _take_sign_in(server: Server, found: Introspection) -> None:
    """How one signs in, where the server describes it: the page asks for what is named there."""
    if found.auth_type is not None:
        server.auth_type, server.env_schema = found.auth_type, found.env_schema
        server.save(update_fields=["auth_type", "env_schema"])


def _take_description(server: Server, found: Introspection) -> None:
    """What a document says of itself, where nobody said anything else. Catalogues speak for their own servers."""
    if server.source != "custom" or server.description or not found.description:
        return
    server.description, server.title = found.description, server.title or found.server_name
    describe(server)
    server.save(update_fields=["description", "title", "search_text", "content_hash", "embedding"])
    embed_on_commit()


def _record_health(server: Server, outcome: ProbeOutcome, now: datetime) -> None:
    server.health, server.health_detail = outcome.health, outcome.detail
    server.latency_ms, server.last_healthcheck = outcome.latency_ms, now
    if outcome.health == Health.OK:
        server.last_ok_at = now
    reschedule(server, outcome.health)
    fields = ["health", "health_detail", "latency_ms", "last_healthcheck", "last_ok_at"]
    server.save(update_fields=[*fields, "probe_failures", "next_probe_at", "updated_at"])


def _record_own_health(user: User, server: Server, outcome: ProbeOutcome, now: datetime) -> None:
    """Who has no connection reads the result of this test, and it is not kept beyond it."""
    Connection.objects.filter(user=user, server=server).update(
        health=outcome.health, health_detail=outcome.detail, latency_ms=outcome.latency_ms, checked_at=now
    )


def _healthcheck(
    server: Server, outcome: ProbeOutcome, changes: Changes, now: datetime, user: User | None
) -> HealthCheck:
    found = outcome.introspection
    return HealthCheck.objects.create(
        server=server,
        user=user,
        health=outcome.health,
        detail=outcome.detail,
        latency_ms=outcome.latency_ms,
        protocol_version=found.protocol_version if found else "",
        server_name=found.server_name if found else "",
        server_version=found.server_version if found else "",
        tool_count=len(found.tools) if found else server.tool_count,
        model_count=models_of(found) if found else server.model_count,
        changes=changes.names,
        checked_at=now,
    )


def _prune(server: Server, now: datetime) -> None:
    """Old checks go as new ones come: what is left is enough for 30 days of one every 30 minutes."""
    checks = HealthCheck.objects.filter(server=server)
    too_many = checks.order_by("-checked_at").values_list("checked_at", flat=True)[KEPT_CHECKS : KEPT_CHECKS + 1]
    old = now - KEPT_FOR
    checks.filter(checked_at__lte=max([old, *too_many])).delete()
