"""Who is calling, for the API's async views: DRF authenticates, but its own views are synchronous."""

from collections.abc import Callable
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

PlainView = TypeVar("PlainView", bound=Callable[..., Any])


def documented_by(document: type[APIView]) -> Callable[[PlainView], PlainView]:
    """Describe a plain view in the API's document by a DRF view with the same methods, which is never called."""

    def mark(view: PlainView) -> PlainView:
        view.cls = document  # type: ignore[attr-defined]
        view.initkwargs = {}  # type: ignore[attr-defined]
        return view

    return mark


class OnlyMethod(MethodNotAllowed):
    """`allowed` becomes the answer's Allow."""

    def __init__(self, method: str, *, allowed: str) -> None:
        super().__init__(method)
        self.allowed = allowed


def _authenticate(request: HttpRequest) -> User:
    classes: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    authenticators = [authenticator() for authenticator in classes]
    parsers = [FormParser(), MultiPartParser()]  # a form's body may hold the CSRF token
    user = Request(request, parsers=parsers, authenticators=authenticators).user
    if not user.is_authenticated:
        raise NotAuthenticated
    return user


async def authenticated_user(request: HttpRequest, *, method: str) -> User:
    """The caller of a plain async view, by token or session (then CSRF applies), as in every DRF view.

    The view itself is `csrf_exempt`. Raises NotAuthenticated, AuthenticationFailed, PermissionDenied (CSRF) or
    MethodNotAllowed; the middleware turns them into the API's error shape.
    """
    if request.method != method:
        raise OnlyMethod(request.method or "", allowed=method)
    return await sync_to_async(_authenticate)(request)
