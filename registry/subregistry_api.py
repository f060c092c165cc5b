"""The sub-registry: public servers for other clients, in the official registry's API. No token, any origin.

A page begins after the last server of the one before, oldest first: what is added while a client reads comes at the
end. With `updated_since` deleted servers are listed too, as deleted.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import wraps
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from django.db.models import Prefetch, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.views import APIView

from registry.async_api import documented_by
from registry.inputs import WholeNumber, once_each
from registry.models import Server, ServerQuerySet, SourceRecord
from registry.pages import View, first_sentence, wants_html
from registry.search import list_filter
from registry.server_json import NAMING_SOURCES, NO_VERSION, entry_of, own_slug

DEFAULT_LIMIT, MAX_LIMIT = 30, 100
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*, Authorization",  # which * does not mean
    "Access-Control-Max-Age": "86400",  # seconds
}


class Refused(Exception):
    """`status` and the sentence of `{"error": …}`."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Filters(serializers.Serializer[Any]):
    search = serializers.CharField(default="", allow_blank=True, max_length=500)
    updated_since = serializers.DateTimeField(default=None, allow_null=True)
    version = serializers.CharField(default="", allow_blank=True, max_length=255, help_text="latest, or exactly this")


@extend_schema_field({"type": "string", "format": "cursor", "maxLength": 4_000})
class CursorField(serializers.CharField):
    """Where to go on, as `nextCursor` of the page before has it."""


class ListQuery(Filters):
    limit = WholeNumber(default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT)
    cursor = CursorField(default="", allow_blank=True, max_length=4_000)


