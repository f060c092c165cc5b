"""Who did what to which object: a row for each change made by a page or the API, written where all of them pass.

What is sent along, secrets among it, is never written down: only who, where from, which action on which object, what
it made and how it ended.
"""

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from mcpregistry.limits import SAFE_METHODS, address_of
from mcpregistry.models import AuditEntry

logger = logging.getLogger(__name__)
NAMES = ("id", "run_id", "conversation_id")
MAX_READ = 100_000  # characters of an answer in which the name of what was made is looked for
CHANGES_NOTHING = ("/chain/validate", "/servers/new/paste", "/templates/tools")
TOLD_BY_THEMSELVES = (
    "/account",
    "/accounts/login",
    "/accounts/logout",
    "/accounts/2fa/authenticate",
    "/accounts/2fa/webauthn/login",
)


class AuditMiddleware:
    """Requests that were refused count too, but not those of strangers: they could fill the log."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        path = request.path_info.rstrip("/")
        is_change = request.method not in SAFE_METHODS and path not in CHANGES_NOTHING + TOLD_BY_THEMSELVES
        if is_change and request.user.is_authenticated:
            record(request, response)
        return response


def record(request: HttpRequest, response: HttpResponseBase) -> None:
    write(
        request,
        user=request.user,
        action=action_of(request),
        object=request.path_info,
        made=made_by(response),
        status=response.status_code,
    )


def write(
    request: HttpRequest, *, user: Any, action: str, object: str, made: str = "", status: int = HTTPStatus.OK
) -> None:
    """`user` is who did it, or whose account was knocked at; None where there is no such account."""
    try:
        AuditEntry.objects.create(
            user_id=user.pk if user else None,
            username=user.get_username() if user else "",
            token_key=key_of_token(request),
            address=address_of(request)[:64],
            method=request.method or "",
            action=action[:200],
            object=object.replace("\x00", "")[:500],
            made=made[:500],
            status=status,
        )
    except DatabaseError:
        logger.exception("Not in the audit log: %s %s", request.method, request.path_info)


def write_of_command(*, user: Any, action: str, made: str = "") -> None:
    """What whoever runs the registry did at its own machine."""
    AuditEntry.objects.create(
        user_id=user.pk,
        username=user.get_username(),
        method="command",
        action=action,
        object="manage.py",
        made=made,
        status=HTTPStatus.OK,
    )


def action_of(request: HttpRequest) -> str:
    """The name of the address; of a list in the admin also what was chosen to be done with its rows."""
    match = request.resolver_match
    name = (match.view_name or match.route) if match else ""
    chosen = request.POST.get("action", "") if name.endswith("_changelist") else ""
    return f"{name}:{chosen}" if chosen.isidentifier() else name


def key_of_token(request: HttpRequest) -> str:
    """The first characters, by which an account's page names a token."""
    _, _, token = request.headers.get("Authorization", "").partition(" ")
    return token[:15]


def made_by(response: HttpResponseBase) -> str:
    """The name of what was made: where the answer leads, or the id in it."""
    if location := response.headers.get("Location"):
        return location
    told = getattr(response, "data", None) or _json(response)
    if not isinstance(told, dict):
        return ""
    return " ".join(f"{name}={told[name]}" for name in NAMES if isinstance(told.get(name), str | int))


def _json(response: HttpResponseBase) -> Any:
    is_json = response.headers.get("Content-Type", "").startswith("application/json")
    content = getattr(response, "content", b"") if is_json and not response.streaming else b""
    return json.loads(content) if 0 < len(content) <= MAX_READ else None
