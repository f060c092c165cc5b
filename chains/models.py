"""Plans kept as templates, their runs, and the journal of every call and event."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Subquery, Window
from django.db.models.functions import Cast, Coalesce, RowNumber
from django.utils import timezone
from pgvector.django import VectorField

from registry.models import EMBEDDING_DIMENSIONS, OwnedQuerySet, Policy, Server, Shareable, SharedQuerySet, Tool

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

RESULTS_SEEN = 50


class TemplateQuerySet(SharedQuerySet):
    def with_last_run(self, user: "User | AnonymousUser") -> Self:
        """`last_run_id`: of this user's newest run of it, or None."""
        runs = Run.objects.owned_by(user).filter(template=OuterRef("pk"))
        newest = runs.order_by("-created_at").values("pk")[:1]
        return self.annotate(last_run_id=Subquery(newest))


class Template(Shareable):
    """A saved plan: run again from the sidebar or by API."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="templates")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    plan = models.JSONField()
    tool_hashes = models.JSONField(default=dict, blank=True, help_text="'server/tool' → schema_hash when saved")
    version = models.PositiveIntegerField(default=1)
    plan_saved_at = models.DateTimeField(default=timezone.now, help_text="when this version of the plan was saved")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TemplateQuerySet.as_manager()

    class Meta:
        db_table = "user_templates"
        ordering = ["-created_at", "-id"]
        indexes = [Shareable.index("template_of_team")]

    def __str__(self) -> str:
        return self.name


class TemplateVersion(models.Model):
    """A plan a template had before its present one."""

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="former")
    version = models.PositiveIntegerField()
    plan = models.JSONField()
    saved_at = models.DateTimeField(help_text="when this version was saved, not when it was replaced")
    saved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        db_table = "template_versions"
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(fields=["template", "version"], name="one_row_per_template_version"),
        ]

    def __str__(self) -> str:
        return f"{self.template_id} version {self.version}"


class Schedule(models.Model):
    """When a template runs by itself, in UTC. Whoever moves `next_at` on starts the run."""

    class Unit(models.TextChoices):
        HOUR = "hour", "hours"
        DAY = "day", "days"
        CRON = "cron", "by a cron expression"

    template = models.OneToOneField(Template, on_delete=models.CASCADE, related_name="schedule")
    every = models.PositiveSmallIntegerField(default=1, help_text="so many hours or days")
    unit = models.CharField(max_length=8, choices=Unit, default=Unit.DAY)
    at = models.TimeField(help_text="of the day; of the hour only its minutes count")
    cron = models.CharField(
        max_length=100, blank=True, help_text="minute hour day month weekday, where the unit is cron"
    )
    inputs = models.JSONField(default=dict, blank=True)
    next_at = models.DateTimeField(db_index=True)
    last_run = models.ForeignKey("Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    error = models.TextField(blank=True, help_text="why the last run could not be started")

    class Meta:
        db_table = "schedules"
        constraints = [
            models.CheckConstraint(condition=Q(every__gte=1), name="schedule_every_at_least_one"),
            models.CheckConstraint(condition=~Q(unit="cron", cron=""), name="schedule_cron_has_expression"),
        ]

    def __str__(self) -> str:
        return f"{self.template_id} {self.words}"

    @property
    def words(self) -> str:
        if self.unit == self.Unit.CRON:
            return f"by “{self.cron}”"
        return f"every {self.unit}" if self.every == 1 else f"every {self.every} {self.unit}s"


class RunQuerySet(OwnedQuerySet):
    def unfinished(self) -> "RunQuerySet":
        return self.exclude(status__in=Run.FINISHED)

    def going(self) -> "RunQuerySet":
        """Not over, and waiting for nobody's word."""
        return self.filter(status__in=Run.GOING)

    def with_duration(self) -> "RunQuerySet":
        """`duration`: a timedelta of the runs that are over, else None."""
        return self.annotate(duration=F("finished_at") - Coalesce("started_at", "created_at"))

    def about(self, words: str) -> "RunQuerySet":
        """Each of the words stands in the template's name, a step's server or tool, the inputs or the error."""
        found = self
        for word in words.split():
            steps = ToolRun.objects.filter(Q(tool__icontains=word) | Q(server_slug__icontains=word), run=OuterRef("pk"))
            named = Q(template__name__icontains=word) | Q(error__message__icontains=word)
            found = found.alias(given=Cast("inputs", models.TextField())).filter(
                named | Q(given__icontains=word) | Exists(steps)
            )
        return found

    def before(self, run: "Run") -> "RunQuerySet":
        """Earlier runs of the same template, the newest first."""
        if run.template_id is None:
            return self.none()
        return self.owned_by(run.owner).filter(template=run.template_id, created_at__lt=run.created_at)

    def ended_before(self, moment: datetime | None) -> "RunQuerySet":
        return self.filter(status__in=Run.FINISHED, finished_at__lt=moment) if moment else self.none()

    def superseded(self) -> "RunQuerySet":
        """Without those that say how a template or its schedule went last for their owner."""
        newer = Run.objects.filter(
            owner=OuterRef("owner"), template=OuterRef("template"), created_at__gt=OuterRef("created_at")
        )
        last = Schedule.objects.filter(last_run=OuterRef("pk"))
        return self.filter(Q(template=None) | Exists(newer.filter(status__in=Run.FINISHED)), ~Exists(last))

    def abandoned(self) -> "RunQuerySet":
        """Runs that were acknowledged and that nobody drives: never started, or their driver's lease ran out."""
        return self.going().filter(Q(lease_expires_at=None) | Q(lease_expires_at__lt=timezone.now()))

    def first_of_each_owner(self, count: int) -> "RunQuerySet":
        """The oldest of every owner: who has many waiting does not stand before all others."""
        place = Window(RowNumber(), partition_by=F("owner"), order_by="created_at")
        return self.annotate(place=place).filter(place__lte=count)


