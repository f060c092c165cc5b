"""The HTTP API of servers, their tools, their health and connections."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import APIException, MethodNotAllowed, NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry import services
from registry.async_api import authenticated_user, documented_by
from registry.commands import fingerprint
from registry.filters import filter_servers
from registry.healthchecks import check_now
from registry.inputs import asked, validated
from registry.models import Connection, Server, ServerQuerySet, Tool
from registry.ordering import SORTS, ordered
from registry.pages import FragmentRenderer, message_of, refusal, wants_html
from registry.search import READ_SORTS, list_filter, read_page
from registry.serializers import (
    UNSHOWN,
    AcceptInput,
    CommandInput,
    CommandSerializer,
    ConnectionInput,
    ConnectionSerializer,
    HealthCheckSerializer,
    ServerFilters,
    ServerInput,
    ServerSerializer,
    ToolSerializer,
)
from registry.sharing_api import shared, team_told
from registry.views import server_tested


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


def caller(request: Request) -> User:
    """Who is signed in; the permission classes let nobody else through."""
    assert isinstance(request.user, User)
    return request.user


def shown(servers: ServerQuerySet, user: Any) -> ServerQuerySet:
    """With all that a server's JSON needs."""
    return servers.with_connection_of(user).with_sources()


def visible_server(user: Any, slug_or_id: str) -> Server:
    """Staff see every server that is not deleted. Raises NotFound."""
    every = Server.objects.exclude(status=Server.Status.DELETED)
    seen = every if user.is_staff else Server.objects.visible_to(user)
    server = shown(seen.named(slug_or_id), user).first()
    if server is None:
        raise NotFound("There is no such server, or you may not see it.")
    return server


def own_server(user: Any, slug_or_id: str) -> Server:
    """One the user may change. Raises NotFound or PermissionDenied."""
    server = visible_server(user, slug_or_id)
    check_own(server, user)
    return server


def check_own(server: Server, user: Any) -> None:
    """Raises PermissionDenied."""
    if server.owner_id != user.pk and not user.is_staff:
        raise PermissionDenied("Only its owner or staff may change this server.")


SHOWN = ServerSerializer()  # one for all requests: it keeps nothing of what it shows


class SuggestionsRenderer(FragmentRenderer):
    template_name = "registry/_suggestions.html"


