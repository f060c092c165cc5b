"""Which servers and tools exist, and what users authorised of them."""

import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q, Subquery
from django.db.models.functions import Coalesce, Lower, Now
from django.utils import timezone
from pgvector.django import VectorField

from registry.models.acceptances import Acceptance
from registry.models.base import (
    EMBEDDING_DIMENSIONS,
    Health,
    LightManager,
    Policy,
    equals_any,
    first_probe_at,
)
from registry.models.catalogues import SourceRecord
from registry.models.teams import Belonging, Shareable, teams_of

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


def _connections_of(user: "User | AnonymousUser") -> models.Exists:
    return models.Exists(Connection.objects.granting().filter(Q(user_id=user.pk), server=models.OuterRef("pk")))


class ServerQuerySet(models.QuerySet["Server"]):
    def visible_to(self, user: "User | AnonymousUser") -> "ServerQuerySet":
        """Public servers, the user's own and those of their teams; what a user may not see does not exist for them."""
        seen = Q(visibility=Server.Visibility.PUBLIC)
        if user.pk is not None:
            seen |= Q(owner_id=user.pk) | Q(team__in=teams_of(user))
        return self.filter(seen).exclude(status=Server.Status.DELETED)

    def due(self, transports: Iterable[str]) -> "ServerQuerySet":
        """Those to test again now. A command is started unasked only where somebody connected it."""
        connected = models.Exists(Connection.objects.granting().filter(server=models.OuterRef("pk")))
        unasked = self.filter(~Q(transport=Server.Transport.STDIO) | connected, transport__in=transports)
        return unasked.filter(next_probe_at__lte=timezone.now()).exclude(status=Server.Status.DELETED)

    def owned_by(self, user: "User | AnonymousUser") -> "ServerQuerySet":
        return self.filter(owner_id=user.pk)

    def shared_with(self, user: "User | AnonymousUser") -> "ServerQuerySet":
        """What others share with a team of theirs."""
        return self.filter(team__in=teams_of(user)).exclude(owner_id=user.pk)

    def named(self, slug_or_id: str) -> "ServerQuerySet":
        """The server a plan or an address means by a slug or an id."""
        try:
            return self.filter(pk=uuid.UUID(slug_or_id))
        except ValueError:
            if "\x00" in slug_or_id:
                return self.none()
            return self.filter(Q(slug=slug_or_id) | Q(former_slugs__contains=[slug_or_id]))

    def called(self, lower: "str | models.Expression") -> "ServerQuerySet":
        """Servers with exactly this name or slug, given in lower case."""
        return self.alias(lower_name=Lower("name")).filter(Q(lower_name=lower) | Q(slug=lower))

    def among(self, ids: models.Expression, others: models.QuerySet[Any]) -> "ServerQuerySet":
        """Those of an array of ids and of the ids of another query, which is asked first and then looked up with
        them."""
        return self.filter(equals_any("pk", models.Func(ids, ArraySubquery(others), function="array_cat")))

    def with_connection_of(self, user: "User | AnonymousUser") -> "ServerQuerySet":
        """Annotate `connected`: has this user authorised anything of the server?"""
        return self.annotate(connected=_connections_of(user))

    def connected_by(self, user: "User | AnonymousUser") -> "ServerQuerySet":
        return self.filter(_connections_of(user))

    def listed_by(self, source: str) -> "ServerQuerySet":
        """Servers that this catalogue lists, whichever of their catalogues is believed most; one without records was
        first seen at its `source`."""
        listed = SourceRecord.objects.live().filter(source=source)
        of_source = Server.objects.filter(source=source).order_by()
        return self.filter(pk__in=of_source.values("pk").union(listed.values("server_id")))

    def with_sources(self) -> "ServerQuerySet":
        """Annotate `listed_in`: the names of the catalogues that list each server."""
        records = SourceRecord.objects.filter(server=models.OuterRef("pk"), removed_at=None).order_by()
        return self.annotate(listed_in=ArraySubquery(records.values("source").distinct()))


