"""The JSON of runs, steps, templates and results, as the contract has it."""

import datetime as dt
import json
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from chains.artifacts import INLINE_BYTES
from chains.history import SORTS
from chains.models import Result, Run, RunEvent, Template, ToolRun
from registry.inputs import Flag, Input, Number, Text
from registry.sharing_api import TeamField


def step_json(tool_run: ToolRun) -> dict[str, Any]:
    return StepSerializer(tool_run).data


def run_json(run: Run) -> dict[str, Any]:
    """The JSON of GET /chain/runs/{id}: one query for the steps unless they are prefetched."""
    return dict(RunSerializer(run).data)


class StepSerializer(serializers.ModelSerializer[ToolRun]):
    """A step in its newest attempt. `id` is its name in the plan."""

    id = serializers.CharField(source="step")
    server = serializers.CharField(source="server_slug")

    class Meta:
        model = ToolRun
        fields = [
            "id",
            "server",
            "tool",
            "arguments",
            "status",
            "attempt",
            "approval_hash",
            "started_at",
            "finished_at",
            "duration_ms",
            "result",
            "error",
        ]
        read_only_fields = fields


class RunSerializer(serializers.ModelSerializer[Run]):
    steps = serializers.SerializerMethodField()
    duration_ms = serializers.IntegerField(read_only=True, allow_null=True)

    class Meta:
        model = Run
        fields = [
            "id",
            "kind",
            "status",
            "conversation_id",
            "template_id",
            "inputs",
            "plan",
            "steps",
            "outputs",
            "error",
            "attempt",
            "created_at",
            "started_at",
            "finished_at",
            "duration_ms",
        ]
        read_only_fields = fields

    @extend_schema_field(StepSerializer(many=True))
    def get_steps(self, run: Run) -> list[dict[str, Any]]:
        return list(StepSerializer(run.current_steps(), many=True).data)


class StepSummarySerializer(StepSerializer):
    class Meta(StepSerializer.Meta):
        fields = [name for name in StepSerializer.Meta.fields if name not in ("result", "arguments")]
        read_only_fields = fields


class RunSummarySerializer(RunSerializer):
    """A run in a list: its steps without arguments and results."""

    @extend_schema_field(StepSummarySerializer(many=True))
    def get_steps(self, run: Run) -> list[dict[str, Any]]:
        return list(StepSummarySerializer(run.current_steps(), many=True).data)


class MomentField(serializers.DateTimeField):
    """A moment, or a day: its first moment, or with `is_end` the first one after it. In UTC where no zone is named."""

    def __init__(self, *, is_end: bool = False, **options: Any) -> None:
        super().__init__(default_timezone=dt.UTC, **options)
        self.is_end = is_end

    def to_internal_value(self, value: Any) -> dt.datetime:
        moment = super().to_internal_value(value)
        if not self.is_end or len(str(value).strip()) > len("2030-01-31"):
            return moment
        try:
            return moment + dt.timedelta(days=1)
        except OverflowError:
            self.fail("overflow", timezone="UTC")


class RunFilters(Input):
    """Query parameters of the list of runs. `until` named as a day takes that day in."""

    q = Text(required=False, allow_blank=True, max_length=200, help_text="words in template, tools, inputs or error")
    status = serializers.ChoiceField(Run.Status.choices, required=False)
    kind = serializers.ChoiceField(Run.Kind.choices, required=False)
    template = serializers.UUIDField(required=False)
    since = MomentField(required=False, help_text="a day or a moment")
    until = MomentField(required=False, is_end=True, help_text="a day or a moment")
    sort = serializers.ChoiceField(list(SORTS), required=False, help_text="by duration: only runs that are over")


class WhoseFilter(serializers.Serializer[Any]):
    """Query parameter of what can be shared."""

    owner = serializers.ChoiceField(
        ["me", "shared"], required=False, allow_blank=True, help_text="only mine, or only what others share"
    )


class EventSerializer(serializers.ModelSerializer[RunEvent]):
    class Meta:
        model = RunEvent
        fields = ["seq", "type", "at", "data"]
        read_only_fields = fields


class PlanField(serializers.JSONField):
    """A plan: docs/plan-format.md. What is wrong inside it is told as problems, each with its path."""


class PlanInput(Input):
    plan = PlanField()


class ExecuteInput(Input):
    one_of = ("template_id", "plan")

    template_id = serializers.UUIDField(required=False)
    plan = PlanField(required=False)
    inputs = serializers.DictField(required=False)
    approval = serializers.ChoiceField(["auto", "ask"], required=False)


class StartedSerializer(serializers.ModelSerializer[Run]):
    run_id = serializers.UUIDField(source="id")
    stream_url = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = ["run_id", "status", "stream_url"]

    def get_stream_url(self, run: Run) -> str:
        return f"/chat/{run.pk}/stream"


class ProblemSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    severity = serializers.ChoiceField(["error", "warning"])


class ValiditySerializer(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    problems = ProblemSerializer(many=True)


class ApproveInput(Input):
    step = Text(required=False, max_length=64)
    approval_hash = Text(max_length=64)
    arguments = serializers.DictField(required=False, help_text="other arguments for the step named")
    plan = Flag(required=False, help_text="approve all that waits or is known ahead")


class RejectInput(Input):
    step = Text(required=False, max_length=64)


class ResolveInput(Input):
    """`result`, for skip: what the step is taken to have given, at most 16 kB."""

    step = Text(max_length=64)
    action = serializers.ChoiceField(["repeat", "skip", "stop"])
    result = serializers.JSONField(required=False)

    def validate_result(self, value: Any) -> Any:
        if len(json.dumps(value)) > INLINE_BYTES:
            raise serializers.ValidationError("At most 16 kB.")
        return value


class TemplateInput(Input):
    one_of = ("plan", "run_id")

    name = Text(max_length=200)
    description = Text(required=False, allow_blank=True, max_length=10_000)
    plan = PlanField(required=False)
    run_id = serializers.UUIDField(required=False)
    team = TeamField()
    parameters = serializers.ListField(
        child=Text(), required=False, help_text='fixed arguments that become inputs: "step/argument"'
    )


class TemplatePatch(Input):
    name = Text(required=False, max_length=200)
    description = Text(required=False, allow_blank=True, max_length=10_000)
    plan = PlanField(required=False)
    team = TeamField()
    version = Number(
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="the one the plan was made from: 409 if it is not the newest",
    )


class TemplateSerializer(serializers.ModelSerializer[Template]):
    class Meta:
        model = Template
        fields = [
            "id",
            "name",
            "description",
            "plan",
            "tool_hashes",
            "version",
            "owner_id",
            "team",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


class ResultSerializer(serializers.ModelSerializer[Result]):
    file_url = serializers.SerializerMethodField()
    run_id = serializers.SerializerMethodField()

    class Meta:
        model = Result
        fields = [
            "id",
            "run_id",
            "step",
            "kind",
            "title",
            "summary",
            "data",
            "mime_type",
            "size_bytes",
            "file_url",
            "owner_id",
            "team",
            "created_at",
        ]
        read_only_fields = fields

    def get_run_id(self, result: Result) -> UUID | None:
        """The caller's own run (context `user`): those of others are not to be seen."""
        return result.run_id if result.owner_id == self.context["user"].pk else None

    def get_file_url(self, result: Result) -> str | None:
        return f"/results/{result.pk}/file" if result.file else None
