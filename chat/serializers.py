"""The JSON of conversations and messages, and what POST /chat takes."""

from typing import Any

from rest_framework import serializers

from chains.serializers import RunSerializer
from chat.models import Conversation, Message

MAX_MESSAGE_BYTES = 32_000


class SendSerializer(serializers.Serializer[Any]):
    conversation_id = serializers.UUIDField(required=False, allow_null=True, help_text="omit to start a new one")
    user_msg = serializers.CharField(help_text=f"at most {MAX_MESSAGE_BYTES // 1000} kB")
    approval = serializers.ChoiceField(
        ["auto", "ask"], required=False, help_text="ask: every step waits for your approval"
    )

    def validate_user_msg(self, value: str) -> str:
        if len(value.encode()) > MAX_MESSAGE_BYTES:
            raise serializers.ValidationError(f"A message holds at most {MAX_MESSAGE_BYTES // 1000} kB.")
        return value


class SentSerializer(serializers.Serializer[Any]):
    conversation_id = serializers.UUIDField()
    message_id = serializers.UUIDField()
    run_id = serializers.UUIDField()
    stream_url = serializers.CharField()


class MessageSerializer(serializers.ModelSerializer[Message]):
    class Meta:
        model = Message
        fields = [
            "id",
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
            "created_at",
        ]
        read_only_fields = fields


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    class Meta:
        model = Conversation
        fields = ["id", "title", "summary", "pinned", "created_at", "updated_at"]
        read_only_fields = fields


class ConversationDetailSerializer(ConversationSerializer):
    messages = MessageSerializer(many=True, read_only=True)
    runs = serializers.SerializerMethodField(help_text="the runs its messages started, oldest first")

    class Meta(ConversationSerializer.Meta):
        fields = [*ConversationSerializer.Meta.fields, "messages", "runs"]
        read_only_fields = fields

    def get_runs(self, conversation: Conversation) -> list[dict[str, Any]]:
        return [dict(RunSerializer(run).data) for run in conversation.runs()]
