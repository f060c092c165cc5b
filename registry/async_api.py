"""Who is calling, for the API's async views: DRF authenticates, but its own views are synchronous."""

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated
from rest_framework.request import Request
from rest_framework.settings import api_settings


def _authenticate(request: HttpRequest) -> User:
    authenticators = [authenticator() for authenticator in api_settings.DEFAULT_AUTHENTICATION_CLASSES]
    user = Request(request, authenticators=authenticators).user
    if not user.is_authenticated:
        raise NotAuthenticated
    return user


async def authenticated_user(request: HttpRequest, *, method: str) -> User:
    """The caller of a plain async view, by token or session (then CSRF applies), as in every DRF view.

    The view itself is `csrf_exempt`. Raises NotAuthenticated, AuthenticationFailed, PermissionDenied (CSRF) or
    MethodNotAllowed; the middleware turns them into the API's error shape.
    """
    if request.method != method:
        raise MethodNotAllowed(request.method or "")
    return await sync_to_async(_authenticate)(request)