class ServerList(generics.GenericAPIView):
    serializer_class = ServerSerializer

    def get_renderers(self) -> list[Any]:
        """JSON; for a browser that types in “Add new MCP” (`Accept: text/html`) suggestions."""
        is_typing = self.request is not None and self.request.method == "GET" and wants_html(self.request)
        return [SuggestionsRenderer()] if is_typing else super().get_renderers()

    @extend_schema(parameters=[ServerFilters], responses=ServerSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The servers you may see, page by page."""
        filters, user = asked(ServerFilters, request), caller(request)
        q, sort = filters.get("q", ""), filters["sort"]
        fitting = list_filter(filter_servers(Server.objects.visible_to(user), filters, user), q)
        paginator: Any = self.paginator
        paginator.ordering, paginator.total = SORTS[sort], fitting.total
        rows = None
        if (ids := fitting.ids) and sort in READ_SORTS:
            rows = paginator.first_page(request, lambda size: read_page(ids, user=user, sort=sort, size=size))
        if rows is None:
            servers = ordered(shown(fitting.servers, user).defer(*UNSHOWN), sort, q)
            rows = self.paginate_queryset(servers) or []
        return self.get_paginated_response([SHOWN.to_representation(row) for row in rows])

    @extend_schema(request=ServerInput, responses={201: ServerSerializer})
    def post(self, request: Request) -> Response:
        """Add a server of your own: by its address, by the command that starts it, or by an OpenAPI document."""
        fields = validated(ServerInput(data=request.data))
        team = team_told(fields, caller(request))
        fields.pop("team", None)
        server = saved(services.add_server, owner=caller(request), **fields)
        if server.transport == Server.Transport.STDIO:  # it was written out in this very request
            services.confirm_command(user=caller(request), server=server, shown=fingerprint(server))
        if team is not None:
            shared(server, team, caller(request))
        return Response(ServerSerializer(server).data, status=status.HTTP_201_CREATED)


class ServerDetail(APIView):
    @extend_schema(responses=ServerSerializer)
    def get(self, request: Request, server: str) -> Response:
        """One server, by its slug or id."""
        return Response(ServerSerializer(visible_server(request.user, server)).data)

    @extend_schema(request=ServerInput, responses=ServerSerializer)
    def patch(self, request: Request, server: str) -> Response:
        """Change a server of yours. A new address is a new thing to trust: it is tested and authorised again. The
        admins of the team it is shared with may send `"team": null` alone: it is shared no longer."""
        found, user = visible_server(request.user, server), caller(request)
        fields = validated(ServerInput(data=request.data, partial=True))
        team, says_team = team_told(fields, user), "team" in fields
        fields.pop("team", None)
        if fields or not says_team:
            check_own(found, user)
            found = saved(services.update_server, server=found, by=user, **fields)
        if says_team:
            shared(found, team, user)
        return Response(ServerSerializer(found).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, server: str) -> Response:
        """Remove a server of yours."""
        services.delete_server(server=own_server(request.user, server))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ServerTools(generics.GenericAPIView):
    serializer_class = ToolSerializer

    @extend_schema(responses=ToolSerializer(many=True))
    def get(self, request: Request, server: str) -> Response:
        """The tools a server offers, each with the policy you set for it."""
        found = visible_server(request.user, server)
        assert self.paginator is not None
        self.paginator.ordering = ("name", "id")  # type: ignore[attr-defined]
        tools = self.paginate_queryset(Tool.objects.present().filter(server=found).with_acceptance_of(request.user))
        context = {"connection": connection_of(request.user, found)}
        return self.get_paginated_response(ToolSerializer(tools, many=True, context=context).data)


class ToolAccept(APIView):
    @extend_schema(request=AcceptInput, responses=ToolSerializer)
    def post(self, request: Request, server: str, tool: str) -> Response:
        """Accept a tool as it is defined now, for yourself."""
        found = visible_server(request.user, server)
        wanted = validated(AcceptInput(data=request.data))
        try:
            services.accept_tools(user=caller(request), server=found, seen={tool: wanted.get("schema_hash")})
        except services.UnknownTools as unknown:
            raise NotFound(str(unknown)) from unknown
        except (services.NotConnected, services.ChangedAgain) as refused:
            raise Conflict(str(refused)) from refused
        accepted = Tool.objects.filter(server=found, name=tool).with_acceptance_of(request.user).get()
        return Response(ToolSerializer(accepted, context={"connection": connection_of(request.user, found)}).data)


class ServerConnection(APIView):
    @extend_schema(responses=ConnectionSerializer)
    def get(self, request: Request, server: str) -> Response:
        """What you have authorised of a server. Of credentials only the names."""
        connection = connection_of(request.user, visible_server(request.user, server))
        if connection is None:
            raise NotFound("You have not authorised this server.")
        return Response(ConnectionSerializer(connection).data)

    @extend_schema(request=ConnectionInput, responses=ConnectionSerializer)
    def put(self, request: Request, server: str) -> Response:
        """Authorise a server's tools, say when to be asked, and leave the credentials it wants."""
        found = visible_server(request.user, server)
        wanted = validated(ConnectionInput(data=request.data))
        try:
            connection = services.authorise(user=caller(request), server=found, **wanted)
        except services.UnknownTools as unknown:
            raise ValidationError({unknown.field: [str(unknown)]}) from unknown
        except services.MayNotStart as refused:
            raise PermissionDenied(refused.message) from refused
        return Response(ConnectionSerializer(connection).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, server: str) -> Response:
        """Take the authorisation and the credentials back."""
        services.revoke(user=caller(request), server=visible_server(request.user, server))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ServerCommand(APIView):
    """Of a server that is started by a command: nothing is, before staff have written or confirmed exactly that."""

    @extend_schema(responses=CommandSerializer)
    def get(self, request: Request, server: str) -> Response:
        return Response(CommandSerializer(started_server(request.user, server)).data)

    @extend_schema(request=CommandInput, responses=CommandSerializer)
    def post(self, request: Request, server: str) -> Response:
        """Confirm the command with this fingerprint; 409 where it is another one by now."""
        found = started_server(request.user, server)
        wanted = validated(CommandInput(data=request.data))
        try:
            services.confirm_command(user=caller(request), server=found, shown=wanted["fingerprint"])
        except services.MayNotStart as refused:
            raise PermissionDenied(refused.message) from refused
        except services.ChangedCommand as changed:
            raise Conflict(str(changed)) from changed
        return Response(CommandSerializer(found).data)


def started_server(user: Any, slug_or_id: str) -> Server:
    server = visible_server(user, slug_or_id)
    if server.transport != Server.Transport.STDIO:
        raise NotFound("This server is not started by a command.")
    return server


class HealthcheckDocument(APIView):
    """Describes `healthcheck` in the API's document."""

    @extend_schema(
        operation_id="test_connection",
        request=None,
        responses={200: HealthCheckSerializer, 503: OpenApiResponse(description="No worker answered.")},
    )
    def post(self, request: Request, server: str) -> Response:
        """Test the connection now, in a worker: 200 whatever was found."""
        raise MethodNotAllowed("POST")


@documented_by(HealthcheckDocument)
@csrf_exempt
async def healthcheck(request: HttpRequest, server: str) -> HttpResponse:
    """POST: test the connection now, in a worker; 200 whatever was found, 503 when no worker answered.

    JSON, or the part of the server's page that shows it for `Accept: text/html`."""
    user = await authenticated_user(request, method="POST")
    found = await sync_to_async(visible_server)(user, server)
    if wants_html(request):
        return await tested_fragment(request, user, found)
    return JsonResponse(HealthCheckSerializer(await check_now(found, user)).data)


async def tested_fragment(request: HttpRequest, user: User, server: Server) -> HttpResponse:
    try:
        await check_now(server, user)
    except APIException as error:
        return refusal(request, message_of(error), error.status_code)
    return await sync_to_async(server_tested)(request, server.pk, user)


def connection_of(user: Any, server: Server) -> Connection | None:
    return Connection.objects.valid().filter(user_id=user.pk, server=server).first()


def saved(verb: Any, **arguments: Any) -> Server:
    """What a service refuses, as the API says it."""
    try:
        return verb(**arguments)
    except services.AddressRefused as refused:
        raise ValidationError({refused.field: [refused.message]}) from refused
    except services.MayNotStart as refused:
        raise PermissionDenied(refused.message) from refused
    except services.DuplicateServer as duplicate:
        raise Conflict(f"{duplicate} Its id is {duplicate.existing.pk}.") from duplicate
