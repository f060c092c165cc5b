"""Writing what a catalogue lists: in batches, only what is new or changed, one bad record never stopping the rest."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.db.models import Exists, F, Func, OuterRef, Value
from django.utils import timezone

from registry.connectors import ToolDefinition
from registry.definitions import schema_hash
from registry.embeddings import content_hash, text_of
from registry.importers.base import (
    CatalogueError,
    CatalogueRecord,
    Importer,
    ImportOptions,
    RejectedRecord,
)
from registry.models import SEARCH_COLUMNS, ImportRun, Server, SourceRecord, Tool
from registry.search.indexing import describe, refresh_terms
from registry.slugs import free_slugs

BATCH_SIZE = 200
MAX_REJECTED_KEPT = 100
MAPPING_VERSION = 1  # raise it when an importer reads more out of the same record: all are written again
MAPPED = [
    "name", "title", "description", "version", "homepage", "repository", "license", "icon_url", "tags", "status",
    "transport", "url", "command", "args", "env_schema", "auth_type",
]  # fmt: skip

Report = Callable[["Counts"], None]


@dataclass(slots=True)
class Counts:
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    rejected: int = 0

    @property
    def read(self) -> int:
        return self.created + self.updated + self.unchanged + self.rejected

    def add(self, other: "Counts") -> None:
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)

    @property
    def is_news(self) -> bool:
        return bool(self.created or self.updated or self.removed)

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in asdict(self).items())


@dataclass(slots=True)
class Outcome:
    counts: Counts = field(default_factory=Counts)
    rejected: list[dict[str, str]] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    def reject(self, record: RejectedRecord) -> None:
        self.counts.rejected += 1
        if len(self.rejected) < MAX_REJECTED_KEPT:
            self.rejected.append({"external_id": record.external_id, "reason": record.reason})


def read_catalogue(
    *,
    importer: Importer,
    options: ImportOptions,
    tag: str = "",
    limit: int | None = None,
    dry_run: bool = False,
    report: Report = lambda counts: None,
) -> Outcome:
    """Read a catalogue and store what it says; what a batch committed stays, whatever happens afterwards.

    A catalogue that cannot be read on ends the reading, with the reason in `error`. Servers that a complete reading no
    longer lists are removed. A dry run only counts.
    """
    started = time.monotonic()
    run = None if dry_run else ImportRun.objects.create(source=importer.name)
    outcome = Outcome(error="It was interrupted.")
    try:
        seen = _read(importer.name, importer.records(options), outcome, tag, limit, dry_run, report)
        if limit is None and seen and importer.is_complete(options):
            outcome.counts.removed += _remove_missing(importer.name, seen, dry_run)
        outcome.error = ""
    except CatalogueError as error:
        outcome.error = str(error)
    finally:
        outcome.seconds = time.monotonic() - started
        if run:
            _close(run, outcome)
    if outcome.counts.is_news and not dry_run:
        refresh_terms()
    return outcome


def _read(
    source: str,
    records: Iterable[CatalogueRecord | RejectedRecord],
    outcome: Outcome,
    tag: str,
    limit: int | None,
    dry_run: bool,
    report: Report,
) -> set[tuple[str, str]]:
    """Returns source and id of everything listed, good or bad: a record we cannot use is not a removed one."""
    seen: set[tuple[str, str]] = set()
    for batch in _batches(islice(records, limit)):
        usable = []
        for record in batch:
            if isinstance(record, RejectedRecord):
                outcome.reject(record)
                seen.add((source, record.external_id))
            elif _key(record) in seen:
                outcome.reject(RejectedRecord(record.external_id, "It is listed twice."))
            else:
                usable.append(record)
                seen.add(_key(record))
        _store(usable, outcome, tag, dry_run)
        report(outcome.counts)
    return seen


def _batches(records: Iterable[CatalogueRecord | RejectedRecord]) -> Iterator[list[CatalogueRecord | RejectedRecord]]:
    """What was read before an error of the reading comes first, then the error."""
    iterator = iter(records)
    error: CatalogueError | None = None
    while error is None:
        batch: list[CatalogueRecord | RejectedRecord] = []
        try:
            for record in islice(iterator, BATCH_SIZE):
                batch.append(record)
        except CatalogueError as raised:
            error = raised
        if not batch:
            break
        yield batch
    if error:
        raise error


def _store(records: Sequence[CatalogueRecord], outcome: Outcome, tag: str, dry_run: bool) -> None:
    """A batch in one transaction; where the database refuses it, its halves, down to the record that is to blame."""
    if not records:
        return
    try:
        with transaction.atomic():
            counts = _write(records, tag, dry_run)
    except (DataError, IntegrityError) as error:
        if len(records) == 1:
            outcome.reject(RejectedRecord(records[0].external_id, f"The database refused it: {error}"[:500]))
            return
        middle = len(records) // 2
        _store(records[:middle], outcome, tag, dry_run)
        _store(records[middle:], outcome, tag, dry_run)
        return
    outcome.counts.add(counts)


def _write(records: Sequence[CatalogueRecord], tag: str, dry_run: bool) -> Counts:
    known = _known(records)
    new = [one for one in records if _key(one) not in known]
    changed = [one for one in records if _key(one) in known and _is_changed(one, known[_key(one)])]
    gone = [one for one in changed if one.is_deleted]
    kept = [one for one in changed if not one.is_deleted]
    listed = [one for one in new if not one.is_deleted]
    if not dry_run:
        stored = [*_create(listed, tag), *_update(kept, known, tag)]
        _write_tools(stored)
        _mark_removed([known[_key(one)] for one in gone], {_key(one): _hash(one) for one in gone})
        _add_tag([known[_key(one)].server_id for one in records if _key(one) in known], tag)
    unchanged = len(records) - len(listed) - len(changed)
    return Counts(created=len(listed), updated=len(kept), removed=len(gone), unchanged=unchanged)


def _key(record: CatalogueRecord | SourceRecord) -> tuple[str, str]:
    return record.source, record.external_id


def _known(records: Sequence[CatalogueRecord]) -> dict[tuple[str, str], SourceRecord]:
    rows = SourceRecord.objects.filter(
        source__in={one.source for one in records}, external_id__in=[one.external_id for one in records]
    )
    light = rows.select_related("server").defer("data", *(f"server__{name}" for name in SEARCH_COLUMNS))
    return {_key(row): row for row in light}


def _hash(record: CatalogueRecord) -> str:
    canonical = json.dumps([MAPPING_VERSION, record.data], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()


def _is_changed(record: CatalogueRecord, row: SourceRecord) -> bool:
    if record.is_deleted and row.removed_at:
        return False
    return bool(row.removed_at) or row.content_hash != _hash(record)


def _create(records: Sequence[CatalogueRecord], tag: str) -> list[tuple[Server, CatalogueRecord]]:
    slugs = free_slugs((one.columns["name"], f"{one.source}:{one.external_id}") for one in records)
    servers = []
    for one, slug in zip(records, slugs, strict=True):
        server = Server(slug=slug, source=one.source, external_id=one.external_id, visibility=Server.Visibility.PUBLIC)
        _take_over(server, one, tag)
        servers.append(server)
    Server.objects.bulk_create(servers)
    rows = [_source_record(one, server) for one, server in zip(records, servers, strict=True)]
    SourceRecord.objects.bulk_create(rows)
    return list(zip(servers, records, strict=True))


def _source_record(record: CatalogueRecord, server: Server) -> SourceRecord:
    row = SourceRecord(source=record.source, external_id=record.external_id, server=server)
    _take_down(row, record)
    return row


def _take_down(row: SourceRecord, record: CatalogueRecord) -> None:
    row.data = dict(record.data)
    row.version = record.columns.get("version", "")
    row.content_hash = _hash(record)
    row.removed_at = None
    row.fetched_at = timezone.now()


def _take_over(server: Server, record: CatalogueRecord, tag: str) -> None:
    """The server's columns as the catalogue has them; tags are only ever added to."""
    for name in MAPPED:
        if name in record.columns and name != "tags":
            setattr(server, name, record.columns[name])
    server.tags = list(dict.fromkeys([*server.tags, *record.columns.get("tags", ()), *([tag] if tag else [])]))
    if server.tools_synced_at is None:
        server.tool_count = len(record.tools)
    server.updated_at = timezone.now()
    describe(server)


