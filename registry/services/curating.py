"""What a curator decides about servers. No import takes it back, and who follows the changes hears of it."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F, Func, JSONField, QuerySet, Value
from django.utils import timezone

from registry.models import Server, SourceRecord
from registry.precedence import CURATOR
from registry.services.listing import link, take_turns


def verify_servers(*, servers: QuerySet[Server], verified: bool = True) -> int:
    return servers.update(verified=verified, updated_at=timezone.now())


def deprecate_servers(*, servers: QuerySet[Server]) -> int:
    return _decide(servers, Server.Status.DEPRECATED)


def hide_servers(*, servers: QuerySet[Server]) -> int:
    """From everybody, their owners included; what was authorised is kept, and worth nothing meanwhile."""
    return _decide(servers, Server.Status.DELETED)


def show_servers(*, servers: QuerySet[Server]) -> int:
    """Take back what was decided of their status: those of catalogues are again what their records say."""
    ids: Iterable[Any] = list(servers.values_list("pk", flat=True))
    with transaction.atomic():
        take_turns()
        undecided = Func(F("field_sources"), Value("status"), template="(%(expressions)s)", arg_joiner=" - ")
        shown = Server.objects.filter(pk__in=ids)
        count = shown.update(status=Server.Status.ACTIVE, field_sources=undecided, updated_at=timezone.now())
        link(touched=list(SourceRecord.objects.light().filter(server__in=ids)))
    return count


def _decide(servers: QuerySet[Server], status: str) -> int:
    decided = Func(
        F("field_sources"), Value({"status": CURATOR}, JSONField()), template="(%(expressions)s)", arg_joiner=" || "
    )
    return servers.update(status=status, field_sources=decided, updated_at=timezone.now())