def open_to_all(view: Callable[..., dict[str, Any]]) -> View:
    """GET of JSON from any origin; what is refused is `{"error": …}`."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = HttpResponse(status=204) if request.method == "OPTIONS" else answer(request, *args, **kwargs)
        for name, value in CORS.items():
            response.headers[name] = value
        return response

    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method not in {"GET", "HEAD"}:
            return JsonResponse({"error": "Only GET is answered here"}, status=405, headers={"Allow": "GET, OPTIONS"})
        try:
            return JsonResponse(view(request, *args, **kwargs))
        except Refused as refused:
            return JsonResponse({"error": str(refused)}, status=refused.status)

    wrapped.csrf_exempt = True  # type: ignore[attr-defined]
    return wrapped


def or_page(page: View, api: View) -> View:
    """`/servers` is a page; a client that asks for JSON, or whether it may, gets the list."""

    def chosen(request: HttpRequest) -> HttpResponse:
        asks_json = "application/json" in request.headers.get("Accept", "") and not wants_html(request)
        response = api(request) if asks_json or request.method == "OPTIONS" else page(request)
        patch_vary_headers(response, ["Accept"])
        return response

    return chosen


class ListDocument(APIView):
    @extend_schema(
        operation_id="list_public_servers",
        auth=[],
        parameters=[ListQuery],
        responses={200: OpenApiTypes.OBJECT, 400: OpenApiTypes.OBJECT},
    )
    def get(self, request: Any) -> None:
        """Public servers, as an MCP registry lists them: `{"servers": [{"server", "_meta"}], "metadata"}`."""


class VersionsDocument(APIView):
    @extend_schema(
        operation_id="list_public_server_versions",
        auth=[],
        responses={200: OpenApiTypes.OBJECT, 404: OpenApiTypes.OBJECT},
    )
    def get(self, request: Any, name: str) -> None:
        """The versions of a public server: the newest one is kept."""


class VersionDocument(APIView):
    @extend_schema(
        operation_id="get_public_server_version",
        auth=[],
        responses={200: OpenApiTypes.OBJECT, 404: OpenApiTypes.OBJECT},
    )
    def get(self, request: Any, name: str, version: str) -> None:
        """One version of a public server; `latest` is the newest."""


@documented_by(ListDocument)
@open_to_all
def servers(request: HttpRequest) -> dict[str, Any]:
    asked = _validated(ListQuery(data=_once_each(request)))
    limit, cursor = asked.pop("limit"), asked.pop("cursor")
    after = None
    if cursor:
        after, asked = _decoded(cursor)
    rows = list(_page(asked, after)[: limit + 1])
    shown = rows[:limit]
    metadata: dict[str, Any] = {"count": len(shown)}
    if len(rows) > limit:
        metadata["nextCursor"] = _encoded(shown[-1], asked)
    return {"servers": _entries(shown), "metadata": metadata}


@documented_by(VersionsDocument)
@open_to_all
def versions(request: HttpRequest, name: str) -> dict[str, Any]:
    return {"servers": [_entry(name)], "metadata": {"count": 1}}


@documented_by(VersionDocument)
@open_to_all
def version(request: HttpRequest, name: str, version: str) -> dict[str, Any]:
    entry = _entry(name)
    if unquote(version) not in ("latest", entry["server"]["version"]):
        raise Refused("Server not found", 404)
    return entry


def _once_each(request: HttpRequest) -> dict[str, str]:
    try:
        return once_each(request.GET)
    except serializers.ValidationError as error:
        raise Refused(f"A parameter stands twice. {first_sentence(error.detail)}") from error


def _validated(serializer: Any) -> dict[str, Any]:
    if not serializer.is_valid():
        name, errors = next(iter(serializer.errors.items()))
        raise Refused(f"Invalid {name}: {first_sentence(errors)}")
    return dict(serializer.validated_data)


def _page(filters: dict[str, Any], after: tuple[datetime, UUID] | None) -> ServerQuerySet:
    servers = list_filter(_public(), filters["search"]).servers
    if filters["updated_since"]:
        servers = servers.filter(updated_at__gte=filters["updated_since"])
    else:
        servers = servers.exclude(status=Server.Status.DELETED)
    if (version := filters["version"]) not in ("", "latest"):
        servers = servers.filter(version__in=[version, ""] if version == NO_VERSION else [version])
    if after:
        created_at, pk = after
        servers = servers.filter(Q(created_at__gt=created_at) | Q(pk__gt=pk), created_at__gte=created_at)
    return servers.order_by("created_at", "id")


def _public() -> ServerQuerySet:
    records = SourceRecord.objects.filter(source__in=NAMING_SOURCES)
    records = records.only("server_id", "source", "external_id", "data", "removed_at")
    named = Prefetch("source_records", records, to_attr="naming_records")
    return Server.objects.filter(visibility=Server.Visibility.PUBLIC).prefetch_related(named)


def _entries(servers: Iterable[Any]) -> list[dict[str, Any]]:
    return [entry_of(server, server.naming_records) for server in servers]


def _entry(name: str) -> dict[str, Any]:
    """By the name it is listed under. Raises Refused."""
    name = unquote(name)
    public = _public().exclude(status=Server.Status.DELETED)
    if "\x00" in name:
        raise Refused("Server not found", 404)
    if slug := own_slug(name):
        found = public.filter(slug=slug)
    else:
        records = SourceRecord.objects.filter(external_id=name, source__in=NAMING_SOURCES)
        found = public.filter(pk__in=records.values("server_id"))
    entry = next((entry for entry in _entries(found) if entry["server"]["name"] == name), None)
    if entry is None:
        raise Refused("Server not found", 404)
    return entry


def _encoded(last: Server, filters: dict[str, Any]) -> str:
    since = filters["updated_since"]
    carried = {**filters, "updated_since": since.isoformat() if since else None}
    place = json.dumps([last.created_at.isoformat(), str(last.pk), carried], separators=(",", ":"))
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[tuple[datetime, UUID], dict[str, Any]]:
    """The place after which the page begins, and the filters of the list. Raises Refused."""
    try:
        created_at, pk, filters = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        place = datetime.fromisoformat(created_at), UUID(pk)
        if place[0].tzinfo is None:
            raise ValueError("no time zone")
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused("Invalid cursor") from error
    return place, _validated(Filters(data=filters))
