"""The registry's tables in Django's admin. What was observed is read, what a curator decides can be changed."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Count, Exists, Model, OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe

from registry.client_forms import GivenClientForm
from registry.models import (
    SEARCH_COLUMNS,
    Acceptance,
    CatalogueSource,
    Connection,
    Definition,
    HealthCheck,
    ImportRun,
    OAuthClient,
    OAuthGrant,
    SearchDocument,
    Server,
    SourceRecord,
    Team,
    Tool,
)
from registry.precedence import CURATOR, MAPPED, RANKS
from registry.search.indexing import describe
from registry.services.acceptance import accept_for_everybody
from registry.services.curating import deprecate_servers, hide_servers, show_servers, verify_servers
from registry.services.embedding import embed_on_commit
from registry.services.merging import NotMergeable, merge_servers
from registry.services.probing import probe_on_commit
from registry.services.teams import delete_team
from registry.templatetags.registry_tags import source_name

SERVER_SEARCH_COLUMNS = tuple(f"server__{name}" for name in SEARCH_COLUMNS)


class RecordAdmin(admin.ModelAdmin):
    """Rows that the product writes and people only read; they may be deleted."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Logged:
    """Every action leaves an entry for each row it was used on."""

    @staticmethod
    def log(request: HttpRequest, rows: Iterable[Model], words: str) -> None:
        LogEntry.objects.log_actions(str(request.user.pk), list(rows), CHANGE, words)


class ListedBy(admin.SimpleListFilter):
    """A server under every catalogue that lists it."""

    title = "source"
    parameter_name = "listed_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(source, source_name(source)) for source in (*RANKS, "custom")]

    def queryset(self, request: HttpRequest, servers: QuerySet[Any]) -> QuerySet[Any]:
        source = self.value()
        return servers.filter(pk__in=Server.objects.listed_by(source).values("pk")) if source else servers


