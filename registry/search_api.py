"""`GET /registry/search` and `GET /registry/tools/search`."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry.filters import filter_servers
from registry.inputs import Input, Text, WholeNumber, asked
from registry.models import Health, Server, Tool
from registry.search import MAX_HITS, ahead, search_servers, search_tools
from registry.search.results import SearchResult, ServerHit, ToolHit, ToolSearchResult
from registry.serializers import ServerSerializer

DEFAULT_HITS = 20


class SearchQuerySerializer(Input):
    """What both searches take. Blank filters narrow nothing; NUL characters are refused by CharField."""

    q = Text(default="", allow_blank=True, max_length=10_000, help_text="the first 2,000 characters count")
    limit = WholeNumber(default=DEFAULT_HITS, min_value=1, max_value=MAX_HITS)
    tag = Text(default="", allow_blank=True, max_length=64)
    source = Text(default="", allow_blank=True, max_length=32)  # type: ignore[assignment]
    transport = serializers.ChoiceField(Server.Transport.choices, default="", allow_blank=True)
    auth_type = serializers.ChoiceField(Server.AuthType.choices, default="", allow_blank=True)
    health = serializers.ChoiceField(Health.choices, default="", allow_blank=True)
    owner = serializers.ChoiceField(["me", "shared"], default="", allow_blank=True)


class MatchedToolSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    description = serializers.CharField()
    score = serializers.FloatField()


class ServerHitSerializer(ServerSerializer):
    """A server's own JSON, and how it was found. Takes a ServerHit."""

    score = serializers.FloatField()
    matched_tools = MatchedToolSerializer(many=True)
    why = serializers.CharField()

    class Meta(ServerSerializer.Meta):
        fields = [*ServerSerializer.Meta.fields, "score", "matched_tools", "why"]

    def to_representation(self, instance: ServerHit) -> dict[str, Any]:  # type: ignore[override]
        found = {
            "score": instance.score,
            "matched_tools": [
                {"name": one.name, "description": one.description, "score": one.score} for one in instance.matched_tools
            ],
            "why": instance.why,
        }
        return super().to_representation(instance.server) | found


class ServerNameSerializer(serializers.ModelSerializer[Server]):
    class Meta:
        model = Server
        fields = ["id", "slug", "name"]


class ToolHitSerializer(serializers.Serializer[ToolHit]):
    server = ServerNameSerializer(source="tool.server")
    tool = serializers.CharField(source="tool.name")
    description = serializers.CharField(source="tool.description")
    score = serializers.FloatField()


class SearchAnswerSerializer(serializers.Serializer[Any]):
    query = serializers.CharField()
    mode = serializers.ChoiceField(["hybrid", "lexical"])
    fallback_reason = serializers.CharField(allow_null=True)
    took_ms = serializers.FloatField()


class ServerSearchSerializer(SearchAnswerSerializer):
    results = ServerHitSerializer(many=True, source="hits")

    def to_representation(self, instance: SearchResult) -> dict[str, Any]:
        return {
            "query": instance.query,
            "mode": instance.mode,
            "fallback_reason": instance.fallback_reason,
            "took_ms": instance.took_ms,
            "results": [HIT.to_representation(hit) for hit in instance.hits],
        }


class ToolSearchSerializer(SearchAnswerSerializer):
    results = ToolHitSerializer(many=True, source="hits")


# One for all requests: they keep nothing of what they show, and making one costs more than using it.
HIT, ANSWER = ServerHitSerializer(), ServerSearchSerializer()


class ServerSearchView(APIView):
    foresee = staticmethod(ahead.begin)

    @extend_schema(
        operation_id="search_servers",
        summary="Search servers by words and meaning",
        parameters=[SearchQuerySerializer],
        responses={200: ServerSearchSerializer, 400: OpenApiResponse(description="A parameter is wrong.")},
    )
    def get(self, request: Request) -> Response:
        """The best servers first, each with the tools that matched and why. `mode` says how it was searched."""
        filters = asked(SearchQuerySerializer, request)
        q, limit = filters.pop("q"), filters.pop("limit")
        ahead.remember(request)
        found: SearchResult = search_servers(q, user=request.user, filters=filters, limit=limit)
        return Response(ANSWER.to_representation(found))


class ToolSearchView(APIView):
    @extend_schema(
        operation_id="search_tools",
        summary="Search tools by words and meaning",
        parameters=[SearchQuerySerializer],
        responses={200: ToolSearchSerializer, 400: OpenApiResponse(description="A parameter is wrong.")},
    )
    def get(self, request: Request) -> Response:
        """The same search, one result a tool."""
        filters = asked(SearchQuerySerializer, request)
        q, limit = filters.pop("q"), filters.pop("limit")
        servers = filter_servers(Server.objects.visible_to(request.user), filters, request.user)
        tools = Tool.objects.present().filter(server__in=servers.values("pk"))
        found: ToolSearchResult = search_tools(q, tools=tools, limit=limit)
        return Response(ToolSearchSerializer(found).data)
