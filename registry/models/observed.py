"""What was seen of servers: tests of their connections, and tools as somebody accepted them."""

from typing import TYPE_CHECKING

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
