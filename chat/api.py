"""POST /chat, and the conversations: list, one with its messages and runs, delete."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from chains.api import answered, own, validated
from chains.models import Run
from chat import services
from chat.models import Conversation, Message
from chat.serializers import (
    ConversationDetailSerializer,
    ConversationSerializer,
    InputsSerializer,
    SendSerializer,
    SentSerializer,
)


def own_conversation(request: Request, conversation_id: UUID) -> Conversation:
    found = Conversation.objects.owned_by(request.user).filter(pk=conversation_id).first()
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


class NewestSaid(api_settings.DEFAULT_PAGINATION_CLASS):  # type: ignore[misc, name-defined]
    ordering = ("-updated_at", "-id")


class ChatView(generics.ListAPIView[Conversation]):
    """Conversations, the newest first; a message starts one or goes on in one."""

    serializer_class = ConversationSerializer
    pagination_class = NewestSaid
    queryset = Conversation.objects.all()

    def get_queryset(self) -> Any:
        return Conversation.objects.owned_by(self.request.user)

    @extend_schema(request=SendSerializer, responses={202: SentSerializer})
    def post(self, request: Request) -> Response:
        """Say something. The plan, its steps and the answer follow on the stream."""
        form = SendSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        said = form.validated_data
        user = request.user
        assert user.is_authenticated  # the permission class saw to it
        conversation_id = said.get("conversation_id")
        conversation, message, run = services.send_message(
            user=user,
            user_msg=said["user_msg"],
            conversation=own_conversation(request, conversation_id) if conversation_id else None,
            approval=said.get("approval", ""),
            provider=said.get("provider", ""),
        )
        return _accepted(conversation.pk, message.pk, run)


def _accepted(conversation_id: Any, message_id: Any, run: Run) -> Response:
    sent = {
        "conversation_id": conversation_id,
        "message_id": message_id,
        "run_id": run.pk,
        "stream_url": f"/chat/{run.pk}/stream",
    }
    return Response(SentSerializer(sent).data, status=status.HTTP_202_ACCEPTED)


class InputsView(APIView):
    @extend_schema(request=InputsSerializer, responses={202: SentSerializer})
    def post(self, request: Request, run_id: UUID) -> Response:
        """Give a run what its form asks for; the turn goes on, on the same stream."""
        run = own(Run.objects.owned_by(request.user), pk=run_id)
        fields = validated(InputsSerializer(data=request.data))
        run = answered(services.provide_inputs, run=run, **fields)
        question = run.messages.get(role=Message.Role.USER)
        return _accepted(run.conversation_id, question.pk, run)


class ConversationView(generics.RetrieveUpdateDestroyAPIView[Conversation]):
    """One conversation with its messages and runs. PATCH takes `title`, `pinned`, `provider`. Deleting it deletes its
    runs."""

    http_method_names = ["get", "patch", "delete", "head", "options"]
    queryset = Conversation.objects.all()

    def get_serializer_class(self) -> Any:
        return ConversationSerializer if self.request.method == "PATCH" else ConversationDetailSerializer

    def get_object(self) -> Conversation:
        return own_conversation(self.request, self.kwargs["conversation_id"])

    def perform_destroy(self, instance: Conversation) -> None:
        services.delete_conversation(conversation=instance)
