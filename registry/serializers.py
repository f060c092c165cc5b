"""JSON of servers, tools, connections and health checks, and what comes in."""

from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.commands import fingerprint, is_confirmed
from registry.credentials import CredentialsLost, decrypt
from registry.inputs import Input, Text, WholeNumber
from registry.models import Connection, Health, HealthCheck, OAuthGrant, Policy, Server, Tool
from registry.sharing_api import TeamField

MAX_ITEMS = 100
MAX_VALUE = 8_000
OURS = {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "accept-encoding"}


class ServerSerializer(serializers.ModelSerializer[Server]):
    sources = serializers.SerializerMethodField()
    connected = serializers.SerializerMethodField()

    class Meta:
        model = Server
        fields = [
            "id", "slug", "name", "title", "description", "openapi_url", "auth_type", "tags", "tool_count",
            "model_count", "last_healthcheck", "owner_id", "transport", "url", "command", "args", "source", "sources",
            "version", "homepage", "repository", "license", "icon_url", "status", "health", "health_detail",
            "latency_ms", "last_ok_at", "verified", "visibility", "team", "created_at", "updated_at", "connected",
        ]  # fmt: skip
        read_only_fields = fields

    def to_representation(self, instance: Server) -> dict[str, Any]:
        """Column by column: what a serializer does for each field of each row costs more than the search for them."""
        shown = dict(zip(COLUMNS, _columns_of(instance), strict=True))
        for name in WORDED:
            shown[name] = _plain(shown[name])
        shown["team"] = instance.team_id
        return shown | {"sources": self.get_sources(instance), "connected": self.get_connected(instance)}

    def get_sources(self, server: Server) -> list[str]:
        """Every catalogue that lists it, and where it was first seen."""
        listed = server.listed_in
        if listed is None:
            listed = list(server.source_records.filter(removed_at=None).values_list("source", flat=True))
        return sorted({server.source, *listed})

    def get_connected(self, server: Server) -> bool:
        """Has the caller authorised it?"""
        return server.connected


COLUMNS = [name for name in ServerSerializer.Meta.fields if name not in ("sources", "connected", "team")]
WORDED = [
    name for name in COLUMNS if Server._meta.get_field(name).get_internal_type() in ("UUIDField", "DateTimeField")
]
_columns_of = attrgetter(*COLUMNS)
# Not in its JSON, and a good part of what a list of servers would read.
UNSHOWN = [one.name for one in Server._meta.concrete_fields if not {one.name, one.attname} & {*COLUMNS, "team"}]


def _plain(value: Any) -> Any:
    """As JSON has it: an id in words, a time as RFC 3339 in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


class ToolSerializer(serializers.ModelSerializer[Tool]):
    """Pass the caller's connection as context `connection` (None: not connected), and tools with their acceptance."""

    policy = serializers.SerializerMethodField()
    quarantined = serializers.SerializerMethodField()

    class Meta:
        model = Tool
        fields = [
            "name", "title", "description", "input_schema", "output_schema", "annotations", "schema_hash", "enabled",
            "quarantined", "policy",
        ]  # fmt: skip
        read_only_fields = fields

    def get_policy(self, tool: Tool) -> str:
        """auto, ask or never."""
        connection = self.context.get("connection") or Connection()
        return connection.policy_for(tool).value

    def get_quarantined(self, tool: Tool) -> bool:
        """Not to be called as it is: new or changed since the caller authorised it, or held back for everybody."""
        return tool.change_for(self.context.get("connection")) != Tool.Change.NONE


class HealthCheckSerializer(serializers.ModelSerializer[HealthCheck]):
    tools = serializers.JSONField(source="changes", read_only=True)

    class Meta:
        model = HealthCheck
        fields = [
            "health", "detail", "latency_ms", "protocol_version", "server_name", "server_version", "tool_count",
            "model_count", "tools", "checked_at",
        ]  # fmt: skip
        read_only_fields = fields


GRANT_SCHEMA = {
    "type": ["object", "null"],
    "properties": {
        "issuer": {"type": "string"},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
        "scopes": {"type": "array", "items": {"type": "string"}},
    },
}


def told_of(grant: OAuthGrant) -> dict[str, Any]:
    """Never a token. `expires_at` is that of the access token, which is renewed before."""
    return {"issuer": grant.issuer, "expires_at": _plain(grant.expires_at), "scopes": grant.scopes}


