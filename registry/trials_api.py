"""Try a tool: over the API, and by the form on its server's page."""

import json
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, MethodNotAllowed, NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from registry.api import connection_of, visible_server
from registry.async_api import authenticated_user, documented_by
from registry.inputs import Flag, Input, validated
from registry.models import Connection, Policy, Server, Tool
from registry.pages import PageRequest, message_of, refusal
from registry.tool_forms import ToolForm
from registry.trials import call_now

MAX_ARGUMENTS_BYTES = 256 * 1024
ANSWERS = {"timeout": 504, "not_authorised": 403}  # statuses of calls that came to no end; 502 for the others


class ConfirmationRequired(APIException):
    """`fields` names the exact arguments that are to be confirmed."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "confirmation_required"

    def __init__(self, reason: str, arguments: dict[str, Any]) -> None:
        super().__init__(f'{reason} Send it again with "confirm": true to call it with exactly these arguments.')
        self.fields = {"arguments": arguments}


class CallFailed(APIException):
    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['message']} {error['next_step']}", error["code"])
        self.status_code = ANSWERS.get(error["code"], 502)
        self.fields = {"sent": error["sent"]}


class CallInput(Input):
    arguments = serializers.DictField(default=dict)
    confirm = Flag(default=False)

    def validate_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(arguments)) > MAX_ARGUMENTS_BYTES:
            raise serializers.ValidationError("These arguments are too large: at most 256 kB.")
        return arguments


class CallDocument(APIView):
    @extend_schema(
        operation_id="call_tool",
        request=CallInput,
        responses={
            200: OpenApiTypes.OBJECT,
            409: OpenApiResponse(description="It wants to be confirmed."),
            502: OpenApiResponse(description="The server did not carry it out."),
            503: OpenApiResponse(description="No worker is running."),
        },
    )
    def post(self, request: Request, server: str, tool: str) -> None:
        """Call a tool you have authorised, once, now: `{"content", "structured", "is_error", "duration_ms",
        "truncated"}`. A tool that does not only read, or that your policy does not let run unasked, wants
        `"confirm": true`."""
        raise MethodNotAllowed("POST")


@documented_by(CallDocument)
@csrf_exempt
async def call_tool(request: HttpRequest, server: str, tool: str) -> HttpResponse:
    user = await authenticated_user(request, method="POST")
    found, wanted = await sync_to_async(_asked)(request, user, server, tool)
    answer = await call_now(user=user, tool=found, arguments=wanted["arguments"])
    if error := answer.pop("error"):
        raise CallFailed(error)
    return JsonResponse(answer)


def _asked(request: HttpRequest, user: User, server: str, name: str) -> tuple[Tool, dict[str, Any]]:
    """The tool and what it is to be called with. Raises what the API answers instead of calling."""
    found = visible_server(user, server)
    tool = None if "\x00" in name else _tools(user, found).filter(name=name).first()
    if tool is None:
        raise NotFound("This server has no such tool.")
    if refused := why_not(user, tool):
        raise PermissionDenied(refused)
    parsers: Any = api_settings.DEFAULT_PARSER_CLASSES
    wanted = validated(CallInput(data=Request(request, parsers=[parser() for parser in parsers]).data))
    reason = why_confirm(tool, connection_of(user, found))
    if reason and not wanted["confirm"]:
        raise ConfirmationRequired(reason, wanted["arguments"])
    return tool, wanted


def _tools(user: User, server: Server) -> Any:
    return Tool.objects.present().filter(server=server).select_related("server").with_acceptance_of(user)


def why_not(user: User, tool: Tool) -> str:
    """Why this user may not call it; empty when they may."""
    if Tool.objects.authorised_by(user).filter(pk=tool.pk).exists():
        return ""
    if not tool.enabled:
        return "It is switched off by an administrator."
    if tool.change_for(connection_of(user, tool.server)):
        return "Its definition changed since you authorised it: accept it on the server's page first."
    return "You have not authorised this tool: authorise it on the server's page first."


def why_confirm(tool: Tool, connection: Connection | None) -> str:
    """Why it is not called unasked; empty when it may be."""
    policy = (connection or Connection()).policy_for(tool)
    if policy == Policy.NEVER:
        return "You chose that plans never call it."
    if not tool.is_read_only:
        return "It does not say that it only reads: it may change something."
    return "You chose to be asked before it is called." if policy == Policy.ASK else ""


@login_required
@require_http_methods(["GET", "POST"])
async def tool_try(request: PageRequest, name: str, pk: int) -> HttpResponse:
    """The form, and below it the question whether these arguments are meant, or what the call brought."""
    user = cast(User, await request.auser())
    context = await sync_to_async(_trial)(request, user, name, pk)
    arguments = context.pop("call_with", None)
    if arguments is not None:
        try:
            context["answer"] = await call_now(user=user, tool=context["tool"], arguments=arguments)
        except APIException as error:
            return refusal(request, message_of(error), error.status_code)
    template = "registry/_try.html" if request.htmx else "registry/try.html"
    return await sync_to_async(render)(request, template, context)


def _trial(request: PageRequest, user: User, name: str, pk: int) -> dict[str, Any]:
    """What the page shows. `call_with` are the arguments to call it with now. Raises Http404."""
    server = Server.objects.visible_to(user).named(name).first()
    tool = _tools(user, server).filter(pk=pk).first() if server else None
    if server is None or tool is None:
        raise Http404("There is no such tool.")
    context: dict[str, Any] = {"server": server, "tool": tool, "refused": why_not(user, tool)}
    if context["refused"]:
        return context
    reason = why_confirm(tool, connection_of(user, server))
    confirmed = _confirmed(request)
    if confirmed is not None:
        return context | {"form": ToolForm(tool, initial=confirmed), "reason": reason, "call_with": confirmed}
    form = ToolForm(tool, request.POST if request.method == "POST" else None)
    context |= {"form": form, "reason": reason}
    if not form.is_bound or not form.is_valid():
        return context
    if reason:
        return context | {"confirm": json.dumps(form.values, indent=2, ensure_ascii=False)}
    return context | {"call_with": form.values}


def _confirmed(request: PageRequest) -> dict[str, Any] | None:
    """The arguments that were shown and confirmed."""
    try:
        sent = json.loads(request.POST.get("confirmed", ""))
        json.dumps(sent, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return sent if isinstance(sent, dict) else None
