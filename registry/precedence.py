"""Which catalogue is believed: a server's columns from all records about it, and where each column came from."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from registry.models import Server

RANKS = ("official", "docker", "mcp-get", "smithery")  # the first is believed most; others follow by their names
DESCRIPTION_RANKS = ("docker", "mcp-get", "smithery")  # the official registry cuts descriptions
TEXTS = ("name", "title", "description", "version", "homepage", "repository", "license", "icon_url")
ADDRESS = ("transport", "url", "command", "args", "env_schema", "auth_type")  # always of one record
MAPPED = (*TEXTS, "tags", "status", "tool_count", *ADDRESS)
CURATOR = "curator"  # in field_sources: decided by hand, and left alone by imports
_VERSION = re.compile(r"(==|(?<=.)@).*$")


class Record(Protocol):
    source: str
    external_id: str
    columns: Any
    marks: Any
    tool_count: int


@dataclass(slots=True)
class Resolved:
    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def take(self, names: Iterable[str], record: Record) -> None:
        for name in names:
            if name in record.columns:
                self.values[name] = record.columns[name]
                self.sources[name] = record.source


def ranked(records: Iterable[Record], ranks: Sequence[str] = RANKS) -> list[Any]:
    def order(record: Record) -> tuple[int, str, str]:
        known = ranks.index(record.source) if record.source in ranks else len(ranks)
        return known, record.source, record.external_id

    return sorted(records, key=order)


def resolve(records: Iterable[Record]) -> Resolved:
    """What live records say together. A column that none of them speaks of is missing."""
    best = ranked(records)
    resolved = Resolved()
    for name in TEXTS:
        in_order = ranked(best, DESCRIPTION_RANKS) if name == "description" else best
        if teller := _teller(in_order, name):
            resolved.take([name], teller)
    if teller := _teller(best, "transport"):
        resolved.take(ADDRESS, teller)
    if stating := [record for record in best if "status" in record.columns]:
        resolved.take(["status"], stating[0])
    else:
        resolved.values["status"] = Server.Status.ACTIVE
    _join_tags(best, resolved)
    teller = teller_of_tools(best)
    resolved.values["tool_count"] = teller.tool_count if teller else 0
    if teller:
        resolved.sources["tools"] = teller.source
    return resolved


def _teller(records: Iterable[Record], name: str) -> Record | None:
    """The first that has a value, else the first that says there is none."""
    speaking = [record for record in records if name in record.columns]
    return next((record for record in speaking if record.columns[name]), speaking[0] if speaking else None)


def _join_tags(records: Sequence[Record], resolved: Resolved) -> None:
    telling = [record for record in records if record.columns.get("tags") or record.marks]
    tags = [tag for record in telling for tag in (*record.columns.get("tags", ()), *record.marks)]
    resolved.values["tags"] = list(dict.fromkeys(tags))
    if telling:
        resolved.sources["tags"] = ", ".join(dict.fromkeys(record.source for record in telling))


def teller_of_tools(records: Iterable[Record]) -> Any | None:
    """The record whose tools count while nobody has asked the server itself."""
    return next((record for record in ranked(records) if record.tool_count), None)


def apply(server: Server, resolved: Resolved) -> bool:
    """Set the server's columns but for those a curator decided, and the tools it was asked for itself. Is anything
    different?"""
    decided = {name: source for name, source in server.field_sources.items() if source == CURATOR}
    left = {*decided, "tool_count"} if server.tools_synced_at else set(decided)
    before = _state(server)
    for name, value in resolved.values.items():
        if name not in left:
            setattr(server, name, value)
    if "tags" in decided:
        server.tags = list(dict.fromkeys([*before["tags"], *resolved.values["tags"]]))
    server.field_sources = resolved.sources | decided
    return _state(server) != before


def _state(server: Server) -> Mapping[str, Any]:
    return {name: getattr(server, name) for name in (*MAPPED, "field_sources")}


def anchor(server: Server) -> str:
    """What credentials are entrusted to: the host that gets them, or the package that is started with them."""
    if server.url:
        return "/".join(server.url.split("/")[:3]).lower()
    started = [part for part in server.args if not part.startswith("-")]
    if server.command == "docker":
        started = [part.partition(":")[0] for part in server.args[::-1] if "/" in part]
    return " ".join([server.command, *(_VERSION.sub("", part) for part in started[:1])])
