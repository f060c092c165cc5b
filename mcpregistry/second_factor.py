"""The second factor: how its secrets are stored, and who may not be without one."""

from collections.abc import Callable

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from mcpregistry.api import error_body, wants_json
from registry.credentials import decrypt_text, encrypt_text

FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]  # recovery codes alone are none
OPEN_TO_ALL = ("/accounts/", "/signin/", "/static/", "/healthz", "/favicon.ico")


class Adapter(DefaultMFAAdapter):
    """Secrets of authenticators are stored as credentials are: encrypted, under keys that rotate."""

    def encrypt(self, text: str) -> str:
        return encrypt_text(text)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt_text(encrypted_text)


def is_missing(user: User | AnonymousUser) -> bool:
    """Must this user have a second factor, and has none?"""
    is_asked = settings.SECOND_FACTOR == "everyone" or (settings.SECOND_FACTOR == "staff" and user.is_staff)
    return bool(is_asked and user.is_authenticated and not is_mfa_enabled(user, FACTORS))


class RequiredMiddleware:
    """Whoever must have a second factor comes nowhere in a browser before there is one."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(OPEN_TO_ALL) or not is_missing(request.user):
            return self.get_response(request)
        if wants_json(request):
            message = "Your account needs a second factor first: set one up at /accounts/2fa/."
            return JsonResponse(error_body("second_factor_required", message), status=403)
        return redirect(f"{reverse('mfa_index')}?required=1")
