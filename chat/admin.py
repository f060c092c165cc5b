"""Conversations in Django's admin, to look at. Lists show no text: what people said is theirs."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from chat.models import Conversation, Message
from registry.admin import RecordAdmin


@admin.register(Conversation)
class ConversationAdmin(RecordAdmin):
    list_display = ["id", "owner", "pinned", "created_at", "updated_at"]
    list_filter = ["pinned"]
    list_select_related = ["owner"]
    search_fields = ["^id", "^owner__username"]
    date_hierarchy = "updated_at"
    actions = None  # their checkboxes are labelled with the title


@admin.register(Message)
class MessageAdmin(RecordAdmin):
    list_display = ["id", "conversation_id", "role", "status", "provider", "model", "output_tokens", "created_at"]
    list_filter = ["role", "status", "provider"]
    search_fields = ["^conversation__id", "^run__id"]
    date_hierarchy = "created_at"
    actions = None  # their checkboxes are labelled with the text

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("content")
