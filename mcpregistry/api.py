"""What every part of the HTTP API shares: one error shape, cursor pagination, optional slashes."""

import base64
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, ValidationError
from django.db import DataError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import is_valid_path
from rest_framework import exceptions, pagination
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import exception_handler as drf_exception_handler

from registry.inputs import once

API_PREFIXES = (
    "/registry",
    "/chat",
    "/chain",
    "/results",
    "/teams",
    "/api",
    "/healthz",
    "/livez",
    "/readyz",
    "/metrics",
    "/v0.1",
)
STATUS_CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    414: "too_large",
    415: "unsupported_media_type",
    429: "throttled",
    431: "too_large",
}


def error_body(code: str, message: str, fields: Any = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "fields": fields or {}}}


def message_of(detail: Any) -> str:
    """The first sentence in a DRF error detail, however deep it sits."""
    if isinstance(detail, dict):
        name, first = next(iter(detail.items()), ("", "Invalid input."))
        text = message_of(first)
        return text if name in {"non_field_errors", "detail"} else f"{name}: {text}"
    if isinstance(detail, list):
        return message_of(detail[0]) if detail else "Invalid input."
    return str(detail)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Translate what a DRF view raised into `{"error": {"code", "message", "fields"}}`; None lets Django see it."""
    response = drf_exception_handler(error, context)
    if response is None:
        return None
    fields: Any
    if isinstance(error, exceptions.ValidationError):
        fields = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        response.data = error_body(code_of(error, response.status_code), message_of(error.detail), fields)
    elif isinstance(error, exceptions.APIException):
        fields = getattr(error, "fields", None)  # an exception may carry more than its sentence
        response.data = error_body(code_of(error, response.status_code), message_of(error.detail), fields)
    else:  # Http404 and PermissionDenied, as DRF translates them
        code = STATUS_CODES.get(response.status_code, "error")
        response.data = error_body(code, message_of(response.data))
    return response


def code_of(error: exceptions.APIException, status: int) -> str:
    codes = error.get_codes()
    return codes if isinstance(codes, str) else "invalid" if status == 400 else STATUS_CODES.get(status, "error")


class InvalidCursor(exceptions.ValidationError):
    """A cursor that is none of ours, or belongs to a list in another order."""

    def __init__(self) -> None:
        super().__init__({"cursor": ["This is no place in this list: begin again without a cursor."]})


class CursorPagination(pagination.CursorPagination):
    """`{"results": […], "next": "url or null", "count": n}` with an opaque cursor; newest first by default.

    A page begins after the last row of the one before, by all columns of the order together, so that any number of
    rows may be equal in the first of them. The last column is unique; none of them is ever null.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"
    ordering: Any = ("-created_at", "-id")
    total: int | None = None  # rows of all pages, where the view knows it

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any] | None:
        self.address = request.build_absolute_uri()
        place = self.check(request)
        try:
            after = queryset.filter(self._after(place)) if place else queryset
            rows = list(after.order_by(*self.ordering)[: self.page_size + 1])
        except (ValueError, ValidationError, DataError) as error:  # a forged place is no value of its column
            raise InvalidCursor from error
        if self.total is None:
            is_whole = not place and len(rows) <= self.page_size
            self.total = len(rows) if is_whole else queryset.count()
        return self.cut(rows)

    def first_page(self, request: Any, read: Callable[[int], list[Any]]) -> list[Any] | None:
        """As `paginate_queryset`, where the view reads so many first rows by itself and knows the total; None where the
        request goes on after a place."""
        self.address = request.build_absolute_uri()
        return None if self.check(request) else self.cut(read(self.page_size + 1))

    def cut(self, rows: list[Any]) -> list[Any]:
        """Read was one more than a page holds."""
        self.rows, self.has_next = rows[: self.page_size], len(rows) > self.page_size
        return self.rows

    def check(self, request: Any) -> list[Any] | None:
        """Where the request goes on, with `page_size` as it wants it. Raises ValidationError."""
        self.page_size = self.get_page_size(request)
        self.ordering = tuple(self.ordering)
        return self._place(once(request.query_params, self.cursor_query_param))

    def get_page_size(self, request: Any) -> int:
        told = once(request.query_params, self.page_size_query_param)
        if told is None:
            return self.page_size
        if not (told.isascii() and told.isdigit() and len(told) < 5 and 1 <= int(told) <= self.max_page_size):
            raise exceptions.ValidationError({"limit": [f"A whole number from 1 to {self.max_page_size}."]})
        return int(told)

    def get_next_link(self) -> str | None:
        if not self.has_next:
            return None
        place = [_plain(getattr(self.rows[-1], name.lstrip("-"))) for name in self.ordering]
        told = json.dumps([",".join(self.ordering), *place], separators=(",", ":"))
        cursor = base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")
        return replace_query_param(self.address, self.cursor_query_param, cursor)

    def _place(self, cursor: str | None) -> list[Any] | None:
        """The values of the ordering's columns in the row after which the page begins."""
        if not cursor:
            return None
        try:
            order, *place = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidCursor from error
        is_ours = order == ",".join(self.ordering) and len(place) == len(self.ordering)
        if not is_ours or not all(isinstance(one, str | int) and "\x00" not in str(one) for one in place):
            raise InvalidCursor
        return place

    def _after(self, place: list[Any]) -> Q:
        """Later in one column and equal in all before it; the bound on the first column alone lets an index serve."""
        names = [name.lstrip("-") for name in self.ordering]
        later = ["lt" if name.startswith("-") else "gt" for name in self.ordering]
        after = Q()
        for position in range(len(names)):
            equal = Q(**dict(zip(names[:position], place, strict=False)))
            after |= equal & Q(**{f"{names[position]}__{later[position]}": place[position]})
        return after & Q(**{f"{names[0]}__{later[0]}e": place[0]})

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "count": self.total})

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        size = {"type": "integer", "minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        return [
            {
                "name": self.cursor_query_param,
                "in": "query",
                "description": "Where to go on, as `next` of the page before has it.",
                "schema": {"type": "string", "format": "cursor"},
            },
            {"name": self.page_size_query_param, "in": "query", "description": "Rows of a page.", "schema": size},
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next", "count"],
            "properties": {
                "results": schema,
                "next": {"type": ["string", "null"], "format": "uri"},
                "count": {"type": "integer"},
            },
        }


