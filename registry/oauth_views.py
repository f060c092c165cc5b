"""Signing in to a server from its page: there, back, and out again."""

import secrets
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect
from rest_framework.exceptions import APIException

from registry import services
from registry.models import Server
from registry.oauth.clients import NONE, described
from registry.outbound import OutboundRefused, check_url
from registry.pages import PageRequest, message_of, refusal
from registry.signing_in import finish_now, start_now
from registry.views import visible_server

SESSION_KEY = "sign_in"
PARAMETERS = ("code", "iss", "error", "error_description")
MAX_PARAMETER = 8_000


async def session_of(request: HttpRequest, *, is_new: bool) -> str:
    """What binds a sign-in to this browser. It outlives a new session key, and not a change of the user."""
    known = str(await request.session.aget(SESSION_KEY, ""))
    if not known and is_new:
        known = secrets.token_urlsafe(32)
        await request.session.aset(SESSION_KEY, known)
    return known


def places_of(request: HttpRequest, server: Server) -> dict[str, str]:
    """Our own addresses as the caller reached us: where people come back to, and the document that describes us, where
    somebody outside can read it."""
    document = request.build_absolute_uri(reverse("oauth_client", args=[server.pk]))
    return {
        "redirect_uri": request.build_absolute_uri(reverse("oauth_callback")),
        "metadata_url": document if _is_public(document) else "",
    }


def _is_public(url: str) -> bool:
    try:
        check_url(url)
    except OutboundRefused:
        return False
    return url.startswith("https:")


@require_GET
def client_document(request: HttpRequest, server: UUID) -> JsonResponse:
    """Who we are, for authorisation servers that look it up (OAuth client id metadata document). One for each server,
    so that what a person allows one of them is not allowed to another; it tells nothing about the server."""
    told = described(request.build_absolute_uri(reverse("oauth_callback")))
    told |= {"client_id": request.build_absolute_uri(request.path), "token_endpoint_auth_method": NONE}
    return JsonResponse(told, headers={"Cache-Control": "public, max-age=3600"})


@login_required
@require_POST
async def sign_in_start(request: PageRequest, name: str) -> HttpResponse:
    """On to the authorisation server; without JavaScript by a link, since a form may not lead away from us."""
    user = cast(User, await request.auser())
    server = await sync_to_async(visible_server)(request, name)
    session = await session_of(request, is_new=True)
    try:
        sign_in, url, _ = await start_now(user=user, server=server, session=session, **places_of(request, server))
    except APIException as error:
        return refusal(request, message_of(error), error.status_code)
    if request.htmx:
        return HttpResponseClientRedirect(url)
    context: dict[str, Any] = {"server": server, "url": url, "host": urlsplit(url).netloc, "sign_in": sign_in}
    return await sync_to_async(render)(request, "registry/sign_in.html", context)


@login_required
@require_GET
@never_cache
async def callback(request: PageRequest) -> HttpResponse:
    """Where authorisation servers send people back to. On to the server's page at once: the address holds a code."""
    user = cast(User, await request.auser())
    told = {name: request.GET[name][:MAX_PARAMETER] for name in PARAMETERS if name in request.GET}
    state, session = request.GET.get("state", "")[:MAX_PARAMETER], await session_of(request, is_new=False)
    try:
        sign_in = await finish_now(user=user, state=state, session=session, answer=told)
    except APIException as error:
        messages.error(request, message_of(error))
        return redirect(await sync_to_async(place_of)(state, user))
    host = urlsplit(sign_in.issuer).netloc
    messages.success(request, f"Signed in at {host}. Choose below which tools your plans may use.")
    return redirect(f"{sign_in.server.get_absolute_url()}#authorise")


def place_of(state: str, user: User) -> str:
    """The page of the server a failed sign-in of this user was for."""
    sign_in = services.sign_in_with(user=user, state=state)
    return sign_in.server.get_absolute_url() if sign_in else reverse("servers")


@login_required
@require_POST
def sign_in_forget(request: PageRequest, name: str) -> HttpResponse:
    server = visible_server(request, name)
    services.forget_grants(user=request.user, server=server)
    messages.success(request, "Signed out. Its tokens are deleted here and given back there.")
    return redirect("server", server.slug)