class OfServer:
    """Lists beside their servers, without what only search reads of them."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        return rows.select_related("server").defer(*SERVER_SEARCH_COLUMNS)


@admin.register(Server)
class ServerAdmin(Logged, admin.ModelAdmin):
    list_display = ["name", "transport", "health", "tool_count", "source", "visibility", "status", "verified", "owner"]
    list_filter = ["health", "transport", ListedBy, "status", "visibility", "verified", "auth_type"]
    list_select_related = ["owner"]
    list_per_page = 50
    show_full_result_count = False
    search_fields = ["name", "title", "^slug", "description"]
    date_hierarchy = "created_at"
    raw_id_fields = ["owner", "team"]
    exclude = ["env", "content_hash", "field_sources", "former_slugs"]
    readonly_fields = [
        "id", "source", "external_id", "env_names", "env_schema", "tool_count", "model_count", "health",
        "health_detail", "latency_ms", "last_healthcheck", "last_ok_at", "next_probe_at", "probe_failures",
        "tools_synced_at", "toolset_hash", "came_from", "records", "former_names",
        "created_at", "updated_at",
    ]  # fmt: skip
    actions = ["test_connections", "verify", "unverify", "deprecate", "hide", "show", "merge"]

    @admin.display(description="environment of the command")
    def env_names(self, server: Server) -> str:
        """Names only: people type secrets where they should not."""
        return ", ".join(sorted(server.env)) or "-"

    @admin.display(description="where each column came from")
    def came_from(self, server: Server) -> str:
        return ", ".join(f"{name}: {source}" for name, source in sorted(server.field_sources.items())) or "-"

    @admin.display(description="names it also answers to")
    def former_names(self, server: Server) -> str:
        return ", ".join(server.former_slugs) or "-"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a server is added where its address is checked: on the Servers page or by the API

    def save_model(self, request: HttpRequest, obj: Server, form: Any, change: bool) -> None:
        decided = dict.fromkeys(set(form.changed_data) & set(MAPPED), CURATOR)
        obj.field_sources = obj.field_sources | decided  # no import takes it back
        if describe(obj):
            embed_on_commit()
        super().save_model(request, obj, form, change)

    @admin.display(description="what catalogues say of it")
    def records(self, server: Server) -> str:
        rows = server.source_records.light().order_by("source", "external_id")
        links = ((reverse("admin:registry_sourcerecord_change", args=[row.pk]), row, _gone(row)) for row in rows)
        return format_html_join(mark_safe("<br>"), '<a href="{}">{}</a>{}', links) or "-"  # nosec B308 # a constant

    @admin.action(description="Test the connection of the selected servers")
    def test_connections(self, request: HttpRequest, servers: QuerySet[Server]) -> None:
        reached = list(servers.exclude(transport__in=["", Server.Transport.STDIO]))
        self.log(request, reached, "Asked for a test of its connection.")
        probe_on_commit(server.pk for server in reached)
        self.message_user(request, f"{len(reached)} connection tests are queued.", messages.SUCCESS)
        if left_out := servers.count() - len(reached):
            told = f"{left_out} were left out: without an address, or started by a command, which is tested one by one."
            self.message_user(request, told, messages.WARNING)

    @admin.action(description="Mark the selected servers as verified")
    def verify(self, request: HttpRequest, servers: QuerySet[Server]) -> None:
        self.log(request, servers, "Verified.")
        self.message_user(request, f"{verify_servers(servers=servers)} servers are verified.", messages.SUCCESS)

    @admin.action(description="Take the mark “verified” from the selected servers")
    def unverify(self, request: HttpRequest, servers: QuerySet[Server]) -> None:
        self.log(request, servers, "No longer verified.")
        count = verify_servers(servers=servers, verified=False)
        self.message_user(request, f"{count} servers are no longer verified.", messages.SUCCESS)

    @admin.action(description="Mark the selected servers as deprecated")
    def deprecate(self, request: HttpRequest, servers: QuerySet[Server]) -> None:
        self.log(request, servers, "Deprecated.")
        self.message_user(request, f"{deprecate_servers(servers=servers)} servers are deprecated.", messages.SUCCESS)

    @admin.action(description="Hide the selected servers from everybody")
    def hide(self, request: HttpRequest, servers: QuerySet[Server]) -> None:
        self.log(request, servers, "Hidden from everybody.")
        self.message_user(request, f"{hide_servers(servers=servers)} servers are hidden.", messages.SUCCESS)

    @admin.action(description="Show the selected servers again: neither hidden nor deprecated by hand")
    def show(self, request: HttpRequest, servers: QuerySet[Server]) -> None:
        self.log(request, servers, "Shown again, as its catalogues say.")
        self.message_user(request, f"{show_servers(servers=servers)} servers are shown again.", messages.SUCCESS)

    @admin.action(description="Merge the selected servers: they are one")
    def merge(self, request: HttpRequest, servers: QuerySet[Server]) -> None:
        chosen = list(servers)
        try:
            kept = merge_servers(servers=chosen)
        except NotMergeable as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        gone = ", ".join(server.slug for server in chosen if server.pk != kept.pk)
        self.log(request, [kept], f"Merged {gone} into it.")
        embed_on_commit()
        self.message_user(request, f"They are one server now: {kept.slug}.", messages.SUCCESS)


def _gone(row: SourceRecord) -> str:
    return "" if row.removed_at is None else f" (not listed since {row.removed_at:%Y-%m-%d})"


class Waiting(admin.SimpleListFilter):
    """Tools that are not as some user accepted them."""

    title = "acceptance"
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("changed", "changed since somebody accepted it")]

    def queryset(self, request: HttpRequest, tools: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "changed":
            return tools
        accepted = Acceptance.objects.filter(connection__server_id=OuterRef("server_id"), name=OuterRef("name"))
        return tools.filter(Exists(accepted.exclude(definition_id=OuterRef("schema_hash"))), removed_at=None)


@admin.register(Tool)
class ToolAdmin(Logged, OfServer, admin.ModelAdmin):
    list_display = ["name", "server", "enabled", "quarantined", "first_seen", "last_changed", "removed_at"]
    list_filter = [Waiting, "enabled", "quarantined", ("removed_at", admin.EmptyFieldListFilter)]
    list_per_page = 50
    show_full_result_count = False
    search_fields = ["name", "title", "^server__slug"]
    exclude = ["embedding"]
    readonly_fields = [
        "server", "name", "title", "description", "input_schema", "output_schema", "annotations", "schema_hash",
        "content_hash", "first_seen", "last_changed", "removed_at",
    ]  # fmt: skip
    actions = ["enable", "disable", "accept", "hold"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Enable the selected tools")
    def enable(self, request: HttpRequest, tools: QuerySet[Tool]) -> None:
        self.log(request, tools, "Enabled.")
        self.message_user(request, f"{tools.update(enabled=True)} tools are enabled.", messages.SUCCESS)

    @admin.action(description="Disable the selected tools: no plan may call them")
    def disable(self, request: HttpRequest, tools: QuerySet[Tool]) -> None:
        self.log(request, tools, "Disabled: no plan may call it.")
        self.message_user(request, f"{tools.update(enabled=False)} tools are disabled.", messages.SUCCESS)

    @admin.action(description="Accept the selected tools as they are now, for everybody who authorised them")
    def accept(self, request: HttpRequest, tools: QuerySet[Tool]) -> None:
        self.log(request, tools, "Accepted as it is now, for everybody who authorised it.")
        count = accept_for_everybody(tools=tools)
        self.message_user(request, f"{count} tools are accepted.", messages.SUCCESS)

    @admin.action(description="Reject the selected tools: no plan may call them, whatever users accepted")
    def hold(self, request: HttpRequest, tools: QuerySet[Tool]) -> None:
        self.log(request, tools, "Rejected: held back from every plan.")
        self.message_user(request, f"{tools.update(quarantined=True)} tools are held back.", messages.SUCCESS)


@admin.register(SearchDocument)
class SearchDocumentAdmin(OfServer, RecordAdmin):
    """What a server or a tool is found by; the database writes it."""

    list_display = ["id", "server", "tool_id", "is_open"]
    list_filter = ["is_open"]
    show_full_result_count = False
    search_fields = ["^server__slug"]
    exclude = ["words", "bm25", "embedding"]

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(HealthCheck)
class HealthCheckAdmin(OfServer, RecordAdmin):
    list_display = ["checked_at", "server", "health", "latency_ms", "tool_count", "protocol_version", "user"]
    list_select_related = ["user"]
    list_filter = ["health", "protocol_version"]
    search_fields = ["^server__slug", "detail"]
    date_hierarchy = "checked_at"


@admin.register(Connection)
class ConnectionAdmin(OfServer, RecordAdmin):
    """What users authorised; the credentials are neither shown nor editable here."""

    list_display = [
        "user", "server", "all_tools", "approval_default", "has_credentials", "health", "checked_at", "expires_at",
        "updated_at",
    ]  # fmt: skip
    list_filter = ["all_tools", "approval_default", "health"]
    search_fields = ["^user__username", "^server__slug"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user")

    @admin.display(boolean=True, description="credentials")
    def has_credentials(self, connection: Connection) -> bool:
        return bool(connection.credentials_encrypted)


@admin.register(OAuthClient)
class OAuthClientAdmin(OfServer, admin.ModelAdmin):
    """What was registered is read; a client that an authorisation server's own staff made is entered here."""

    form = GivenClientForm
    list_display = ["server", "issuer", "kind", "client_id", "method", "created_at"]
    list_filter = ["kind"]
    search_fields = ["^server__slug", "issuer"]
    raw_id_fields = ["server"]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return obj is None or (isinstance(obj, OAuthClient) and obj.kind == OAuthClient.Kind.GIVEN)