class Run(models.Model):
    """A plan being carried out, or a chat turn being planned. This row, tool_runs and run_events are the truth."""

    class Kind(models.TextChoices):
        CHAT = "chat"
        CHAIN = "chain"

    class Status(models.TextChoices):
        QUEUED = "queued"
        PLANNING = "planning"
        AWAITING_APPROVAL = "awaiting_approval"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    FINISHED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
    GOING = (Status.QUEUED, Status.PLANNING, Status.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.CHAIN)
    status = models.CharField(max_length=20, choices=Status, default=Status.QUEUED)
    conversation_id = models.UUIDField(null=True, blank=True, db_index=True, help_text="a row of conversations")
    template = models.ForeignKey(Template, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs")
    inputs = models.JSONField(default=dict, blank=True)
    plan = models.JSONField(null=True, blank=True)
    outputs = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True, help_text="{code, message, step?}")
    approval = models.CharField(max_length=8, choices=Policy, blank=True, help_text="what the request asked for")
    attempt = models.PositiveIntegerField(default=1)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)
    request_hash = models.CharField(max_length=64, blank=True, help_text="sha256 of the request the key came with")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.PositiveBigIntegerField(default=0, help_text="fencing: only the newest holder may write")
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    last_seq = models.PositiveIntegerField(default=0, help_text="sequence number of the newest event")
    compacted_seq = models.PositiveIntegerField(default=0, help_text="up to here its bulky events are gone")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        db_table = "runs"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "idempotency_key"], name="one_run_per_idempotency_key"),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="run_newest"),
            models.Index(fields=["template", "-created_at"], name="run_of_template"),
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(status__in=["queued", "planning", "running"]),
                name="run_unfinished",
            ),
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="run_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id} {self.status}"

    def get_absolute_url(self) -> str:
        return f"/runs/{self.id}"

    @property
    def is_finished(self) -> bool:
        return self.status in self.FINISHED

    @property
    def duration_ms(self) -> int | None:
        """From its start to its end; None where it is not over."""
        if self.finished_at is None:
            return None
        took = self.finished_at - (self.started_at or self.created_at)
        return max(0, round(took.total_seconds() * 1000))

    @property
    def is_driven(self) -> bool:
        """Somebody holds the lease."""
        return self.lease_expires_at is not None and self.lease_expires_at > timezone.now()

    def current_steps(self) -> "list[ToolRun]":
        """Of every step its newest attempt, in the plan's order: one query, or none where `tool_runs` is prefetched."""
        newest = {row.step: row for row in sorted(self.tool_runs.all(), key=lambda row: row.attempt)}
        return sorted(newest.values(), key=lambda row: row.position)


