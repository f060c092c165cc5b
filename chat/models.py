"""What was said, by whom, and which run it started."""

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.utils import timezone

from chains.models import Run

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def owned_by(self, user: "User | AnonymousUser") -> "ConversationQuerySet":
        return self.filter(owner_id=user.pk)


class Conversation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=200, blank=True)
    summary = models.TextField(blank=True, help_text="what the messages that were pruned said")
    pinned = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now, help_text="when the newest message came")

    objects = ConversationQuerySet.as_manager()

    class Meta:
        db_table = "conversations"
        ordering = ["-updated_at", "-id"]
        indexes = [models.Index(fields=["owner", "-updated_at"], name="conversation_newest")]

    def __str__(self) -> str:
        return self.title or "New conversation"

    def get_absolute_url(self) -> str:
        return f"/?conversation={self.id}"

    def runs(self) -> "models.QuerySet[Run]":
        """What its messages started, oldest first, with their steps."""
        return Run.objects.filter(conversation_id=self.pk).order_by("created_at", "id").prefetch_related("tool_runs")


class Message(models.Model):
    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    class Status(models.TextChoices):
        STREAMING = "streaming"
        DONE = "done"
        STOPPED = "stopped"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    role = models.CharField(max_length=16, choices=Role)
    content = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.DONE)
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="messages")
    provider = models.CharField(max_length=32, blank=True, help_text="openai, anthropic or offline")
    model = models.CharField(max_length=128, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    note = models.TextField(blank=True, help_text="what the reader should know about how this was made")
    attempt = models.PositiveIntegerField(default=1, help_text="of the run, which this belongs to")
    planning = models.JSONField(
        null=True,
        blank=True,
        help_text="of a question: how it was planned {provider, model, note, say, missing, problems, tools, took_ms}",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "messages"
        ordering = ["created_at", "id"]
        constraints = [models.UniqueConstraint(fields=["run", "role"], name="one_message_per_run_and_role")]
        indexes = [models.Index(fields=["conversation", "created_at"], name="message_in_order")]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:60]}"
