"""What the lists have in common."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from registry.models import SEARCH_COLUMNS

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


class OfServer:
    """Lists beside their servers, without what only search reads of them."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        return rows.select_related("server").defer(*SERVER_SEARCH_COLUMNS)
