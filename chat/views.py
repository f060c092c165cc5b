"""Pages of the conversation: the workspace, one turn of it, and what is said."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from chains.models import Run, Template
from chains.plan import PlanError
from chains.views import read_arguments
from chat import previews, providers, services
from chat.forms import ConversationForm, LackingForm
from chat.models import Conversation, Message
from chat.turns import turn_of, turns_of
from registry.models import Connection, Tool
from registry.pages import PageRequest, paginate, refusal, says_errors, triggered

MAX_MESSAGE_CHARACTERS = 20_000
TOO_LONG = f"Write something, at most {MAX_MESSAGE_CHARACTERS:,} characters."
MAX_COMMANDS = 200
MAX_WORDS_CHARACTERS = 200
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
    at = _question_named(conversation, request.GET.get("at", "")) if conversation else None
    context: dict[str, Any] = {
        "conversation": conversation,
        "turns": turns_of(conversation, at.pk if at else None) if conversation else [],
        "in_branch": at is not None,
        "providers": providers.available(),
        "ask": request.GET.get("ask", "")[:MAX_MESSAGE_CHARACTERS],
        "examples": EXAMPLES,
    }
    return render(request, "chat/workspace.html", context | _authorised(request.user))


def _question_named(conversation: Conversation | None, name: str) -> Message | None:
    """A question of this conversation; None where nothing is named."""
    if not name or conversation is None:
        return None
    try:
        return get_object_or_404(conversation.messages, pk=uuid.UUID(name), role=Message.Role.USER)
    except ValueError as error:
        raise Http404("There is no such message.") from error


def _authorised(user: User) -> dict[str, Any]:
    servers = [connection.server for connection in Connection.objects.valid().visible_to(user).select_related("server")]
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


def said_in(request: PageRequest) -> str | None:
    """None where it is nothing, or too much."""
    words = request.POST.get("user_msg", "").replace("\x00", "").strip()
    return words if 0 < len(words) <= MAX_MESSAGE_CHARACTERS else None


def _chosen_provider(request: PageRequest) -> str:
    chosen = request.POST.get("provider", "")
    return chosen if chosen in providers.available() else ""


@login_required
@require_POST
def say(request: PageRequest) -> HttpResponse:
    """What was typed becomes a message and its turn appears; a new conversation opens on a page of its own."""
    words = said_in(request)
    if words is None:
        return refusal(request, TOO_LONG, 400)
    name = request.POST.get("conversation", "")
    known = own_conversation(request, name) if name else None
    conversation, _, run = services.send_message(
        user=request.user,
        user_msg=words,
        conversation=known,
        approval="ask" if request.POST.get("approval") == "ask" else "",
        provider=_chosen_provider(request),
        preview="preview" in request.POST if "previews" in request.POST else None,
        after=_question_named(known, request.POST.get("after", "")),
    )
    if not request.htmx:
        return redirect(conversation)
    if known is None:
        return HttpResponse(status=204, headers={"HX-Redirect": conversation.get_absolute_url()})
    return render(request, "chat/_turn.html", {"turn": turn_of(run)})


def own_question(request: PageRequest, pk: uuid.UUID) -> Message:
    asked = Message.objects.filter(conversation__owner=request.user, role=Message.Role.USER)
    return get_object_or_404(asked.select_related("conversation__owner", "run", "parent"), pk=pk)


def _opened(request: PageRequest, message: Message) -> HttpResponse:
    """The conversation in the branch of this question."""
    where = f"/?conversation={message.conversation_id}&at={message.pk}#turn-{message.run_id}"
    return HttpResponse(status=204, headers={"HX-Redirect": where}) if request.htmx else redirect(where)


@login_required
@require_POST
def message_edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    words = said_in(request)
    if words is None:
        return refusal(request, TOO_LONG, 400)
    message, _ = services.edit_message(message=own_question(request, pk), user_msg=words)
    return _opened(request, message)


@login_required
@require_POST
def message_regenerate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    message, _ = services.regenerate(message=own_question(request, pk))
    return _opened(request, message)


@login_required
@require_POST
@says_errors(PlanError, services.Conflict)
def turn_plan(request: PageRequest, run_id: uuid.UUID) -> HttpResponse:
    """The plan that was shown runs, with what was changed in it."""
    run = get_object_or_404(Run.objects.owned_by(request.user), pk=run_id)
    previews.approve_plan(run=run, user=request.user, arguments=arguments_in(request))
    where = f"/?conversation={run.conversation_id}#turn-{run.pk}"
    return triggered("runChanged", str(run.pk)) if request.htmx else redirect(where)


def arguments_in(request: PageRequest) -> dict[str, dict[str, Any]]:
    """By step, from fields named "arguments-STEP". Raises Conflict."""
    prefix = "arguments-"
    given = {name.removeprefix(prefix): text for name, text in request.POST.items() if name.startswith(prefix)}
    arguments = {step: read_arguments(str(text)) for step, text in given.items()}
    return {step: found for step, found in arguments.items() if found is not None}


@login_required
@require_GET
def commands(request: PageRequest) -> JsonResponse:
    """What can be typed after a slash: `{"results": [{"label", "hint", "url"} or {"label", "hint", "insert"}]}`."""
    templates = [
        {"label": row.name, "hint": "template", "url": f"/templates/{row.pk}#run"}
        for row in Template.objects.visible_to(request.user)[:MAX_COMMANDS]
    ]
    connections = Connection.objects.valid().visible_to(request.user).select_related("server")[:MAX_COMMANDS]
    servers = [
        {"label": each.server.slug, "hint": "server", "insert": f"With {each.server.slug}: "} for each in connections
    ]
    return JsonResponse({"results": templates + servers})


@login_required
@require_GET
def conversations(request: PageRequest) -> HttpResponse:
    """All of them, or those with certain words in title or messages."""
    q = request.GET.get("q", "").replace("\x00", "").strip()[:MAX_WORDS_CHARACTERS]
    page = paginate(request, Conversation.objects.owned_by(request.user).about(q), ("-updated_at", "-id"))
    return render(request, "chat/conversations.html", {"page": page, "q": q})


@login_required
@require_POST
def conversation_change(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Another title, or pinned and not."""
    conversation = own_conversation(request, str(pk))
    form = ConversationForm(request.POST, instance=conversation)
    if not form.is_valid():
        return refusal(request, "A title has at most 200 characters.", 400)
    form.save()
    return redirect(conversation)


@login_required
@require_POST
def conversation_delete(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    services.delete_conversation(conversation=own_conversation(request, str(pk)))
    messages.success(request, "Conversation deleted. Results and files of its runs are kept.")
    return redirect("workspace")
