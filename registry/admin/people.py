"""What users authorised and accepted, and the teams they are in."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from registry.admin.records import OfServer, RecordAdmin
from registry.models import SEARCH_COLUMNS, Acceptance, Connection, Definition, Invitation, Team
from registry.services.teams import delete_team


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


@admin.register(Invitation)
class InvitationAdmin(RecordAdmin):
    list_display = ["user", "team", "invited_by", "invited_at"]
    list_select_related = ["user", "team", "invited_by"]
    search_fields = ["^user__username", "team__name"]