class Server(Shareable):
    class Transport(models.TextChoices):
        STREAMABLE_HTTP = "streamable_http", "Streamable HTTP"
        SSE = "sse", "SSE"
        STDIO = "stdio", "Command"
        OPENAPI = "openapi", "OpenAPI"

    class Status(models.TextChoices):
        ACTIVE = "active"
        DEPRECATED = "deprecated"
        DELETED = "deleted"

    class Visibility(models.TextChoices):
        PUBLIC = "public"
        PRIVATE = "private"

    class AuthType(models.TextChoices):
        NONE = "none"
        BEARER = "bearer"
        API_KEY = "api_key", "API key"
        BASIC = "basic"
        OAUTH2 = "oauth2", "OAuth 2"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=255)
    title = models.CharField(max_length=255, blank=True)
    description = models.TextField(blank=True)
    openapi_url = models.TextField(blank=True)
    auth_type = models.CharField(max_length=16, choices=AuthType, default=AuthType.NONE)
    tags = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    tool_count = models.PositiveIntegerField(default=0, help_text="tools last seen")
    model_count = models.PositiveIntegerField(default=0, help_text="named data models its tools declare")
    last_healthcheck = models.DateTimeField(null=True, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="servers"
    )

    transport = models.CharField(
        max_length=16, choices=Transport, blank=True, help_text="empty: a catalogue lists it without an address"
    )
    url = models.TextField(blank=True)
    command = models.TextField(blank=True)
    args = ArrayField(models.TextField(), default=list, blank=True)
    env = models.JSONField(default=dict, blank=True, help_text="environment of the command; never a secret")
    confirmed_command = models.CharField(max_length=64, blank=True, editable=False)  # see registry/commands.py
    env_schema = models.JSONField(default=list, blank=True, help_text="variables and headers it asks for")
    source = models.CharField(max_length=32, default="custom", help_text="where it was first seen")
    external_id = models.CharField(max_length=512, blank=True)
    field_sources: Any = models.JSONField(default=dict, blank=True, help_text="column → the catalogue it came from")
    former_slugs: Any = ArrayField(
        models.CharField(max_length=100), default=list, blank=True, help_text="of duplicates that became this server"
    )
    version = models.CharField(max_length=255, blank=True)
    homepage = models.TextField(blank=True)
    repository = models.TextField(blank=True)
    license = models.CharField(max_length=255, blank=True)
    icon_url = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.ACTIVE)
    health = models.CharField(max_length=16, choices=Health, default=Health.UNTESTED)
    health_detail = models.TextField(blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    last_ok_at = models.DateTimeField(null=True, blank=True)
    tools_synced_at = models.DateTimeField(null=True, blank=True)
    toolset_hash = models.CharField(max_length=64, blank=True)
    next_probe_at = models.DateTimeField(default=first_probe_at, db_index=True)
    probe_failures = models.PositiveSmallIntegerField(default=0, help_text="tests since it last answered")
    verified = models.BooleanField(default=False)
    visibility = models.CharField(max_length=8, choices=Visibility, default=Visibility.PRIVATE)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    updated_at = models.DateTimeField(auto_now=True)

    content_hash = models.CharField(max_length=64, blank=True, help_text="sha256 of the text that is embedded")
    embedding = VectorField(dimensions=EMBEDDING_DIMENSIONS, null=True, blank=True, editable=False)
    search_text = models.TextField(blank=True, editable=False, help_text="words of name, description and tags, split")

    connected: bool = False  # annotated by `with_connection_of`
    listed_in: list[str] | None = None  # annotated by `with_sources`

    objects = LightManager.from_queryset(ServerQuerySet)()

    class Meta:
        db_table = "registries"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                name="server_has_an_address",
                condition=~Q(source="custom")
                | (Q(transport="stdio") & ~Q(command=""))
                | (Q(transport="openapi") & ~Q(openapi_url=""))
                | (Q(transport__in=["streamable_http", "sse"]) & ~Q(url="")),
            ),
            models.CheckConstraint(
                name="public_server_has_no_team",
                condition=Q(team=None) | ~Q(visibility="public"),
                violation_error_message="A public server is seen by everybody: it is not shared with a team as well.",
            ),
        ]
        indexes = [
            models.Index(fields=["visibility", "-created_at"], name="server_visible_newest"),
            models.Index(fields=["source", "external_id"], name="server_external_id"),
            models.Index(fields=["updated_at"], name="server_updated"),
            models.Index(OpClass(Lower("name"), name="text_pattern_ops"), name="server_name_prefix"),
            models.Index(OpClass(Lower("title"), name="text_pattern_ops"), name="server_title_prefix"),
            Shareable.index("server_of_team"),
            GinIndex(fields=["tags"], name="server_tags"),
            GinIndex(fields=["former_slugs"], name="server_former_slugs"),
        ]

    def __str__(self) -> str:
        return self.title or self.name

    def get_absolute_url(self) -> str:
        return f"/servers/{self.slug}"

    def is_called(self, name: str) -> bool:
        """As `ServerQuerySet.called`."""
        return name.strip().lower() in (self.name.lower(), self.slug)


