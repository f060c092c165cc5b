"""The filters that the list of servers and its search share, and how many servers each value of one lets through."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Count, F, FilteredRelation, Q
from django.db.models.functions import Coalesce

from registry.models import Server, ServerQuerySet

EXACT = ("transport", "auth_type", "health")
NAMES = ("tag", "source", *EXACT, "owner")


def filter_servers(servers: ServerQuerySet, filters: Mapping[str, str], user: User | AnonymousUser) -> ServerQuerySet:
    """Narrow by `tag`, `source`, `transport`, `auth_type`, `health` and `owner` (me, or shared with me); empty
    values narrow nothing."""
    chosen = {name: filters[name] for name in NAMES if filters.get(name)}
    if owner := chosen.pop("owner", ""):
        narrowed = {"me": servers.owned_by, "shared": servers.shared_with}
        servers = narrowed[owner](user) if owner in narrowed else servers.none()
    if tag := chosen.pop("tag", ""):
        servers = servers.filter(tags__contains=[tag])
    if source := chosen.pop("source", ""):
        servers = servers.listed_by(source)
    return servers.filter(**chosen)


def counts_of(name: str, servers: ServerQuerySet) -> dict[str, int]:
    """Servers by the values of a filter. A server counts under every catalogue that lists it. One query."""
    if name != "source":
        return dict(servers.order_by().values_list(name).annotate(count=Count("pk")))
    listing: Any = FilteredRelation("source_records", condition=Q(source_records__removed_at=None))
    rows = servers.order_by().alias(listing=listing).annotate(listed_by=Coalesce("listing__source", F("source")))
    return dict(rows.values_list("listed_by").annotate(count=Count("pk", distinct=True)))


def sources_among(servers: Iterable[Server]) -> dict[str, int]:
    """As `counts_of` the source, of servers that are loaded already. One query."""
    return counts_of("source", Server.objects.filter(pk__in=[server.pk for server in servers]))
