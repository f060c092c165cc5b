"""Templates, runs and their journal in Django's admin, to look at: runs change through the product only."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from chains.models import HeldFile, Result, Run, RunEvent, Schedule, SpentKey, Template, TemplateVersion, ToolRun
from registry.admin import RecordAdmin


class ToolRunInline(admin.TabularInline):
    model = ToolRun
    fields = readonly_fields = ("position", "step", "server_slug", "tool", "status", "attempt", "duration_ms", "error")
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Template)
class TemplateAdmin(RecordAdmin):
    list_display = ["name", "owner", "team", "version", "created_at", "updated_at"]
    list_select_related = ["owner", "team"]
    search_fields = ["name", "description", "^owner__username"]
    date_hierarchy = "created_at"


@admin.register(TemplateVersion)
class TemplateVersionAdmin(RecordAdmin):
    list_display = ["template", "version", "saved_by", "saved_at"]
    list_select_related = ["template", "saved_by"]
    search_fields = ["template__name"]
    date_hierarchy = "saved_at"


@admin.register(Schedule)
class ScheduleAdmin(RecordAdmin):
    list_display = ["template", "words", "next_at", "last_run", "error"]
    list_filter = ["unit"]
    list_select_related = ["template", "last_run"]
    search_fields = ["template__name"]


@admin.register(Run)
class RunAdmin(RecordAdmin):
    list_display = ["id", "kind", "status", "owner", "template", "attempt", "last_seq", "created_at", "finished_at"]
    list_filter = ["status", "kind"]
    list_select_related = ["owner", "template"]
    search_fields = ["^id", "^owner__username", "^idempotency_key"]
    date_hierarchy = "created_at"
    inlines = [ToolRunInline]


@admin.register(SpentKey)
class SpentKeyAdmin(RecordAdmin):
    list_display = ["key", "owner", "run_id", "removed_at"]
    list_select_related = ["owner"]
    search_fields = ["^key", "^run_id", "^owner__username"]
    date_hierarchy = "removed_at"


@admin.register(HeldFile)
class HeldFileAdmin(RecordAdmin):
    """Files that wait for their storage; their content is not read here."""

    list_display = ["result_id", "held_at", "moving_at"]
    search_fields = ["^result__title"]
    date_hierarchy = "held_at"
    exclude = ["content"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("content")


@admin.register(ToolRun)
class ToolRunAdmin(RecordAdmin):
    list_display = ["step", "tool", "server_slug", "status", "attempt", "run_id", "started_at", "duration_ms"]
    list_filter = ["status"]
    search_fields = ["^run__id", "tool", "^server_slug"]
    date_hierarchy = "started_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("result")


@admin.register(RunEvent)
class RunEventAdmin(RecordAdmin):
    list_display = ["run_id", "seq", "type", "at"]
    list_filter = ["type"]
    search_fields = ["^run__id"]
    ordering = ["-id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("data")


@admin.register(Result)
class ResultAdmin(RecordAdmin):
    list_display = ["title", "kind", "owner", "team", "run_id", "size_bytes", "created_at"]
    list_filter = ["kind"]
    list_select_related = ["owner", "team"]
    search_fields = ["title", "^run__id", "^owner__username"]
    date_hierarchy = "created_at"
    exclude = ["embedding"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("embedding", "data")
