"""What catalogues say about servers, and when they were read."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone


class SourceRecordQuerySet(models.QuerySet["SourceRecord"]):
    def live(self) -> "SourceRecordQuerySet":
        """Records their catalogue still lists."""
        return self.filter(removed_at=None)

    def light(self) -> "SourceRecordQuerySet":
        """Without the record as it came, which is most of a row."""
        return self.defer("data")


class SourceRecord(models.Model):
    """What one catalogue says about a server, as it said it."""

    server = models.ForeignKey("registry.Server", on_delete=models.CASCADE, related_name="source_records")
    source = models.CharField(max_length=32)
    external_id = models.CharField(max_length=512)
    version = models.CharField(max_length=255, blank=True)
    data = models.JSONField(default=dict)
    content_hash = models.CharField(max_length=64)
    columns: Any = models.JSONField(default=dict, help_text="what it says of the server's columns")
    identity: Any = ArrayField(
        models.TextField(), default=list, help_text="keys it shares with records of the same server"
    )
    marks: Any = ArrayField(
        models.CharField(max_length=64), default=list, blank=True, help_text="tags given when it was imported"
    )
    tool_count = models.PositiveIntegerField(default=0, help_text="tools it lists")
    removed_at = models.DateTimeField(null=True, blank=True)
    fetched_at = models.DateTimeField(default=timezone.now, help_text="when it last was new or changed")
    seen_at = models.DateTimeField(default=timezone.now, help_text="when a complete reading last listed it")

    objects = SourceRecordQuerySet.as_manager()

    class Meta:
        db_table = "source_records"
        constraints = [models.UniqueConstraint(fields=["source", "external_id"], name="one_record_per_source_and_id")]
        indexes = [
            GinIndex(fields=["identity"], name="source_record_identity"),
            models.Index(fields=["source", "server"], name="source_record_listed", condition=Q(removed_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.source}: {self.external_id}"


class ImportRunQuerySet(models.QuerySet["ImportRun"]):
    def newest_of_each(self) -> "ImportRunQuerySet":
        return self.order_by("source", "-started_at").distinct("source")

    def unfinished(self) -> "ImportRunQuerySet":
        return self.filter(status__in=[ImportRun.Status.QUEUED, ImportRun.Status.RUNNING])


class ImportRun(models.Model):
    """One reading of a catalogue: when, how it went, what it counted, and where a reading that was cut off goes on."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    source = models.CharField(max_length=32)
    status = models.CharField(max_length=16, choices=Status, default=Status.RUNNING)
    error = models.TextField(blank=True)
    counts: Any = models.JSONField(default=dict, blank=True, help_text="created, updated, unchanged, removed, rejected")
    rejected: Any = models.JSONField(default=list, blank=True, help_text="[{external_id, reason}], the first hundred")
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    options: Any = models.JSONField(default=dict, blank=True, help_text="url, path, updated_since, tag, limit")
    is_complete = models.BooleanField(default=False, help_text="lists everything: what it lacks has been removed")
    cursor = models.TextField(blank=True, help_text="where the catalogue is read on after a cut")
    done = models.PositiveIntegerField(default=0, help_text="records read")
    total = models.PositiveIntegerField(null=True, blank=True, help_text="records in the catalogue, as far as known")
    progress_at = models.DateTimeField(default=timezone.now)

    objects = ImportRunQuerySet.as_manager()

    class Meta:
        db_table = "import_runs"
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["source"], condition=Q(status="queued"), name="one_queued_import_per_source"
            )
        ]
        indexes = [models.Index(fields=["source", "-started_at"], name="import_newest")]

    def __str__(self) -> str:
        return f"{self.source} {self.status} {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def is_queued(self) -> bool:
        return self.status == self.Status.QUEUED

    @property
    def is_unfinished(self) -> bool:
        return self.status in {self.Status.QUEUED, self.Status.RUNNING}

    @property
    def percent(self) -> int | None:
        return min(100, self.done * 100 // self.total) if self.total else None


class CatalogueSourceQuerySet(models.QuerySet["CatalogueSource"]):
    def due(self) -> "CatalogueSourceQuerySet":
        return self.filter(is_enabled=True, next_at__lte=timezone.now())


class CatalogueSource(models.Model):
    """How a catalogue is read by itself: how often, from where, with which key."""

    name = models.CharField(max_length=32, unique=True)
    is_enabled = models.BooleanField(default=False)
    every_hours = models.PositiveIntegerField(default=24)
    url = models.TextField(blank=True, help_text="base of the catalogue instead of the configured one")
    api_key_encrypted = models.BinaryField(default=b"", editable=False)
    next_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = CatalogueSourceQuerySet.as_manager()

    class Meta:
        db_table = "catalogue_sources"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="catalogue_interval_is_hours", condition=Q(every_hours__gte=1, every_hours__lte=8760)
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_due(self) -> bool:
        return self.next_at <= timezone.now()
