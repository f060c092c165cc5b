"""Tools as catalogues list them: they count until somebody has asked the server itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils import timezone

from registry.connectors import ToolDefinition
from registry.copying import copy_in, copy_over
from registry.importers import fields
from registry.importers.base import CatalogueRecord
from registry.models import Server, SourceRecord, Tool
from registry.precedence import teller_of_tools
from registry.services.recording import DEFINED, define

Listed = Mapping[tuple[str, str], CatalogueRecord]


def write_listed_tools(members: Mapping[Server, Sequence[SourceRecord]], listed: Listed) -> None:
    """Make the tools of servers nobody has asked those of their best record; equal ones are left as they are.
    `listed` are records that were just read."""
    wanted = {
        (server.pk, definition.name): _tool(server, definition)
        for server, definitions in _definitions(members, listed).items()
        for definition in definitions
    }
    unasked = [server.pk for server in members if server.tools_synced_at is None]
    present = {(tool.server_id, tool.name): tool for tool in _present(unasked)}
    Tool.objects.filter(pk__in=[tool.pk for key, tool in present.items() if key not in wanted]).delete()
    copy_in([tool for key, tool in wanted.items() if key not in present])
    _redefine([(present[key], tool) for key, tool in wanted.items() if key in present and _differs(present[key], tool)])


def _definitions(
    members: Mapping[Server, Sequence[SourceRecord]], listed: Listed
) -> dict[Server, Sequence[ToolDefinition]]:
    tellers = {
        server: teller_of_tools(row for row in rows if row.removed_at is None)
        for server, rows in members.items()
        if server.tools_synced_at is None
    }
    told = {server: row for server, row in tellers.items() if row is not None}
    absent = [row.pk for row in told.values() if (row.source, row.external_id) not in listed]
    stored = dict(SourceRecord.objects.filter(pk__in=absent).values_list("pk", "data__tools")) if absent else {}
    found: dict[Server, Sequence[ToolDefinition]] = {}
    for server, row in told.items():
        record = listed.get((row.source, row.external_id))
        found[server] = record.tools if record else fields.tools(stored[row.pk])
    return found


def _present(servers: Sequence[Any]) -> list[Tool]:
    rows = Tool.objects.filter(server__in=servers).only(
        "server_id", "name", "schema_hash", "content_hash", "removed_at"
    )
    return list(rows) if servers else []


def _differs(tool: Tool, wanted: Tool) -> bool:
    return tool.schema_hash != wanted.schema_hash or tool.removed_at is not None


def _redefine(pairs: Sequence[tuple[Tool, Tool]]) -> None:
    reworded = [tool.pk for tool, wanted in pairs if tool.content_hash != wanted.content_hash]
    for tool, wanted in pairs:
        for name in DEFINED:
            setattr(tool, name, getattr(wanted, name))
    copy_over([tool for tool, _ in pairs], DEFINED)
    if reworded:
        Tool.objects.filter(pk__in=reworded).update(embedding=None)


def _tool(server: Server, listed: ToolDefinition) -> Tool:
    tool = Tool(server=server, name=listed.name)
    define(tool, listed, timezone.now())
    return tool
