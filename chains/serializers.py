"""The JSON of runs, steps, templates and results, as the contract has it."""

from typing import Any

from rest_framework import serializers

from chains.models import Run, ToolRun


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
        ]
        read_only_fields = fields

    def get_steps(self, run: Run) -> list[dict[str, Any]]:
        return list(StepSerializer(run.current_steps(), many=True).data)