class SpentKey(models.Model):
    """The Idempotency-Key of a run that was removed: its request is refused, never carried out a second time."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    run_id = models.UUIDField(help_text="the run that is not there any more")
    removed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "spent_keys"
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="one_spent_key")]

    def __str__(self) -> str:
        return self.key


class ToolRunQuerySet(models.QuerySet["ToolRun"]):
    def unfinished(self) -> "ToolRunQuerySet":
        return self.exclude(status__in=ToolRun.FINISHED)

    def results_seen(self, user: "User", tools: Sequence[Tool]) -> list[tuple[Any, str, Any]]:
        """(server, tool, JSON of the result) of this user's newest calls of these tools, those in files left out."""
        servers, names = {tool.server_id for tool in tools}, {tool.name for tool in tools}
        seen = self.filter(run__owner=user, status=ToolRun.Status.SUCCEEDED, server__in=servers, tool__in=names)
        found = seen.order_by("-pk").values_list("server_id", "tool", "result__json")[:RESULTS_SEEN]
        return [each for each in found if each[2] is not None]


class ToolRun(models.Model):
    """One step of a run in one attempt: written before the call and after it."""

    class Status(models.TextChoices):
        PENDING = "pending"
        AWAITING_APPROVAL = "awaiting_approval"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        SKIPPED = "skipped"
        CANCELLED = "cancelled"
        UNKNOWN = "unknown"  # it was being called when its worker died: it may have happened

    FINISHED = (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.CANCELLED, Status.UNKNOWN)
    ASKING = (Status.AWAITING_APPROVAL, Status.UNKNOWN)  # of a run that is not over: somebody must say how it goes on

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tool_runs")
    step = models.CharField(max_length=64)
    position = models.PositiveSmallIntegerField()
    server = models.ForeignKey(Server, null=True, blank=True, on_delete=models.SET_NULL, related_name="tool_runs")
    server_slug = models.CharField(max_length=100)
    tool = models.CharField(max_length=512)
    arguments = models.JSONField(default=dict, help_text="resolved once the step is ready, else as planned")
    status = models.CharField(max_length=20, choices=Status, default=Status.PENDING)
    attempt = models.PositiveIntegerField(default=1)
    approval_hash = models.CharField(max_length=64, blank=True, help_text="sha256 of tool and resolved arguments")
    approved_hash = models.CharField(max_length=64, blank=True, help_text="the hash a person approved")
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    edited_arguments = models.JSONField(null=True, blank=True, help_text="what a person approved instead")
    result = models.JSONField(null=True, blank=True, help_text="{text, json, content, files, is_error}")
    error = models.JSONField(null=True, blank=True, help_text="{code, message}")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)

    objects = ToolRunQuerySet.as_manager()

    class Meta:
        db_table = "tool_runs"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "step", "attempt"], name="one_tool_run_per_step_and_attempt"),
        ]

    def __str__(self) -> str:
        return f"{self.step} {self.server_slug}.{self.tool} {self.status}"


class RunEvent(models.Model):
    """What a viewer of a run sees, in order. `seq` counts from 1 within its run, without gaps."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    type = models.CharField(max_length=32)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "run_events"
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="one_event_per_run_and_seq")]

    def __str__(self) -> str:
        return f"{self.run_id} #{self.seq} {self.type}"


class Result(Shareable):
    """What stays of a run for good: its outputs, its answer, its files."""

    class Kind(models.TextChoices):
        OUTPUT = "output"
        SUMMARY = "summary"
        FILE = "file"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="results")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="results")
    step = models.CharField(max_length=64, blank=True)
    kind = models.CharField(max_length=8, choices=Kind)
    title = models.CharField(max_length=255)
    summary = models.TextField(blank=True)
    data = models.JSONField(null=True, blank=True)
    file = models.FileField(upload_to="%Y/%m/%d", null=True, blank=True)
    mime_type = models.CharField(max_length=255, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    embedding = VectorField(dimensions=EMBEDDING_DIMENSIONS, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = SharedQuerySet.as_manager()

    class Meta:
        db_table = "results"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="result_newest"),
            Shareable.index("result_of_team"),
        ]

    def __str__(self) -> str:
        return self.title


class HeldFile(models.Model):
    """The content of a result's file that the storage did not take; moved there once it answers."""

    result = models.OneToOneField(Result, primary_key=True, on_delete=models.CASCADE, related_name="held")
    content = models.BinaryField()
    held_at = models.DateTimeField(default=timezone.now)
    moving_at = models.DateTimeField(null=True, blank=True, help_text="since when somebody moves it")

    class Meta:
        db_table = "held_files"

    def __str__(self) -> str:
        return f"content of {self.result_id}"
