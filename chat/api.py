"""POST /chat, and the conversations: list, one with its messages and runs, delete."""

import json
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import APIView

from chains.api import answered, own
from chains.models import Run
from chat import exports, previews, services
from chat.models import Conversation, Message
from chat.serializers import (
    ApprovePlanSerializer,
    ConversationDetailSerializer,
    ConversationSerializer,
    EditSerializer,
    ExportFormat,
    InputsSerializer,
    SendSerializer,
    SentSerializer,
)
from registry.inputs import Words, asked, validated

MAX_WORDS_CHARACTERS = 200


def own_conversation(request: Request, conversation_id: UUID) -> Conversation:
    found = Conversation.objects.owned_by(request.user).filter(pk=conversation_id).first()
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


def own_questions(request: Request) -> QuerySet[Message]:
    mine = Message.objects.filter(conversation__owner=request.user.pk, role=Message.Role.USER)
    return mine.select_related("conversation__owner", "run", "parent")


def words_of(request: Request) -> str:
    return str(asked(Words, request).get("q", ""))[:MAX_WORDS_CHARACTERS]


class NewestSaid(api_settings.DEFAULT_PAGINATION_CLASS):  # type: ignore[misc, name-defined]
    ordering = ("-updated_at", "-id")


class ChatView(generics.ListAPIView[Conversation]):
    """Conversations, the newest first; a message starts one or goes on in one."""

    serializer_class = ConversationSerializer
    pagination_class = NewestSaid
    queryset = Conversation.objects.all()

    def get_queryset(self) -> Any:
        return Conversation.objects.owned_by(self.request.user).about(words_of(self.request))

    @extend_schema(parameters=[Words])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(request=SendSerializer, responses={202: SentSerializer})
    def post(self, request: Request) -> Response:
        """Say something. The plan, its steps and the answer follow on the stream."""
        said = validated(SendSerializer(data=request.data))
        user = request.user
        assert user.is_authenticated  # the permission class saw to it
        conversation_id = said.get("conversation_id")
        known = own_conversation(request, conversation_id) if conversation_id else None
        after = said.get("after")
        conversation, message, run = services.send_message(
            user=user,
            user_msg=said["user_msg"],
            conversation=known,
            approval=said.get("approval", ""),
            provider=said.get("provider", ""),
            preview=said.get("preview"),
            after=own(own_questions(request).filter(conversation=known), pk=after) if after else None,
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


class EditView(APIView):
    @extend_schema(request=EditSerializer, responses={202: SentSerializer})
    def post(self, request: Request, message_id: UUID) -> Response:
        """Ask something else in the place of a question; the first one stays, as another branch."""
        fields = validated(EditSerializer(data=request.data))
        first = own(own_questions(request), pk=message_id)
        message, run = services.edit_message(message=first, **fields)
        return _accepted(message.conversation_id, message.pk, run)


class RegenerateView(APIView):
    @extend_schema(request=None, responses={202: SentSerializer})
    def post(self, request: Request, message_id: UUID) -> Response:
        """Ask a question again: a new run in a branch of its own. It asks first where that one wrote."""
        message, run = services.regenerate(message=own(own_questions(request), pk=message_id))
        return _accepted(message.conversation_id, message.pk, run)


class StopView(APIView):
    @extend_schema(request=None, responses={200: ConversationSerializer})
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Stop whatever goes on in a conversation; what came stays."""
        conversation = own_conversation(request, conversation_id)
        services.stop(conversation=conversation)
        return Response(ConversationSerializer(conversation).data)


class ApprovePlanView(APIView):
    @extend_schema(request=ApprovePlanSerializer, responses={202: SentSerializer})
    def post(self, request: Request, run_id: UUID) -> Response:
        """Run the plan that a PLAN_PREVIEW showed, with other arguments where they are given."""
        run = own(Run.objects.owned_by(request.user), pk=run_id)
        arguments = validated(ApprovePlanSerializer(data=request.data)).get("arguments", {})
        run = answered(previews.approve_plan, run=run, user=request.user, arguments=arguments)
        return _accepted(run.conversation_id, run.messages.get(role=Message.Role.USER).pk, run)


class ExportView(APIView):
    @extend_schema(
        parameters=[ExportFormat],
        responses={(200, "application/json"): ConversationDetailSerializer, (200, "text/markdown"): str},
    )
    def get(self, request: Request, conversation_id: UUID) -> HttpResponse:
        """The conversation as a file: JSON, or with `?as=markdown` to read."""
        conversation = own_conversation(request, conversation_id)
        if asked(ExportFormat, request).get("as") == "markdown":
            return _file(exports.as_markdown(conversation), "text/markdown", f"{conversation.export_name}.md")
        data = json.dumps(exports.as_json(conversation), cls=JSONEncoder, indent=2, ensure_ascii=False)
        return _file(data, "application/json", f"{conversation.export_name}.json")


def _file(text: str, kind: str, name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return HttpResponse(text.encode("utf-8", "replace"), content_type=f"{kind}; charset=utf-8", headers=headers)


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
    """One conversation with its messages and runs, which are deleted with it. PATCH takes `title`, `pinned`, `preview`,
    `provider`."""

    http_method_names = ["get", "patch", "delete", "head", "options"]
    queryset = Conversation.objects.all()

    def get_serializer_class(self) -> Any:
        return ConversationSerializer if self.request.method == "PATCH" else ConversationDetailSerializer

    def get_object(self) -> Conversation:
        return own_conversation(self.request, self.kwargs["conversation_id"])

    def perform_destroy(self, instance: Conversation) -> None:
        services.delete_conversation(conversation=instance)
