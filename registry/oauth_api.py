"""Signing in to a server over the HTTP API: start, send a person to the address, finish with what they bring back."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from registry import services
from registry.api import caller, connection_of, validated, visible_server
from registry.async_api import authenticated_user, documented_by
from registry.models import Server
from registry.oauth_views import places_of, session_of
from registry.serializers import ConnectionSerializer, SignInFinishInput, told_of
from registry.signing_in import finish_now, sign_in_of, start_now

REFUSALS = {
    409: OpenApiResponse(description="One cannot sign in there, or was refused; `error.code` says why."),
    503: OpenApiResponse(description="No worker is running."),
}


class SignInStarted(serializers.Serializer[Any]):
    authorization_url = serializers.CharField(help_text="where a person signs in")
    state = serializers.CharField()
    issuer = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    redirect_uri = serializers.CharField(help_text="where they are sent back to, with `code`, `state` and `iss`")
    expires_at = serializers.DateTimeField(help_text="until when they may come back")


class SignInTold(serializers.Serializer[Any]):
    issuer = serializers.CharField(allow_null=True, help_text="the authorisation server; null: none is known")
    scopes = serializers.ListField(child=serializers.CharField())
    problem = serializers.CharField(help_text="why one cannot sign in, or must do it again; else empty")
    signed_in = serializers.JSONField(allow_null=True)


class ServerSignIn(APIView):
    @extend_schema(responses=SignInTold)
    def get(self, request: Request, server: str) -> Response:
        """How the server is signed in to, as its last test found out, and whether you are."""
        seen = sign_in_of(visible_server(request.user, server), caller(request))
        if seen is None:
            return Response({"issuer": None, "scopes": [], "problem": "", "signed_in": None})
        signed_in = told_of(seen.grant) if seen.grant and not seen.grant.problem else None
        scopes, problem = seen.scopes, seen.trouble
        return Response({"issuer": seen.issuer or None, "scopes": scopes, "problem": problem, "signed_in": signed_in})

    @extend_schema(responses={204: None})
    def delete(self, request: Request, server: str) -> Response:
        """Sign out: the tokens are forgotten here and given back there."""
        services.forget_grants(user=caller(request), server=visible_server(request.user, server))
        return Response(status=status.HTTP_204_NO_CONTENT)


class StartDocument(APIView):
    @extend_schema(operation_id="start_sign_in", request=None, responses={200: SignInStarted, **REFUSALS})
    def post(self, request: Request, server: str) -> None:
        """Find out where one signs in to this server, and get the address to send a person to. When they come back in
        a browser that is signed in here, the sign-in is finished by itself: look at the connection's `oauth`."""
        raise MethodNotAllowed("POST")


@documented_by(StartDocument)
@csrf_exempt
async def start(request: HttpRequest, server: str) -> HttpResponse:
    user = await authenticated_user(request, method="POST")
    found = await sync_to_async(visible_server)(user, server)
    places = places_of(request, found)
    sign_in, url, state = await start_now(user=user, server=found, **places)
    told = {"authorization_url": url, "state": state, "issuer": sign_in.issuer, "scopes": sign_in.scopes}
    return JsonResponse(told | {"redirect_uri": sign_in.redirect_uri, "expires_at": sign_in.expires_at})


class FinishDocument(APIView):
    @extend_schema(
        operation_id="finish_sign_in",
        request=SignInFinishInput,
        responses={200: ConnectionSerializer, **REFUSALS},
    )
    def post(self, request: Request, server: str) -> None:
        """Finish with what the authorisation server sent along to the redirect address, once."""
        raise MethodNotAllowed("POST")


@documented_by(FinishDocument)
@csrf_exempt
async def finish(request: HttpRequest, server: str) -> HttpResponse:
    user = await authenticated_user(request, method="POST")
    found, answer = await sync_to_async(_brought_back)(request, user, server)
    state = answer.pop("state")
    session = await session_of(request, is_new=False)
    await finish_now(user=user, state=state, session=session, answer=answer, server=found)
    return JsonResponse(await sync_to_async(_connection)(user, found))


def _brought_back(request: HttpRequest, user: User, server: str) -> tuple[Server, dict[str, str]]:
    found = visible_server(user, server)
    parsers: Any = api_settings.DEFAULT_PARSER_CLASSES
    data = Request(request, parsers=[parser() for parser in parsers]).data
    return found, validated(SignInFinishInput(data=data))


def _connection(user: User, server: Server) -> dict[str, Any]:
    connection = connection_of(user, server)
    return dict(ConnectionSerializer(connection).data) if connection else {}
