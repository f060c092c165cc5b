"""GET /chat/{id}/stream: a run's events as server-sent events."""

from uuid import UUID

from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import ParseError

from chains.events import sse_stream
from chains.models import Run
from registry.async_api import authenticated_user

MAX_SEQ = 2**31 - 1


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
    given = request.headers.get("Last-Event-ID") or request.GET.get("after")
    if not given:
        return None
    if not (given.isascii() and given.isdigit()) or int(given[:20]) > MAX_SEQ:
        raise ParseError("Last-Event-ID and ?after= take the number of an event: digits only.")
    return int(given)


def _run_id(user: User, id: UUID) -> UUID:
    own = Run.objects.owned_by(user)
    run = own.filter(pk=id).first() or own.filter(conversation_id=id).order_by("-created_at").first()
    if run is None:
        raise Http404("There is no such run or conversation.")
    return run.pk
