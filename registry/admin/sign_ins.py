"""Signing in to servers by OAuth. Tokens, codes and secrets are neither shown nor editable."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from registry.admin.records import OfServer, RecordAdmin
from registry.client_forms import GivenClientForm
from registry.models import OAuthClient, OAuthGrant, ServerProtection, SignIn


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


@admin.register(ServerProtection)
class ServerProtectionAdmin(OfServer, RecordAdmin):
    list_display = ["server", "issuer", "problem", "seen_at"]
    search_fields = ["^server__slug", "issuer"]


@admin.register(SignIn)
class SignInAdmin(OfServer, RecordAdmin):
    """Who is on the way. What recognises a browser or an answer is not shown, either."""

    list_display = ["user", "server", "status", "code", "created_at", "expires_at"]
    list_filter = ["status"]
    search_fields = ["^user__username", "^server__slug"]
    exclude = ["session_hash", "state_hash"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user")