def _plain(value: Any) -> str | int:
    """As JSON has it; what a filter on the column understands."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, int) else str(value)


def wants_json(request: HttpRequest) -> bool:
    """Is this a program calling? It names no HTML, and calls the API's addresses, brings a token, or asks for JSON."""
    accept = request.headers.get("Accept", "*/*")
    if "text/html" in accept:
        return False
    path = request.path_info
    is_api = any(path == prefix or path.startswith(f"{prefix}/") for prefix in API_PREFIXES)
    return is_api or "Authorization" in request.headers or "application/json" in accept


def error_response(error: Exception) -> JsonResponse | None:
    """The JSON answer for what a view outside DRF raised, or None for what nobody foresaw."""
    match error:
        case exceptions.APIException():
            response = exception_handler(error, {})
            assert response is not None
            allowed = getattr(error, "allowed", None)
            headers = {"Allow": allowed} if allowed else None
            return JsonResponse(response.data, status=response.status_code, headers=headers)
        case Http404():
            return JsonResponse(error_body("not_found", str(error) or "Not found."), status=404)
        case PermissionDenied():
            return JsonResponse(error_body("permission_denied", str(error) or "You may not do this."), status=403)
        case RequestDataTooBig():
            return JsonResponse(error_body("too_large", "The request body is too large."), status=413)
        case SuspiciousOperation():
            return JsonResponse(error_body("bad_request", "The request could not be understood."), status=400)
    return None


class JsonErrorsMiddleware:
    """No HTML ever answers an API call: errors that Django would render as pages become the JSON shape."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if iscoroutinefunction(self.get_response):
            return self.acall(request)
        return self.as_json(request, self.get_response(request))

    async def acall(self, request: HttpRequest) -> HttpResponseBase:
        return self.as_json(request, await self.get_response(request))

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        is_of_a_call = isinstance(error, exceptions.APIException)  # of one that a person opened in a browser
        return error_response(error) if is_of_a_call or wants_json(request) else None

    def as_json(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if response.status_code < 400 or not is_page or not wants_json(request):
            return response
        status = response.status_code
        code = STATUS_CODES.get(status, "server_error" if status >= 500 else "bad_request")
        message = "Something went wrong on our side; it has been logged." if status >= 500 else response.reason_phrase
        return JsonResponse(error_body(code, message), status=status)


class OptionalSlashMiddleware:
    """`/registry/` and `/registry` are the same address: a trailing slash that matches nothing is dropped.

    Innermost and for threads only: then Django runs all others in the request's one thread as well. Between middleware
    that could be either, it changes threads twice for each, which took two milliseconds of every request.
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        path = request.path_info
        if path != "/" and path.endswith("/") and not is_valid_path(path) and is_valid_path(path.rstrip("/")):
            request.path_info = path.rstrip("/")
        return self.get_response(request)
