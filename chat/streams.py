"""GET /chat/{id}/stream: a run's events as server-sent events."""

from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed, ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.events import sse_stream
from chains.models import Run
from registry.async_api import authenticated_user, documented_by
from registry.inputs import once

MAX_SEQ = 2**31 - 1
MAX_DIGITS = 20
SEQ = {"type": "integer", "minimum": 0, "maximum": MAX_SEQ}
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID", SEQ, OpenApiParameter.HEADER, description="The number of the last event you saw."
)
AFTER = OpenApiParameter("after", SEQ, description="The same, for whoever cannot set the header, which goes first.")


class SentEventSerializer(serializers.Serializer[Any]):
    """One server-sent event."""

    id = serializers.CharField(help_text="its number: what a later Last-Event-ID says")
    event = serializers.CharField(help_text="its type")
    data = serializers.CharField(help_text="JSON (docs/api.md)")  # type: ignore[assignment]


class StreamDocument(APIView):
    """Describes `stream` in the API's document."""

    @extend_schema(
        operation_id="follow",
        parameters=[LAST_EVENT_ID, AFTER],
        responses={(200, "text/event-stream"): OpenApiResponse(SentEventSerializer, description="Each of the events.")},
    )
    def get(self, request: Request, id: UUID) -> Response:
        """Follow a run, or the newest run of a conversation, as server-sent events (docs/api.md)."""
        raise MethodNotAllowed("GET")


@documented_by(StreamDocument)
@csrf_exempt
async def stream(request: HttpRequest, id: UUID) -> StreamingHttpResponse:
    """The id is a run's or a conversation's: then its newest run is followed."""
    user = await authenticated_user(request, method="GET")
    after = last_seen(request)
    run_id = await database_sync_to_async(_run_id)(user, id)
    response = StreamingHttpResponse(sse_stream(run_id, after), content_type="text/event-stream; charset=utf-8")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def last_seen(request: HttpRequest) -> int | None:
    """The number of the last event the client saw; None: it saw nothing yet. Raises ParseError."""
    told = [request.headers.get("Last-Event-ID"), once(request.GET, "after")]
    given = [_number(each) for each in told if each is not None]
    return given[0] if given else None


def _number(given: str) -> int:
    if not (given.isascii() and given.isdigit()) or len(given) > MAX_DIGITS or int(given) > MAX_SEQ:
        raise ParseError("Last-Event-ID and ?after= take the number of an event: digits only.")
    return int(given)


def _run_id(user: User, id: UUID) -> UUID:
    own = Run.objects.owned_by(user)
    run = own.filter(pk=id).first() or own.filter(conversation_id=id).order_by("-created_at").first()
    if run is None:
        raise Http404("There is no such run or conversation.")
    return run.pk
