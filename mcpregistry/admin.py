"""The audit log and what tokens may do, to look at."""

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from knox.models import AuthToken

from mcpregistry.models import AuditEntry, TokenGrant
from registry.admin import RecordAdmin

admin.site.unregister([Authenticator, UserSession, AuthToken])  # theirs show, and let write, what is secret


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    list_display = ["at", "username", "method", "action", "object", "made", "status", "address", "token_key"]
    list_filter = ["method", "status"]
    search_fields = ["^username", "object", "made", "^token_key", "^address"]
    date_hierarchy = "at"

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(TokenGrant)
class TokenGrantAdmin(RecordAdmin):
    list_display = ["name", "user", "scope", "made", "ends"]
    list_filter = ["scope"]
    list_select_related = ["token__user"]
    search_fields = ["name", "^token__user__username"]
    fields = readonly_fields = ("name", "scope", "user", "made", "ends")

    def user(self, grant: TokenGrant) -> str:
        return grant.token.user.get_username()

    def made(self, grant: TokenGrant) -> str:
        return grant.token.created.isoformat(timespec="minutes")

    def ends(self, grant: TokenGrant) -> str:
        return grant.token.expiry.isoformat(timespec="minutes") if grant.token.expiry else "never"


@admin.register(Authenticator)
class AuthenticatorAdmin(RecordAdmin):
    """Deleting one lets a user in who lost their phone or key."""

    list_display = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type"]
    list_select_related = ["user"]
    search_fields = ["^user__username"]
    fields = readonly_fields = ("user", "type", "created_at", "last_used_at")


@admin.register(UserSession)
class UserSessionAdmin(RecordAdmin):
    list_display = ["user", "ip", "user_agent", "created_at"]
    list_select_related = ["user"]
    search_fields = ["^user__username", "^ip"]
    fields = readonly_fields = ("user", "ip", "user_agent", "created_at")

    def delete_model(self, request: HttpRequest, obj: UserSession) -> None:
        obj.end()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[UserSession]) -> None:
        for session in queryset:
            session.end()
