"""What was seen of servers: tests of their connections, tools as accepted, and what catalogues say about them."""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from registry.models.base import Health

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


class HealthCheckQuerySet(models.QuerySet["HealthCheck"]):
    def shared(self) -> "HealthCheckQuerySet":
        """Those that speak of the server, not of somebody's credentials."""
        return self.filter(user=None)

    def seen_by(self, user: "User | AnonymousUser") -> "HealthCheckQuerySet":
        return self.filter(Q(user=None) | Q(user_id=user.pk))


class HealthCheck(models.Model):
    """One test of a server's connection, whatever it found."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="with whose own credentials, and then for their eyes only; empty: for everybody",
    )
    server = models.ForeignKey("registry.Server", on_delete=models.CASCADE, related_name="healthchecks")
    health = models.CharField(max_length=16, choices=Health)
    detail = models.TextField(blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    protocol_version = models.CharField(max_length=32, blank=True)
    server_name = models.CharField(max_length=255, blank=True)
    server_version = models.CharField(max_length=255, blank=True)
    tool_count = models.PositiveIntegerField(default=0)
    model_count = models.PositiveIntegerField(default=0)
    changes = models.JSONField(default=dict, blank=True, help_text="tool names: added, removed, changed")
    checked_at = models.DateTimeField(default=timezone.now)

    objects = HealthCheckQuerySet.as_manager()

    class Meta:
        db_table = "healthchecks"
        ordering = ["-checked_at"]
        indexes = [models.Index(fields=["server", "-checked_at"], name="healthcheck_newest")]

    def __str__(self) -> str:
        return f"{self.server_id} {self.health} {self.checked_at:%Y-%m-%d %H:%M}"


class Definition(models.Model):
    """A definition of a tool that somebody accepted, kept to show what changed since."""

    schema_hash = models.CharField(max_length=64, primary_key=True)
    title = models.CharField(max_length=512, blank=True)
    description = models.TextField(blank=True)
    input_schema = models.JSONField(default=dict)
    output_schema = models.JSONField(null=True, blank=True)
    annotations = models.JSONField(default=dict, blank=True)
    kept_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "tool_definitions"

    def __str__(self) -> str:
        return self.schema_hash


class SourceRecord(models.Model):
    """What one catalogue says about a server, as it said it."""

    server = models.ForeignKey("registry.Server", on_delete=models.CASCADE, related_name="source_records")
    source = models.CharField(max_length=32)
    external_id = models.CharField(max_length=512)
    version = models.CharField(max_length=255, blank=True)
    data = models.JSONField(default=dict)
    content_hash = models.CharField(max_length=64)
    removed_at = models.DateTimeField(null=True, blank=True)
    fetched_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "source_records"
        constraints = [models.UniqueConstraint(fields=["source", "external_id"], name="one_record_per_source_and_id")]

    def __str__(self) -> str:
        return f"{self.source}: {self.external_id}"


class ImportRun(models.Model):
    """One reading of a catalogue: when, how it went, what it counted."""

    class Status(models.TextChoices):
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

    class Meta:
        db_table = "import_runs"
        ordering = ["-started_at"]
        indexes = [models.Index(fields=["source", "-started_at"], name="import_newest")]

    def __str__(self) -> str:
        return f"{self.source} {self.status} {self.started_at:%Y-%m-%d %H:%M}"