def _update(
    records: Sequence[CatalogueRecord], known: dict[tuple[str, str], SourceRecord], tag: str
) -> list[tuple[Server, CatalogueRecord]]:
    rows = [known[_key(one)] for one in records]
    before = {row.server_id: row.server.content_hash for row in rows}
    for row, one in zip(rows, records, strict=True):
        _take_over(row.server, one, tag)
        _take_down(row, one)
    servers = [row.server for row in rows]
    Server.objects.bulk_update(servers, [*MAPPED, "tool_count", "search_text", "content_hash", "updated_at"])
    SourceRecord.objects.bulk_update(rows, ["data", "version", "content_hash", "removed_at", "fetched_at"])
    reworded = [server.pk for server in servers if server.content_hash != before[server.pk]]
    Server.objects.filter(pk__in=reworded).update(embedding=None)
    return list(zip(servers, records, strict=True))


def _write_tools(stored: Sequence[tuple[Server, CatalogueRecord]]) -> None:
    """The tools a catalogue lists, for servers nobody has asked themselves yet; equal ones are left as they are."""
    listed = {
        (server.pk, tool.name): _tool(server, tool)
        for server, record in stored
        if server.tools_synced_at is None
        for tool in record.tools
    }
    servers = [server.pk for server, _ in stored if server.tools_synced_at is None]
    present = Tool.objects.filter(server__in=servers).values_list("server_id", "name", "schema_hash", "pk")
    same = {(server_id, name) for server_id, name, digest, _ in present if _has(listed, server_id, name, digest)}
    Tool.objects.filter(pk__in=[pk for server_id, name, _, pk in present if (server_id, name) not in same]).delete()
    Tool.objects.bulk_create([tool for key, tool in listed.items() if key not in same], batch_size=500)