def _acceptances_of(user: "User | AnonymousUser") -> "models.QuerySet[Acceptance]":
    """Of the tool of an outer query, by name."""
    return Acceptance.objects.filter(
        connection__in=Connection.objects.valid().filter(Q(user_id=user.pk)).values("pk"),
        connection__server_id=models.OuterRef("server_id"),
        name=models.OuterRef("name"),
    )


class ToolQuerySet(models.QuerySet["Tool"]):
    def present(self) -> "ToolQuerySet":
        """Tools the server had when last seen."""
        return self.filter(removed_at=None)

    def usable(self) -> "ToolQuerySet":
        """Tools that no curator withholds from plans, and that are present."""
        return self.present().filter(enabled=True, quarantined=False)

    def authorised_by(self, user: "User | AnonymousUser") -> "ToolQuerySet":
        """Usable tools of the servers this user connected, as far as the connection allows them, each exactly as
        the user accepted it: narrowing a connection takes its acceptances along, so that they say it all."""
        accepted = _acceptances_of(user).filter(definition_id=models.OuterRef("schema_hash"))
        visible = Server.objects.visible_to(user).values("pk")
        return self.usable().filter(models.Exists(accepted), server__in=visible)

    def reachable_by(self, user: "User | AnonymousUser", among: Sequence[str]) -> "ToolQuerySet":
        """Tools of servers whose health is one of `among` as this user sees it (`Connection.speaks_for`)."""
        server = Server.objects.filter(pk=models.OuterRef("server_id"))
        own = Connection.objects.filter(Q(user_id=user.pk), server_id=models.OuterRef("server_id"))
        health = Subquery(server.values("health")[:1])
        speaks = (
            Q(health=Health.NEEDS_AUTH)
            | Q(checked_at__gte=F("server__last_healthcheck"))
            | Q(server__health__in=[Health.NEEDS_AUTH, Health.UNTESTED])
        )
        own_health = own.exclude(health=Health.UNTESTED).filter(speaks).values("health")[:1]
        return self.alias(health_seen=Coalesce(Subquery(own_health), health)).filter(health_seen__in=among)

    def with_acceptance_of(self, user: "User | AnonymousUser") -> "ToolQuerySet":
        """Annotate `accepted_hash`: the definition this user accepted, None for none (see `Tool.change_for`)."""
        return self.annotate(accepted_hash=Subquery(_acceptances_of(user).values("definition_id")[:1]))

    def not_accepted_by(self, connection: "Connection | None") -> "ToolQuerySet":
        """Tools a curator holds back, and those the connection allows and its user has not accepted as they are; only
        as much of them as says so."""
        if connection is None:
            return self.filter(quarantined=True).only("server_id", "name", "schema_hash", "quarantined")
        accepted = Acceptance.objects.filter(connection=connection, name=models.OuterRef("name"))
        annotated = self.annotate(accepted_hash=Subquery(accepted.values("definition_id")[:1]))
        allowed = Q() if connection.all_tools else Q(name__in=connection.tools)
        other = Q(accepted_hash=None) | ~Q(accepted_hash=F("schema_hash"))
        found = annotated.filter(Q(quarantined=True) | (allowed & other))
        return found.only("server_id", "name", "schema_hash", "quarantined")

    def without_embedding(self) -> "ToolQuerySet":
        return self.present().filter(embedding=None)


