"""What the pages of every app share: pages of a list, and errors of services as people see them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template import loader
from django_htmx.middleware import HtmxDetails
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings

View = Callable[..., HttpResponse]


class PageRequest(HttpRequest):
    """A request as a view behind `login_required` gets it."""

    user: User
    htmx: HtmxDetails


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Any]
    next: str | None
    count: int


def paginate(request: HttpRequest, rows: QuerySet[Any], ordering: tuple[str, ...] | None = None) -> Page:
    """One page of a list, by the same cursors as the API's; newest first where no `ordering` is given."""
    pagination: Any = api_settings.DEFAULT_PAGINATION_CLASS
    paginator = pagination()
    paginator.ordering = ordering or paginator.ordering
    try:
        items = paginator.paginate_queryset(rows, Request(request))
    except ValidationError as error:
        raise Http404("This page of the list does not exist.") from error
    return Page(items or [], paginator.get_next_link(), paginator.total or 0)


def first_sentence(detail: Any) -> str:
    """The first message in what a service raised, however deep it sits."""
    if isinstance(detail, dict):
        return first_sentence(next(iter(detail.values()), ""))
    if isinstance(detail, list):
        return first_sentence(detail[0]) if detail else ""
    return str(detail)


def says_errors(*kinds: type[Exception]) -> Callable[[View], View]:
    """What a service refuses (these kinds) is said where the person is: as a toast, or on their page."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                return view(request, *args, **kwargs)
            except kinds as error:
                return refusal(request, message_of(error))

        return wrapped

    return decorate


def message_of(error: Exception) -> str:
    if isinstance(error, APIException):
        return first_sentence(error.detail)
    return str(getattr(error, "message", "") or error)


def refusal(request: HttpRequest, message: str, status: int = 409) -> HttpResponse:
    if getattr(request, "htmx", False):
        return JsonResponse({"error": {"code": "refused", "message": message, "fields": {}}}, status=status)
    messages.error(request, message)
    return redirect(back(request))


def wants_html(request: HttpRequest) -> bool:
    """Is it a person's browser that asks, at an address that serves programs too?"""
    return "text/html" in request.headers.get("Accept", "")


def by_accept(*, page: View, api: View) -> View:
    """One address for both: the page for a browser, JSON for everything else. The API's view is what is documented."""

    @wraps(api)
    def chosen(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        view = page if wants_html(request) else api
        return view(request, *args, **kwargs)

    return chosen


class FragmentRenderer(TemplateHTMLRenderer):
    """What a list of the API finds, as a fragment: `results` and `count` of its JSON, and the `q` that was asked."""

    def get_template_context(self, data: Any, renderer_context: Any) -> dict[str, Any]:
        asked = renderer_context["request"].query_params.get("q", "")
        return {"results": data["results"], "count": data["count"], "next": data["next"], "q": asked}

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> Any:
        if renderer_context["response"].exception:
            return loader.render_to_string("_refusal.html", {"error": data["error"]})
        return super().render(data, accepted_media_type, renderer_context)


def back(request: HttpRequest) -> str:
    """The page of ours a form was sent from."""
    referer = request.headers.get("Referer", "")
    origin = f"{request.scheme}://{request.get_host()}/"
    return "/" + referer.removeprefix(origin) if referer.startswith(origin) else "/"


def triggered(name: str, value: str) -> HttpResponse:
    """An empty answer that makes htmx raise the event `name` in the page."""
    response = HttpResponse(status=204)
    response.headers["HX-Trigger"] = json.dumps({name: {"value": value}})
    return response