def _has(listed: dict[tuple[Any, str], Tool], server_id: Any, name: str, digest: str) -> bool:
    tool = listed.get((server_id, name))
    return tool is not None and tool.schema_hash == digest


def _tool(server: Server, listed: ToolDefinition) -> Tool:
    text = text_of(
        name=listed.name, title=listed.title, description=listed.description, input_schema=listed.input_schema
    )
    return Tool(
        server=server,
        **asdict(listed),
        schema_hash=schema_hash(listed),
        content_hash=content_hash(text),
        search_text=text,
    )


def _add_tag(server_ids: Sequence[Any], tag: str) -> None:
    if tag:
        untagged = Server.objects.filter(pk__in=server_ids).exclude(tags__contains=[tag])
        untagged.update(tags=Func(F("tags"), Value(tag), function="array_append"))


def _mark_removed(rows: Sequence[SourceRecord], hashes: dict[tuple[str, str], str]) -> None:
    """Their catalogue took them back: servers known from there alone are deleted for everybody."""
    now = timezone.now()
    for row in rows:
        row.removed_at = now
        row.content_hash = hashes.get(_key(row), row.content_hash)
    SourceRecord.objects.bulk_update(rows, ["removed_at", "content_hash"])
    elsewhere = SourceRecord.objects.filter(server=OuterRef("pk"), removed_at=None)
    gone = Server.objects.filter(~Exists(elsewhere), pk__in=[row.server_id for row in rows])
    gone.update(status=Server.Status.DELETED, updated_at=now)


def _remove_missing(source: str, seen: set[tuple[str, str]], dry_run: bool) -> int:
    """What this catalogue listed before and lists no longer."""
    rows = SourceRecord.objects.filter(source=source, removed_at=None).defer("data")
    missing = [row for row in rows if _key(row) not in seen]
    if missing and not dry_run:
        with transaction.atomic():
            _mark_removed(missing, {})
    return len(missing)


def _close(run: ImportRun, outcome: Outcome) -> None:
    run.status = ImportRun.Status.FAILED if outcome.error else ImportRun.Status.SUCCEEDED
    run.error = outcome.error
    run.counts = asdict(outcome.counts)
    run.rejected = outcome.rejected
    run.finished_at = timezone.now()
    run.save()