class Tool(models.Model):
    class Change(models.TextChoices):
        """Why a tool that is authorised may not be called as it is now."""

        NONE = "", "none"
        NEW = "new"
        CHANGED = "changed"
        HELD = "held"

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="tools")
    name = models.CharField(max_length=512)
    title = models.CharField(max_length=512, blank=True)
    description = models.TextField(blank=True)
    input_schema = models.JSONField(default=dict)
    output_schema = models.JSONField(null=True, blank=True)
    annotations = models.JSONField(default=dict, blank=True)
    schema_hash = models.CharField(
        max_length=64, help_text="sha256 of what a caller relies on: name, description, schemas"
    )
    content_hash = models.CharField(max_length=64, db_index=True, help_text="sha256 of the text that is embedded")
    embedding = VectorField(dimensions=EMBEDDING_DIMENSIONS, null=True, blank=True)
    search_text = models.TextField(
        blank=True, editable=False, help_text="name split into words, description, parameters"
    )
    enabled = models.BooleanField(default=True)
    quarantined = models.BooleanField(default=False, help_text="a curator holds its definition back from everybody")
    first_seen = models.DateTimeField(default=timezone.now)
    last_changed = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True, blank=True)

    accepted_hash: str | None = None  # annotated by `with_acceptance_of`

    objects = LightManager.from_queryset(ToolQuerySet)()

    class Meta:
        db_table = "tools"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["server", "name"], name="tool_name_is_unique_in_server")]
        indexes = []

    def __str__(self) -> str:
        return self.name

    @property
    def is_read_only(self) -> bool:
        return self.annotations.get("readOnlyHint") is True

    def change_for(self, connection: "Connection | None") -> "Tool.Change":
        """What the connection's user has not accepted about it. Of a tool loaded `with_acceptance_of` that user."""
        if self.quarantined:
            return Tool.Change.HELD
        if connection is None or not connection.allows(self.name) or self.accepted_hash == self.schema_hash:
            return Tool.Change.NONE
        return Tool.Change.NEW if self.accepted_hash is None else Tool.Change.CHANGED


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def valid(self) -> "ConnectionQuerySet":
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))

    def granting(self) -> "ConnectionQuerySet":
        """Valid, and not there for its credentials alone."""
        return self.valid().filter(Q(all_tools=True) | ~Q(tools=[]))

    def out_of_sight(self) -> "ConnectionQuerySet":
        """Of servers that their user may not see any more; staff may see all."""
        sharing = Belonging.objects.filter(user_id=models.OuterRef("user_id"), group_id=models.OuterRef("server__team"))
        hidden = self.filter(server__visibility=Server.Visibility.PRIVATE, user__is_staff=False)
        return hidden.exclude(user_id=F("server__owner_id")).exclude(models.Exists(sharing))

    def visible_to(self, user: "User | AnonymousUser") -> "ConnectionQuerySet":
        """The user's own, of servers they may see."""
        return self.filter(user_id=user.pk, server__in=Server.objects.visible_to(user).order_by().values("pk"))


class Connection(models.Model):
    """What one user has authorised on one server."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="connections")
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="connections")
    all_tools = models.BooleanField(default=True)
    tools = ArrayField(models.CharField(max_length=512), default=list, blank=True, help_text="names, unless all tools")
    approval_default = models.CharField(max_length=8, choices=Policy, blank=True)
    approval_tools = models.JSONField(default=dict, blank=True, help_text="tool name → policy")
    credentials_encrypted = models.BinaryField(default=b"", editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    health = models.CharField(
        max_length=16, choices=Health, default=Health.UNTESTED, help_text="with the user's own credentials"
    )
    health_detail = models.TextField(blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        db_table = "connections"
        constraints = [models.UniqueConstraint(fields=["user", "server"], name="one_connection_per_user_and_server")]

    def __str__(self) -> str:
        return f"{self.user_id} → {self.server_id}"

    def allows(self, tool_name: str) -> bool:
        return self.all_tools or tool_name in self.tools

    def policy_for(self, tool: Tool) -> Policy:
        """The user's word for this tool, else their default; where there is none, only read-only tools run unasked."""
        chosen = self.approval_tools.get(tool.name) or self.approval_default
        if chosen:
            return Policy(chosen)
        return Policy.AUTO if tool.is_read_only else Policy.ASK

    @property
    def is_valid(self) -> bool:
        return self.expires_at is None or self.expires_at > timezone.now()

    def speaks_for(self, server: Server) -> bool:
        """Does the test with the user's own credentials say more than the server's health? It does when it is the
        newer one, when the server told others only to sign in, and when it refused exactly these credentials."""
        if self.checked_at is None or self.health == Health.UNTESTED:
            return False
        is_newer = server.last_healthcheck is None or self.checked_at >= server.last_healthcheck
        return is_newer or Health.NEEDS_AUTH in (self.health, server.health) or server.health == Health.UNTESTED
