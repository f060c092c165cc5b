"""Who did what to which object: a row for each change made by a page or the API, written where all of them pass.

What is sent along, secrets among it, is never written down: only who, where from, which action on which object, what
it made and how it ended.
"""

import json
import logging
from collections.abc import Callable
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


class AuditMiddleware:
    """Requests that were refused count too, but not those of strangers: they could fill the log."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_change = request.method not in SAFE_METHODS and request.path_info not in CHANGES_NOTHING
        if is_change and request.user.is_authenticated:
            record(request, response)
        return response


def record(request: HttpRequest, response: HttpResponseBase) -> None:
    match = request.resolver_match
    try:
        AuditEntry.objects.create(
            user_id=request.user.pk,
            username=request.user.get_username(),
            token_key=key_of_token(request),
            address=address_of(request)[:64],
            method=request.method or "",
            action=((match.view_name or match.route) if match else "")[:200],
            object=request.path_info.replace("\x00", "")[:500],
            made=made_by(response)[:500],
            status=response.status_code,
        )
    except DatabaseError:
        logger.exception("Not in the audit log: %s %s", request.method, request.path_info)


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
