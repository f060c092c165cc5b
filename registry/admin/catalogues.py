"""What catalogues say, and when they were asked."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from registry.admin.records import SERVER_SEARCH_COLUMNS, OfServer, RecordAdmin
from registry.models import CatalogueSource, ImportRun, SourceRecord


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