@admin.register(OAuthGrant)
class OAuthGrantAdmin(OfServer, RecordAdmin):
    """Who signed in where. Tokens are neither shown nor editable."""

    list_display = ["user", "server", "issuer", "expires_at", "refreshed_at", "problem", "ended_at"]
    list_filter = [("ended_at", admin.EmptyFieldListFilter)]
    search_fields = ["^user__username", "^server__slug", "issuer"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user")


@admin.register(Acceptance)
class AcceptanceAdmin(RecordAdmin):
    """Which definitions users accepted; deleting one puts the tool into quarantine for its user."""

    list_display = ["name", "connection", "definition_id", "accepted_at"]
    list_select_related = ["connection__user", "connection__server"]
    search_fields = ["^name", "^connection__server__slug"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer(*[f"connection__server__{name}" for name in SEARCH_COLUMNS])


@admin.register(Definition)
class DefinitionAdmin(RecordAdmin):
    """Tools as somebody accepted them once; those that are still accepted cannot be deleted."""

    list_display = ["schema_hash", "title", "kept_at"]
    search_fields = ["^schema_hash"]
    date_hierarchy = "kept_at"


@admin.register(SourceRecord)
class SourceRecordAdmin(OfServer, RecordAdmin):
    list_display = ["source", "external_id", "version", "server", "tool_count", "fetched_at", "removed_at"]
    list_filter = ["source", ("removed_at", admin.EmptyFieldListFilter)]
    search_fields = ["^external_id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("data", *SERVER_SEARCH_COLUMNS)


@admin.register(ImportRun)
class ImportRunAdmin(RecordAdmin):
    list_display = ["started_at", "source", "status", "counted", "error", "finished_at"]
    list_filter = ["source", "status"]
    date_hierarchy = "started_at"

    @admin.display(description="counts")
    def counted(self, run: ImportRun) -> str:
        return ", ".join(f"{name} {count}" for name, count in run.counts.items()) or "-"


@admin.register(CatalogueSource)
class CatalogueSourceAdmin(RecordAdmin):
    """Changed on the Sources page, where a key can be written and not read."""

    list_display = ["name", "is_enabled", "every_hours", "url", "next_at"]
    search_fields = ["name"]


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):
    """Who is in it is told by its group, on each user's page here."""

    list_display = ["name", "group", "member_count", "created_at"]
    list_select_related = ["group"]
    search_fields = ["name", "^admins__username"]
    raw_id_fields = ["admins"]
    readonly_fields = ["group", "members", "created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(count=Count("group__user"))

    @admin.display(description="members", ordering="count")
    def member_count(self, team: Any) -> int:
        return int(team.count)

    def members(self, team: Team) -> str:
        return ", ".join(f"{user.get_username()} ({role})" for user, role in team.people()) or "-"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # it is made with its group and its first member, on the page of teams

    def delete_model(self, request: HttpRequest, obj: Team) -> None:
        delete_team(team=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        for team in queryset:
            delete_team(team=team)
