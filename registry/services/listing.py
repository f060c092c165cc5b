"""Writing what catalogues list: records, the servers they make together, and the tools they name.

A batch costs the same number of queries whatever its size. Which records are one server says registry/identity.py,
which of them is believed says registry/precedence.py.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from registry.copying import copy_in, copy_over
from registry.identity import BOUND, groups
from registry.importers.base import CatalogueRecord
from registry.models import Connection, Health, Server, SourceRecord
from registry.precedence import CURATOR, MAPPED, anchor, apply, ranked, resolve
from registry.search.indexing import describe
from registry.services.folding import fold
from registry.services.listed_tools import write_listed_tools
from registry.slugs import free_slugs

MAPPING_VERSION = 3  # raise it when an importer reads more out of the same record: all are written again
WRITING_LOCK = 0x6D637001  # of Postgres: two imports that link servers take turns, batch by batch
RECORD_COLUMNS = [
    "data", "version", "columns", "identity", "tool_count", "content_hash", "removed_at", "fetched_at", "seen_at",
    "marks", "server",
]  # fmt: skip
SERVER_COLUMNS = [
    *MAPPED, "field_sources", "source", "external_id", "updated_at", "health", "health_detail", "latency_ms",
    "tools_synced_at", "former_slugs",
]  # fmt: skip
TEXT_COLUMNS = ["search_text", "content_hash", "embedding"]  # read only when they are asked for

Key = tuple[str, str]


@dataclass(slots=True)
class Changes:
    """What a batch brought: records by what happened to them."""

    created: list[CatalogueRecord] = field(default_factory=list)
    updated: list[CatalogueRecord] = field(default_factory=list)
    removed: list[Key] = field(default_factory=list)
    unchanged: int = 0


def store_records(*, records: Sequence[CatalogueRecord], tag: str = "", dry_run: bool = False) -> Changes:
    """One transaction. A record that is as it was costs nothing but to note that it was seen."""
    with transaction.atomic():
        if not dry_run:
            take_turns()
        known = _known(records)
        changes = _compare(records, known)
        if dry_run:
            return changes
        SourceRecord.objects.filter(pk__in=[row.pk for row in known.values()]).update(seen_at=timezone.now())
        _write(changes, known, {_key(one): one for one in records}, tag)
    return changes


def remove_records(*, rows: Sequence[SourceRecord]) -> None:
    """Their catalogue lists them no longer; a server without any other record is deleted for everybody."""
    with transaction.atomic():
        take_turns()
        for row in rows:
            row.removed_at = timezone.now()
        link(touched=rows, keys=(key for row in rows for key in row.identity))


def take_turns() -> None:
    """Until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITING_LOCK])


def _key(record: CatalogueRecord | SourceRecord) -> Key:
    return record.source, record.external_id


def _known(records: Sequence[CatalogueRecord]) -> dict[Key, SourceRecord]:
    rows = SourceRecord.objects.light().filter(
        source__in={one.source for one in records}, external_id__in=[one.external_id for one in records]
    )
    return {_key(row): row for row in rows}