class ConnectionSerializer(serializers.ModelSerializer[Connection]):
    """What the caller authorised. Of credentials only the names."""

    tools = serializers.SerializerMethodField()
    approval = serializers.SerializerMethodField()
    credential_names = serializers.SerializerMethodField()
    oauth = serializers.SerializerMethodField()

    class Meta:
        model = Connection
        fields = [
            "tools", "approval", "credential_names", "oauth", "expires_at", "created_at", "updated_at", "health",
            "health_detail", "latency_ms", "checked_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_tools(self, connection: Connection) -> str | list[str]:
        return "all" if connection.all_tools else connection.tools

    def get_approval(self, connection: Connection) -> dict[str, Any]:
        return {"default": connection.approval_default or None, "tools": connection.approval_tools}

    @extend_schema_field(GRANT_SCHEMA)
    def get_oauth(self, connection: Connection) -> dict[str, Any] | None:
        """The sign-in whose token goes along; null where there is none, or it must be done again."""
        grants = OAuthGrant.objects.usable().filter(user=connection.user_id, server=connection.server_id, problem="")
        grant = grants.first()
        return told_of(grant) if grant else None

    def get_credential_names(self, connection: Connection) -> list[str]:
        try:
            return sorted(decrypt(connection.credentials_encrypted))
        except CredentialsLost:
            return []


class SecretsField(serializers.DictField):
    """Header or environment names → values, at most MAX_ITEMS. The values are never shown again."""

    child = Text(max_length=MAX_VALUE, allow_blank=True, trim_whitespace=False)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        values: dict[str, str] = super().to_internal_value(data)
        if len(values) > MAX_ITEMS:
            raise serializers.ValidationError(f"At most {MAX_ITEMS} entries.")
        for name, value in values.items():
            self.check(name, value)
        return values

    @staticmethod
    def check(name: str, value: str) -> None:
        plain = name.replace("-", "").replace("_", "")
        if not (plain.isascii() and plain.isalnum() and not name[0].isdigit()) or name.lower() in OURS:
            raise serializers.ValidationError(f"{name[:80]!r} cannot be the name of a header or a variable here.")
        if any(char in value for char in "\r\n\x00"):
            raise serializers.ValidationError(f"The value of {name} must be one line.")


class ServerInput(Input):
    """POST (all of it) and PATCH (some of it) of a server."""

    one_of = ("url", "command", "openapi_url")

    name = Text(max_length=255)
    title = Text(max_length=255, required=False, allow_blank=True)
    description = Text(max_length=10_000, required=False, allow_blank=True)
    url = Text(max_length=2_000, required=False)
    transport = serializers.ChoiceField(
        choices=[Server.Transport.STREAMABLE_HTTP, Server.Transport.SSE], required=False, help_text="of a url"
    )
    command = Text(max_length=1_000, required=False)
    args = serializers.ListField(
        child=Text(max_length=4_000, allow_blank=True, trim_whitespace=False),
        max_length=MAX_ITEMS,
        required=False,
    )
    env = SecretsField(required=False, write_only=True)
    openapi_url = Text(max_length=2_000, required=False)
    tags = serializers.ListField(child=Text(max_length=64), max_length=50, required=False)
    auth_type = serializers.ChoiceField(choices=Server.AuthType.choices, required=False)
    credentials = SecretsField(required=False, write_only=True)
    visibility = serializers.ChoiceField(choices=Server.Visibility.choices, required=False)
    team = TeamField()

    def validate_tags(self, tags: list[str]) -> list[str]:
        return list(dict.fromkeys(tags))

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        given = [name for name in self.one_of if name in attrs]
        for name in ("args", "env"):
            if name in attrs and given and given != ["command"]:
                raise serializers.ValidationError({name: f"{name} belongs to a server with a command."})
        if "transport" in attrs and given and given != ["url"]:
            raise serializers.ValidationError({"transport": "transport belongs to a server with a url."})
        return attrs


class ApprovalInput(Input):
    default = serializers.ChoiceField(choices=Policy.choices, required=False, allow_null=True)
    tools = serializers.DictField(child=serializers.ChoiceField(choices=Policy.choices), required=False)


class AcceptInput(Input):
    schema_hash = Text(
        required=False, max_length=64, help_text="of the definition that was looked at; another one is refused"
    )


@extend_schema_field({"oneOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]})
class ToolNamesField(serializers.Field[Any, Any, Any, Any]):
    """`"all"` or a list of tool names."""

    def to_internal_value(self, data: Any) -> list[str] | None:
        if data == "all":
            return None
        if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
            raise serializers.ValidationError('Give "all" or a list of tool names.')
        return data

    def to_representation(self, value: Any) -> Any:
        return "all" if value is None else value


class CommandSerializer(serializers.Serializer[Any]):
    """What is started, exactly; `fingerprint` changes with every word of it."""

    command = serializers.CharField()
    args = serializers.ListField(child=serializers.CharField())
    env = serializers.DictField(child=serializers.CharField())
    fingerprint = serializers.CharField()
    confirmed = serializers.BooleanField()

    def to_representation(self, instance: Server) -> dict[str, Any]:
        shown = {"command": instance.command, "args": instance.args, "env": instance.env}
        return shown | {"fingerprint": fingerprint(instance), "confirmed": is_confirmed(instance)}


class CommandInput(Input):
    fingerprint = Text(max_length=64, help_text="of the command that was looked at")


class ConnectionInput(Input):
    tools = ToolNamesField(default=None)
    approval = ApprovalInput(required=False)
    credentials = SecretsField(required=False, write_only=True)


class SignInFinishInput(Input):
    """What the authorisation server sent to our callback address, as parameters of its query."""

    state = Text(max_length=MAX_VALUE)
    code = Text(max_length=MAX_VALUE, required=False, allow_blank=True)
    iss = Text(max_length=MAX_VALUE, required=False)
    error = Text(max_length=MAX_VALUE, required=False, allow_blank=True)
    error_description = Text(max_length=MAX_VALUE, required=False, allow_blank=True)


class ServerFilters(Input):
    """Query parameters of the list and, but for sort, of the search."""

    q = Text(required=False, allow_blank=True, max_length=500)
    tag = Text(required=False, allow_blank=True, max_length=64)
    source = Text(required=False, allow_blank=True, max_length=32)  # type: ignore[assignment]
    transport = serializers.ChoiceField(choices=Server.Transport.choices, required=False, allow_blank=True)
    auth_type = serializers.ChoiceField(choices=Server.AuthType.choices, required=False, allow_blank=True)
    health = serializers.ChoiceField(choices=Health.choices, required=False, allow_blank=True)
    owner = serializers.ChoiceField(choices=["me", "shared"], required=False, allow_blank=True)
    sort = serializers.ChoiceField(choices=["newest", "name", "health", "tools", "match"], default="newest")
    limit = WholeNumber(min_value=1, max_value=200, required=False)
