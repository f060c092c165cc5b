"""Servers, their tools, and what was seen of them."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe

from registry.admin.records import Logged, OfServer, RecordAdmin
from registry.models import Acceptance, HealthCheck, SearchDocument, Server, SourceRecord, Tool
from registry.precedence import CURATOR, MAPPED, RANKS
from registry.search.indexing import describe
from registry.services.acceptance import accept_for_everybody
from registry.services.curating import deprecate_servers, hide_servers, show_servers, verify_servers
from registry.services.embedding import embed_on_commit
from registry.services.merging import NotMergeable, merge_servers
from registry.services.probing import probe_on_commit
from registry.templatetags.registry_tags import source_name


class ListedBy(admin.SimpleListFilter):
    """A server under every catalogue that lists it."""

    title = "source"
    parameter_name = "listed_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(source, source_name(source)) for source in (*RANKS, "custom")]

    def queryset(self, request: HttpRequest, servers: QuerySet[Any]) -> QuerySet[Any]:
        source = self.value()
        return servers.filter(pk__in=Server.objects.listed_by(source).values("pk")) if source else servers


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