def hash_of(record: CatalogueRecord) -> str:
    canonical = json.dumps([MAPPING_VERSION, record.data], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()


def _compare(records: Sequence[CatalogueRecord], known: Mapping[Key, SourceRecord]) -> Changes:
    changes = Changes()
    for one in records:
        row = known.get(_key(one))
        if one.is_deleted and row is not None and row.removed_at is None:
            changes.removed.append(_key(one))
        elif one.is_deleted:  # nothing to take down
            changes.unchanged += 1
        elif row is None:
            changes.created.append(one)
        elif row.removed_at or row.content_hash != hash_of(one):
            changes.updated.append(one)
        else:
            changes.unchanged += 1
    return changes


def _write(
    changes: Changes, known: Mapping[Key, SourceRecord], records: Mapping[Key, CatalogueRecord], tag: str
) -> None:
    keys = {key for one in changes.updated for key in known[_key(one)].identity}  # also those it gives up
    touched = {_key(one): _new_row(one) for one in changes.created}
    for one in changes.updated:
        touched[_key(one)] = _take_down(known[_key(one)], one)
    for key in changes.removed:
        touched[key] = known[key]
        known[key].removed_at = timezone.now()
        known[key].content_hash = hash_of(records[key])
    if tag:
        touched |= {key: row for key, row in known.items() if tag not in row.marks and row.removed_at is None}
        for row in touched.values():
            row.marks = list(dict.fromkeys([*row.marks, tag]))
    link(touched=list(touched.values()), keys=keys, listed=records)


def _new_row(record: CatalogueRecord) -> SourceRecord:
    return _take_down(SourceRecord(source=record.source, external_id=record.external_id, marks=[]), record)


def _take_down(row: SourceRecord, record: CatalogueRecord) -> SourceRecord:
    row.data = dict(record.data)
    row.columns = dict(record.columns)
    row.identity = [*record.identity, *(key for key in row.identity if key.startswith(BOUND))]
    row.tool_count = len(record.tools)
    row.version = record.columns.get("version", "")
    row.content_hash = hash_of(record)
    row.removed_at = None
    row.fetched_at = row.seen_at = timezone.now()
    return row


def link(
    *, touched: Sequence[SourceRecord], keys: Iterable[str] = (), listed: Mapping[Key, CatalogueRecord] | None = None
) -> list[Server]:
    """Give records that are new or changed their servers: new ones, ones that are known, or ones that this brings
    together. `keys` are further ones whose records may belong elsewhere now. Returns the servers concerned."""
    if not touched:
        return []
    rows = _with_kin(touched, keys)
    linked = Linked.of(rows, touched)
    anchors = {server: anchor(server) for server in linked.known.values()}
    changed = [server for server, members in linked.members.items() if _settle(server, members)]
    _name_new(linked.new)
    copy_in(linked.new)
    _save_rows(touched, linked)
    fold(into=linked.folded, anchors=anchors)
    _save_changed([server for server in changed if server.pk in linked.known], anchors)
    write_listed_tools(linked.members, listed or {})
    return list(linked.members)


def _with_kin(touched: Sequence[SourceRecord], keys: Iterable[str]) -> list[SourceRecord]:
    """With all records that share a key or a server with one of them, oldest first, new ones last."""
    own = {row.pk for row in touched if row.pk}
    shared = list({*keys, *(key for row in touched for key in row.identity)})
    others = SourceRecord.objects.light().exclude(pk__in=own)
    near = set(others.filter(identity__overlap=shared).values_list("server_id", flat=True)) if shared else set()
    near |= {row.server_id for row in touched if row.pk}
    kin = list(others.filter(server_id__in=near)) if near else []
    old = sorted([*kin, *(row for row in touched if row.pk)], key=lambda row: row.pk)
    return [*old, *(row for row in touched if not row.pk)]


@dataclass(slots=True)
class Linked:
    """Records by the server they make, where anything about that is new. `folded` are servers that became another."""

    members: dict[Server, list[SourceRecord]] = field(default_factory=dict)
    known: dict[Any, Server] = field(default_factory=dict)
    new: list[Server] = field(default_factory=list)
    folded: dict[Server, Server] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[SourceRecord], touched: Sequence[SourceRecord]) -> "Linked":
        linked = cls(known=_servers({row.server_id for row in rows if row.pk}))
        first_of = {row.server_id: row for row in reversed(rows) if row.pk}
        sizes = Counter(row.server_id for row in rows)
        news = {id(row) for row in touched}
        by_number = dict(enumerate(rows))
        for numbers in groups(by_number, _vague_makers(rows)):
            members = [by_number[number] for number in numbers]
            owners = {row.server_id for row in members}
            as_before = len(owners) == 1 and sizes[members[0].server_id] == len(members)
            if not as_before or any(id(row) in news for row in members):
                linked._place(members, first_of)
        return linked

    def _place(self, members: list[SourceRecord], first_of: Mapping[Any, SourceRecord]) -> None:
        """A server stays with the oldest of its records; of several in one group the oldest server stays."""
        here = [self.known[row.server_id] for row in members if row.pk and first_of[row.server_id] is row]
        here.sort(key=lambda server: (server.created_at, server.pk))
        server = here[0] if here else Server(visibility=Server.Visibility.PUBLIC, tags=[], field_sources={})
        if not here:
            self.new.append(server)
        self.members[server] = members
        self.folded |= dict.fromkeys(here[1:], server)


def _servers(ids: Iterable[Any]) -> dict[Any, Server]:
    rows = Server.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    return {server.pk: server for server in rows}


def _vague_makers(rows: Sequence[SourceRecord]) -> list[SourceRecord]:
    """Further records that hold a package or repository of these."""
    keys = {key for row in rows for key in row.identity if key.startswith(("pkg:", "repo:"))}
    if not keys:
        return []
    others = SourceRecord.objects.filter(identity__overlap=list(keys)).exclude(
        pk__in=[row.pk for row in rows if row.pk]
    )
    return list(others.only("source", "identity"))


def _settle(server: Server, members: Sequence[SourceRecord]) -> bool:
    """Bring a server up to what its records say. Is anything of it different?"""
    before = (server.status, server.source, server.external_id)
    live = [row for row in members if row.removed_at is None]
    if not live:
        if server.field_sources.get("status") != CURATOR:
            server.status = Server.Status.DELETED
        return before[0] != server.status
    resolved, trusted = resolve(live), anchor(server)
    changed = apply(server, resolved)
    if trusted and trusted != anchor(server):
        _forget(server)
        apply(server, resolved)
    first = ranked(live)[0]
    server.source, server.external_id = first.source, first.external_id
    return changed or before != (server.status, server.source, server.external_id)


def _forget(server: Server) -> None:
    """What was seen at an address that is no longer its own."""
    server.health, server.health_detail, server.latency_ms, server.tools_synced_at = Health.UNTESTED, "", None, None


def _name_new(servers: Sequence[Server]) -> None:
    slugs = free_slugs((server.name, f"{server.source}:{server.external_id}") for server in servers)
    for server, slug in zip(servers, slugs, strict=True):
        server.slug = slug
        describe(server)


def _save_rows(touched: Sequence[SourceRecord], linked: Linked) -> None:
    ours = {id(row) for row in touched}
    moved = []
    for server, members in linked.members.items():
        for row in members:
            if row.server_id != server.pk:
                row.server = server
                if id(row) not in ours:
                    moved.append(row)
    known = [row for row in touched if row.pk]
    copy_in([row for row in touched if not row.pk])
    rewritten = [row for row in known if "data" not in row.get_deferred_fields()]
    copy_over(rewritten, RECORD_COLUMNS)
    kept = [row for row in known if "data" in row.get_deferred_fields()]
    copy_over([*kept, *moved], ["server", "removed_at", "marks", "identity", "content_hash"])


def _save_changed(servers: Sequence[Server], anchors: Mapping[Server, str]) -> None:
    """A new address is a new thing to trust: what others authorised ends."""
    moved = [server for server in servers if anchors[server] and anchors[server] != anchor(server)]
    Connection.objects.filter(server__in=moved).delete()
    for server in servers:
        server.updated_at = timezone.now()
    reworded = [server for server in servers if describe(server)]
    copy_over(servers, SERVER_COLUMNS)
    copy_over(reworded, TEXT_COLUMNS)
