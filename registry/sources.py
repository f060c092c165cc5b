"""Catalogues that are read by themselves: from where, with which key, when, and starting one now."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Least
from django.utils import timezone

from registry import queues
from registry.catalogues import is_being_read
from registry.credentials import CredentialsLost, decrypt, encrypt
from registry.importers import IMPORTERS
from registry.importers.base import ImportOptions
from registry.models import CatalogueSource, ImportRun

SCHEDULED = tuple(name for name in IMPORTERS if name != "file")
IMPORT_JOB = "registry.jobs.run_import"
FULL_EVERY = timedelta(days=7)  # between them an import asks for what changed since the last one, where it can
CLOCKS_DIFFER_BY = timedelta(minutes=10)
RETRY_AFTER, MAX_DOUBLINGS = timedelta(minutes=15), 10
SILENT_FOR = timedelta(minutes=2)  # and not being read: its process was killed
KEY = "api_key"


def source_named(name: str) -> CatalogueSource:
    return CatalogueSource.objects.filter(name=name).first() or CatalogueSource(name=name)


def options_for(source: str, *, incremental: bool = False, **given: Any) -> ImportOptions:
    """What was given, else what the Sources page says. `incremental`: only what changed since the last import, but
    everything now and then, and where the catalogue cannot say."""
    told = ImportOptions(**given)
    kept = CatalogueSource.objects.filter(name=source).first()
    if kept is not None:
        told = replace(told, url=told.url or kept.url, api_key=told.api_key or _key_of(kept))
        told = replace(told, is_own=not told.url or told.url != kept.url)  # what is written on a page is not
    if incremental and not told.updated_since and IMPORTERS[source].is_incremental:
        told = replace(told, updated_since=_since(source, told.url))
    return told


def resumed_options(run: ImportRun) -> ImportOptions:
    """Those of a run that was cut off."""
    told = {name: run.options.get(name) or "" for name in ("url", "path", "updated_since")}
    return options_for(run.source, incremental=False, **told)


def _key_of(source: CatalogueSource) -> str:
    try:
        return decrypt(source.api_key_encrypted).get(KEY, "")
    except CredentialsLost:
        return ""


def _since(source: str, url: str) -> str:
    """When the last import began, if a complete one is not too long ago; else nothing."""
    done = ImportRun.objects.filter(source=source, status=ImportRun.Status.SUCCEEDED, options__url=url)
    full = done.filter(is_complete=True, started_at__gte=timezone.now() - FULL_EVERY)
    last = done.filter(options__limit=None).first()
    return _rfc3339(last.started_at - CLOCKS_DIFFER_BY) if last and full.exists() else ""


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def save_source(*, name: str, is_enabled: bool, every_hours: int, url: str, api_key: str, forget_key: bool) -> None:
    """An empty key leaves the stored one. A source that is switched on is due at once."""
    with transaction.atomic():
        CatalogueSource.objects.get_or_create(name=name)
        source = CatalogueSource.objects.select_for_update().get(name=name)
        if is_enabled and not source.is_enabled:
            source.next_at = timezone.now()
        elif source.every_hours != every_hours:
            source.next_at = min(source.next_at, timezone.now() + timedelta(hours=every_hours))
        source.is_enabled, source.every_hours, source.url = is_enabled, every_hours, url
        if api_key or forget_key:
            source.api_key_encrypted = encrypt({KEY: api_key} if api_key else {})
        source.save()


def schedule_by_default(*, name: str) -> None:
    """Read it by itself, unless staff said otherwise; and now, where it has never been read."""
    source, _ = CatalogueSource.objects.get_or_create(name=name, defaults={"is_enabled": True})
    was_read = ImportRun.objects.filter(source=name, status=ImportRun.Status.SUCCEEDED).exists()
    if source.is_enabled and not was_read:
        CatalogueSource.objects.filter(pk=source.pk).update(next_at=timezone.now())
    queue_due_imports()


def retry_soon(*, source: str) -> None:
    """After an import that failed: again before its usual time, but later after each further failure in a row."""
    runs = ImportRun.objects.filter(source=source)
    last = runs.filter(status=ImportRun.Status.SUCCEEDED).first()
    failed = runs.filter(status=ImportRun.Status.FAILED)
    failures = failed.filter(started_at__gt=last.started_at).count() if last else failed.count()
    pause = RETRY_AFTER * 2 ** min(max(failures, 1) - 1, MAX_DOUBLINGS)
    again = Least(F("next_at"), Value(timezone.now() + pause))
    CatalogueSource.objects.filter(name=source, is_enabled=True).update(next_at=again)


def queue_import(*, source: str) -> ImportRun:
    """The run that will read it: the one that is under way or waiting, where there is one."""
    with transaction.atomic():
        running = ImportRun.objects.filter(source=source, status=ImportRun.Status.RUNNING).first()
        if running and is_being_read(source):
            return running
        run, _ = ImportRun.objects.get_or_create(source=source, status=ImportRun.Status.QUEUED)
        transaction.on_commit(lambda: _enqueue([run.pk]))
    return run


def queue_due_imports() -> int:
    """How many: sources whose time has come, each once however many ask at the same moment, and what was cut off."""
    with transaction.atomic():
        due = list(CatalogueSource.objects.due().filter(name__in=SCHEDULED).select_for_update(skip_locked=True))
        for source in due:
            source.next_at = timezone.now() + timedelta(hours=source.every_hours)
        CatalogueSource.objects.bulk_update(due, ["next_at"])
        waiting = ImportRun.objects.unfinished().filter(source__in=[source.name for source in due])
        busy = set(waiting.values_list("source", flat=True))
        new = [ImportRun(source=one.name, status=ImportRun.Status.QUEUED) for one in due if one.name not in busy]
        runs = ImportRun.objects.bulk_create(new)
        ids = [run.pk for run in (*runs, *_cut_off())]
        transaction.on_commit(lambda: _enqueue(ids))
    return len(ids)


def _cut_off() -> list[ImportRun]:
    """Runs whose process was killed, and those whose job Redis forgot."""
    silent = ImportRun.objects.unfinished().filter(source__in=SCHEDULED, progress_at__lt=timezone.now() - SILENT_FOR)
    return [run for run in silent if not is_being_read(run.source)]


def _enqueue(run_ids: list[int]) -> None:
    queue = queues.queue("catalogue")
    queue.enqueue_many([queue.prepare_data(IMPORT_JOB, args=(run_id,)) for run_id in run_ids])
