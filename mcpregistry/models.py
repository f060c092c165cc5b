"""What belongs to no app: what a token may do, and who did what."""

from django.db import models
from knox.models import AuthToken


class TokenGrant(models.Model):
    """The name of an API token and what it may do. A token without one is from before there were any: it may all."""

    class Scope(models.TextChoices):
        READ = "read", "read"
        RUN = "run", "read and run: chat, plans, tools, connection tests"
        ADMIN = "admin", "everything you may"

    token = models.OneToOneField(AuthToken, models.CASCADE, primary_key=True, related_name="grant")
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=8, choices=Scope.choices)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(scope__in=["read", "run", "admin"]), name="token_grant_scope")
        ]

    def __str__(self) -> str:
        return self.name


class AuditEntry(models.Model):
    """One change that somebody made by a page or the API. A trigger of the database lets no row be changed or removed.

    Names instead of references: what it tells of may be gone since.
    """

    at = models.DateTimeField(auto_now_add=True)
    user_id = models.BigIntegerField(null=True)
    username = models.CharField(max_length=150, blank=True)
    token_key = models.CharField(max_length=25, blank=True)
    address = models.CharField(max_length=64, blank=True)
    method = models.CharField(max_length=8)
    action = models.CharField(max_length=200)
    object = models.CharField(max_length=500, blank=True)
    made = models.CharField(max_length=500, blank=True)
    status = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["username", "-id"], name="audit_by_user"),
            models.Index(fields=["object", "-id"], name="audit_by_object"),
            models.Index(fields=["at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.username or 'nobody'}: {self.method} {self.object or self.action}"
