"""Pages of the conversation: the workspace, one turn of it, and what is said."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from chains.models import Run
from chains.plan import PlanError
from chat import services
from chat.forms import LackingForm
from chat.models import Conversation, Message
from chat.turns import turn_of, turns_of
from registry.models import Connection, Tool
from registry.pages import PageRequest, refusal, says_errors, triggered

MAX_MESSAGE_CHARACTERS = 20_000
SERVERS_SHOWN = 3
EXAMPLES = [
    "What time is it in Tokyo? Save it in tokyo.txt",
    "When it is 9:30 in Berlin, what time is it in New York?",
    "Fetch https://example.com and write a summary of it to a file",
]


def own_conversation(request: PageRequest, pk: str) -> Conversation:
    try:
        return get_object_or_404(Conversation.objects.owned_by(request.user), pk=uuid.UUID(pk))
    except ValueError as error:
        raise Http404("There is no such conversation.") from error


@login_required
@require_GET
def workspace(request: PageRequest) -> HttpResponse:
    """A conversation, or the start of a new one."""
    name = request.GET.get("conversation", "")
    conversation = own_conversation(request, name) if name else None
    context: dict[str, Any] = {
        "conversation": conversation,
        "turns": turns_of(conversation) if conversation else [],
        "ask": request.GET.get("ask", "")[:MAX_MESSAGE_CHARACTERS],
        "examples": EXAMPLES,
    }
    return render(request, "chat/workspace.html", context | _authorised(request.user))


def _authorised(user: User) -> dict[str, Any]:
    servers = [
        connection.server for connection in Connection.objects.valid().filter(user=user).select_related("server")
    ]
    return {
        "tool_count": Tool.objects.authorised_by(user).count(),
        "servers": servers[:SERVERS_SHOWN],
        "more_servers": max(0, len(servers) - SERVERS_SHOWN),
    }


@login_required
@require_GET
def turn(request: PageRequest, run_id: uuid.UUID) -> HttpResponse:
    """The newest drawing of one turn, for the page that follows it."""
    run = get_object_or_404(Run.objects.owned_by(request.user), pk=run_id)
    turn = turn_of(run)
    if turn is None:
        raise Http404("There is no such turn.")
    if not request.htmx:
        return redirect(f"/?conversation={run.conversation_id}#turn-{run.pk}")
    return render(request, "chat/_turn.html", {"turn": turn})


@login_required
@require_POST
@says_errors(PlanError, services.Conflict)
def turn_inputs(request: PageRequest, run_id: uuid.UUID) -> HttpResponse:
    """What the form of a turn gives; with mistakes it comes back."""
    run = get_object_or_404(Run.objects.owned_by(request.user), pk=run_id)
    form = LackingForm(get_object_or_404(Message, run=run, role=Message.Role.USER), request.POST)
    if form.is_valid():
        try:
            services.provide_inputs(run=run, inputs=form.values)
        except services.InputError as error:
            for problem in error.problems:
                form.add_problem(problem.path, problem.message)
        else:
            where = f"/?conversation={run.conversation_id}#turn-{run.pk}"
            return triggered("runChanged", str(run.pk)) if request.htmx else redirect(where)
    if not request.htmx:
        name, said = next(iter(form.errors.items()))
        return refusal(request, f"{name}: {said[0]}", 400)
    return render(request, "chat/_lacking.html", {"form": form, "run": run})


@login_required
@require_POST
def say(request: PageRequest) -> HttpResponse:
    """What was typed becomes a message and its turn appears; a new conversation opens on a page of its own."""
    words = request.POST.get("user_msg", "").replace("\x00", "").strip()
    if not words or len(words) > MAX_MESSAGE_CHARACTERS:
        return refusal(request, f"Write something, at most {MAX_MESSAGE_CHARACTERS:,} characters.", 400)
    name = request.POST.get("conversation", "")
    known = own_conversation(request, name) if name else None
    conversation, _, run = services.send_message(
        user=request.user,
        user_msg=words,
        conversation=known,
        approval="ask" if request.POST.get("approval") == "ask" else "",
    )
    if not request.htmx:
        return redirect(conversation)
    if known is None:
        return HttpResponse(status=204, headers={"HX-Redirect": conversation.get_absolute_url()})
    return render(request, "chat/_turn.html", {"turn": turn_of(run)})


@login_required
@require_POST
def conversation_delete(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    services.delete_conversation(conversation=own_conversation(request, str(pk)))
    messages.success(request, "Conversation deleted. Results and files of its runs are kept.")
    return redirect("workspace")
