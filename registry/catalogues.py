"""Reading a catalogue: batch by batch, one bad record never stopping the rest, resumable where it was cut off."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Any

from django.db import DataError, IntegrityError, connection
from django.utils import timezone

from registry.importers.base import (
    CatalogueError,
    CatalogueRecord,
    Checkpoint,
    Importer,
    ImportOptions,
    Item,
    RejectedRecord,
)
from registry.models import ImportRun, SourceRecord
from registry.previews import Preview, previews
from registry.search.indexing import refresh_terms
from registry.services.listing import Changes, remove_records, store_records

BATCH_SIZE = 200
MAX_REJECTED_KEPT = 100
MAX_PREVIEWS = 20
RESUMED_WITHIN = timedelta(days=1)

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

    def add(self, changes: Changes) -> None:
        self.created += len(changes.created)
        self.updated += len(changes.updated)
        self.removed += len(changes.removed)
        self.unchanged += changes.unchanged

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: count + getattr(other, name) for name, count in asdict(self).items()})

    @property
    def is_news(self) -> bool:
        return bool(self.created or self.updated or self.removed)

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in asdict(self).items())


@dataclass(slots=True)
class Outcome:
    counts: Counts = field(default_factory=Counts)
    rejected: list[dict[str, str]] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)  # of a dry run: the first changes
    error: str = ""
    seconds: float = 0.0

    def reject(self, record: RejectedRecord) -> None:
        self.counts.rejected += 1
        if len(self.rejected) < MAX_REJECTED_KEPT:
            self.rejected.append({"external_id": record.external_id, "reason": record.reason})


class AlreadyReading(Exception):
    """This catalogue is being read by somebody else right now."""


def read_catalogue(
    *,
    importer: Importer,
    options: ImportOptions,
    tag: str = "",
    limit: int | None = None,
    dry_run: bool = False,
    run: ImportRun | None = None,
    report: Report = lambda counts: None,
) -> Outcome:
    """Read a catalogue and store what it says; what a batch committed stays, whatever happens afterwards.

    A catalogue that cannot be read on ends the reading, with the reason in `error`. Servers that a complete reading no
    longer lists are removed. A dry run only counts. A reading that was cut off with these options goes on where it
    was; a queued `run` gives way to it. Raises AlreadyReading.
    """
    if dry_run:
        return _Reading(importer, options, tag, limit, None, report).read()
    with _alone(importer.name):
        run = _run_of(run, importer, options, tag, limit)
        return _Reading(importer, options, tag, limit, run, report).read()


def is_being_read(source: str) -> bool:
    try:
        with _alone(source):
            return False
    except AlreadyReading:
        return True


@contextmanager
def _alone(source: str) -> Iterator[None]:
    """A lock of the database session: it goes with the process, however that ends."""
    number = int.from_bytes(hashlib.sha256(f"import {source}".encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [number])
        if not cursor.fetchone()[0]:
            raise AlreadyReading(f"An import of {source} is under way.")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [number])


def _told(options: ImportOptions, tag: str, limit: int | None) -> dict[str, Any]:
    return {
        "url": options.url,
        "path": options.path,
        "updated_since": options.updated_since,
        "tag": tag,
        "limit": limit,
    }


def _run_of(
    run: ImportRun | None, importer: Importer, options: ImportOptions, tag: str, limit: int | None
) -> ImportRun:
    """The one to write down: one that was cut off, the given one, or a new one."""
    if run is not None and not run.is_queued:
        return run
    resumed = _run_to_resume(importer, options, tag, limit)
    if run is not None and resumed is not None:
        run.delete()
    return resumed or run or ImportRun(source=importer.name)


def _run_to_resume(importer: Importer, options: ImportOptions, tag: str, limit: int | None) -> ImportRun | None:
    """The last reading with these options, where it was cut off at a place to go on from."""
    last = ImportRun.objects.filter(source=importer.name).exclude(status=ImportRun.Status.QUEUED).first()
    if last is None or last.status == ImportRun.Status.SUCCEEDED or not last.cursor:
        return None
    if last.progress_at < timezone.now() - RESUMED_WITHIN:  # too much will have changed before that place
        return None
    return last if last.options == _told(options, tag, limit) else None


@dataclass
class _Reading:
    """One reading of a catalogue. Its ImportRun says at any moment how far it is; a dry run has none."""

    importer: Importer
    options: ImportOptions
    tag: str
    limit: int | None
    run: ImportRun | None
    report: Report
    outcome: Outcome = field(default_factory=lambda: Outcome(error="It was interrupted."))
    before: Counts = field(default_factory=Counts)  # of the part of the run that was cut off
    seen: set[tuple[str, str]] = field(default_factory=set)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    @property
    def is_complete(self) -> bool:
        return self.limit is None and self.importer.is_complete(self.options)

    def read(self) -> Outcome:
        started = time.monotonic()
        self._open()
        try:
            self._read_batches()
            if self.is_complete and self.seen:
                self.outcome.counts.removed += self._remove_missing()
            self.outcome.error = ""
            self.checkpoint = Checkpoint()
        except CatalogueError as error:
            self.outcome.error = str(error)
            if not self.seen:  # perhaps the place to go on from is not known there any more
                self.checkpoint = Checkpoint()
        finally:
            self.outcome.seconds = time.monotonic() - started
            self._close()
        if self.outcome.counts.is_news and self.run:
            refresh_terms()
        return self.outcome

    def _open(self) -> None:
        run = self.run
        if run is None:
            return
        self.options = replace(self.options, cursor=run.cursor)
        self.checkpoint = Checkpoint(run.cursor, run.total)
        if run.cursor:
            self.before, self.outcome.rejected = Counts(**run.counts), list(run.rejected)
        else:
            run.started_at, run.done, run.total = timezone.now(), 0, self._expected()
        run.status, run.error, run.finished_at = ImportRun.Status.RUNNING, "", None
        run.options, run.is_complete = _told(self.options, self.tag, self.limit), self.is_complete
        run.save()

    def _expected(self) -> int | None:
        """As many as the last complete reading found, until the catalogue says how many there are."""
        last = ImportRun.objects.filter(
            source=self.importer.name, status=ImportRun.Status.SUCCEEDED, is_complete=True
        ).first()
        return last.done if last and self.is_complete else None

    def _read_batches(self) -> None:
        for batch in _batches(_limited(self.importer.records(self.options), self.limit)):
            usable = [item for item in batch if isinstance(item, CatalogueRecord) and self._is_first(item)]
            for item in batch:
                if isinstance(item, RejectedRecord):
                    self.outcome.reject(item)
                    self.seen.add((self.importer.name, item.external_id))
                elif isinstance(item, Checkpoint):
                    self.checkpoint = item
            self._store(usable)
            self._note([item.external_id for item in batch if isinstance(item, RejectedRecord)])
            self.report(self.outcome.counts)

    def _is_first(self, record: CatalogueRecord) -> bool:
        key = record.source, record.external_id
        if key in self.seen:
            self.outcome.reject(RejectedRecord(record.external_id, "It is listed twice."))
            return False
        self.seen.add(key)
        return True

    def _store(self, records: Sequence[CatalogueRecord]) -> None:
        """A batch in one transaction; where the database refuses it, its halves, down to the record to blame."""
        if not records:
            return
        try:
            changes = store_records(records=records, tag=self.tag, dry_run=self.run is None)
        except (DataError, IntegrityError) as error:
            if len(records) == 1:
                self.outcome.reject(RejectedRecord(records[0].external_id, f"The database refused it: {error}"[:500]))
                return
            middle = len(records) // 2
            self._store(records[:middle])
            self._store(records[middle:])
            return
        self.outcome.counts.add(changes)
        if self.run is None and len(self.outcome.previews) < MAX_PREVIEWS:
            self.outcome.previews += previews(changes)[: MAX_PREVIEWS - len(self.outcome.previews)]

    def _note(self, rejected: Sequence[str]) -> None:
        """How far it is. A record we cannot use is not one that was removed."""
        if self.run is None:
            return
        if rejected and self.is_complete:
            bad = SourceRecord.objects.filter(source=self.importer.name, external_id__in=rejected)
            bad.update(seen_at=timezone.now())
        self._tell(self.run)
        self.run.save(update_fields=["counts", "rejected", "cursor", "done", "total", "progress_at"])

    def _tell(self, run: ImportRun) -> None:
        total = self.before + self.outcome.counts
        run.counts, run.rejected = asdict(total), self.outcome.rejected
        run.cursor, run.done = self.checkpoint.cursor, total.read
        run.total = self.checkpoint.total or run.total
        run.progress_at = timezone.now()

    def _remove_missing(self) -> int:
        """What this catalogue listed before and lists no longer."""
        rows = SourceRecord.objects.live().filter(source=self.importer.name)
        if self.run is None:
            return sum(key not in self.seen for key in rows.values_list("source", "external_id"))
        missing = list(rows.light().filter(seen_at__lt=self.run.started_at))
        for start in range(0, len(missing), BATCH_SIZE):
            remove_records(rows=missing[start : start + BATCH_SIZE])
        return len(missing)

    def _close(self) -> None:
        run = self.run
        if run is None:
            return
        self._tell(run)
        run.status = ImportRun.Status.FAILED if self.outcome.error else ImportRun.Status.SUCCEEDED
        run.error, run.finished_at = self.outcome.error, timezone.now()
        run.save()


def _limited(items: Iterator[Item], limit: int | None) -> Iterator[Item]:
    """No more than `limit` records; checkpoints do not count, and a limited reading cannot be gone on with."""
    if limit is None:
        return items
    return islice((item for item in items if not isinstance(item, Checkpoint)), limit)


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    """What was read before an error of the reading comes first, then the error."""
    error: CatalogueError | None = None
    while error is None:
        batch: list[Item] = []
        try:
            for item in islice(items, BATCH_SIZE):
                batch.append(item)
        except CatalogueError as raised:
            error = raised
        if not batch:
            break
        yield batch
    if error:
        raise error
