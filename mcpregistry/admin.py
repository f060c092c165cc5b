"""The audit log and what tokens may do, to look at."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from mcpregistry.models import AuditEntry, TokenGrant
from registry.admin import RecordAdmin


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
