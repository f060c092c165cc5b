"""What was said, by whom, and which run it started."""

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Count, Exists, F, Min, OuterRef, Q
from django.utils import timezone
from django.utils.text import slugify

from chains.models import Run

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def owned_by(self, user: "User | AnonymousUser") -> "ConversationQuerySet":
        return self.filter(owner_id=user.pk)

    def about(self, words: str) -> "ConversationQuerySet":
        """Each of the words stands in the title or in a message."""
        found = self
        for word in words.split():
            said = Message.objects.filter(conversation=OuterRef("pk"), content__icontains=word)
            found = found.filter(Q(title__icontains=word) | Exists(said))
        return found

    def to_tidy(self, before: datetime | None, *, long: int) -> "ConversationQuerySet":
        """Those with messages to prune, and those with so many that are in no summary yet."""
        unsummarised = Q(summarised_until=None) | Q(messages__created_at__gt=F("summarised_until"))
        counted = self.annotate(unsummarised=Count("messages", filter=unsummarised), oldest=Min("messages__created_at"))
        due = Q(unsummarised__gt=long)
        if before is not None:
            due |= Q(pinned=False, oldest__lt=before)
        return counted.filter(due).order_by("updated_at")


class Conversation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=200, blank=True)
    summary = models.TextField(blank=True, help_text="what the messages that were pruned said")
    summarised_until = models.DateTimeField(null=True, blank=True, help_text="messages up to then are in the summary")
    pinned = models.BooleanField(default=False, help_text="its messages are never pruned")
    preview = models.BooleanField(default=False, help_text="a plan is shown and approved before anything of it runs")
    provider = models.CharField(max_length=32, blank=True, help_text="of the model; empty: the server's own choice")
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

    @property
    def export_name(self) -> str:
        return f"{slugify(str(self))[:60] or 'conversation'}"

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
        ASKING = "asking"  # what it asks for is still to be told; then it becomes the answer

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="children",
        help_text="of a question: the question before it; of an answer: its question",
    )
    role = models.CharField(max_length=16, choices=Role)
    content = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.DONE)
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="messages")
    provider = models.CharField(max_length=32, blank=True, help_text="of the model, or offline")
    model = models.CharField(max_length=128, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    model_calls = models.PositiveIntegerField(default=0)
    model_seconds = models.FloatField(default=0)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True, help_text="where known")
    note = models.TextField(blank=True, help_text="what the reader should know about how this was made")
    attempt = models.PositiveIntegerField(default=1, help_text="of the run, which this belongs to")
    planning = models.JSONField(
        null=True,
        blank=True,
        help_text="of a question: how it was planned (chat.planner.Planning.as_json)",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "messages"
        ordering = ["created_at", "id"]
        constraints = [models.UniqueConstraint(fields=["run", "role"], name="one_message_per_run_and_role")]
        indexes = [models.Index(fields=["conversation", "created_at"], name="message_in_order")]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:60]}"
