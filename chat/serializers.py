"""The JSON of conversations and messages, and what POST /chat takes."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Sum
from rest_framework import serializers

from chains.serializers import RunSerializer
from chat import providers
from chat.branches import Tree
from chat.models import Conversation, Message
from registry.inputs import STRICT, Flag, Input, Text

MAX_MESSAGE_BYTES = 32_000


def available_provider(value: str) -> str:
    """Empty: the server's own choice. Raises ValidationError."""
    available = providers.available()
    if value and value not in available:
        raise serializers.ValidationError(f"This provider is not set up here; there is {', '.join(available)}.")
    return value


def not_too_long(value: str) -> str:
    """Raises ValidationError."""
    if len(value.encode()) > MAX_MESSAGE_BYTES:
        raise serializers.ValidationError(f"A message holds at most {MAX_MESSAGE_BYTES // 1000} kB.")
    return value


class SendSerializer(Input):
    conversation_id = serializers.UUIDField(required=False, allow_null=True, help_text="omit to start a new one")
    user_msg = Text(help_text=f"at most {MAX_MESSAGE_BYTES // 1000} kB")
    approval = serializers.ChoiceField(
        ["auto", "ask"], required=False, help_text="ask: every step waits for your approval"
    )
    provider = serializers.ChoiceField(
        list(providers.CHOICES), required=False, help_text="of the model this conversation is held with from now on"
    )

    preview = Flag(
        required=False, allow_null=True, help_text="plans of this conversation are shown before they run, from now on"
    )
    after = serializers.UUIDField(required=False, allow_null=True, help_text="the question it follows; else the newest")

    def validate_provider(self, value: str) -> str:
        return available_provider(value)

    def validate_user_msg(self, value: str) -> str:
        return not_too_long(value)


class EditSerializer(Input):
    user_msg = Text(help_text=f"at most {MAX_MESSAGE_BYTES // 1000} kB")
    approval = serializers.ChoiceField(["auto", "ask"], required=False)

    def validate_user_msg(self, value: str) -> str:
        return not_too_long(value)


class ApprovePlanSerializer(Input):
    arguments = serializers.DictField(
        child=serializers.DictField(), required=False, help_text="by step, in the place of the planned ones"
    )


class SentSerializer(serializers.Serializer[Any]):
    conversation_id = serializers.UUIDField()
    message_id = serializers.UUIDField()
    run_id = serializers.UUIDField()
    stream_url = serializers.CharField()


class ExportFormat(Input):
    def get_fields(self) -> dict[str, Any]:
        return {"as": serializers.ChoiceField(["json", "markdown"], default="json")}  # a word that Python keeps


class InputsSerializer(Input):
    inputs = serializers.DictField(help_text="what the form of the run's INPUT_REQUIRED asks for")


class MessageSerializer(serializers.ModelSerializer[Message]):
    cost_usd = serializers.FloatField(allow_null=True, help_text="null where the model's price is not known")

    class Meta:
        model = Message
        fields = [
            "id",
            "parent_id",
            "role",
            "content",
            "status",
            "run_id",
            "provider",
            "model",
            "note",
            "planning",
            "input_tokens",
            "output_tokens",
            "model_calls",
            "cost_usd",
            "created_at",
        ]
        read_only_fields = fields


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    serializer_field_mapping = STRICT

    class Meta:
        model = Conversation
        fields = ["id", "title", "summary", "pinned", "preview", "provider", "created_at", "updated_at"]
        read_only_fields = ["id", "summary", "created_at", "updated_at"]

    def validate_provider(self, value: str) -> str:
        return available_provider(value)


class ConversationDetailSerializer(ConversationSerializer):
    messages = MessageSerializer(many=True, read_only=True)
    branch = serializers.SerializerMethodField(help_text="ids of the questions that lead to the newest one")
    runs = serializers.SerializerMethodField(help_text="the runs its messages started, oldest first")

    class Meta(ConversationSerializer.Meta):
        fields = [*ConversationSerializer.Meta.fields, "branch", "messages", "runs"]
        read_only_fields = fields

    def get_branch(self, conversation: Conversation) -> list[UUID]:
        tree = Tree.of(conversation.pk)
        return tree.path(tree.newest_leaf())

    def get_runs(self, conversation: Conversation) -> list[dict[str, Any]]:
        """Each with `usage`: what its messages have cost together."""
        usage = usage_by_run(conversation)
        return [dict(RunSerializer(run).data) | {"usage": usage.get(run.pk)} for run in conversation.runs()]


def usage_by_run(conversation: Conversation) -> dict[Any, dict[str, Any]]:
    """`{"model_calls", "input_tokens", "output_tokens", "cost_usd"}` by run."""
    names = ("model_calls", "input_tokens", "output_tokens", "cost_usd")
    rows = conversation.messages.exclude(run=None).order_by().values("run_id")
    summed = rows.annotate(**{f"all_{name}": Sum(name) for name in names})
    found = summed.values_list("run_id", *(f"all_{name}" for name in names))
    return {run_id: dict(zip(names, map(_number, values), strict=True)) for run_id, *values in found}


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
