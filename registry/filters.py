"""The filters that the list of servers and its search share."""

from collections.abc import Mapping

from django.contrib.auth.models import AnonymousUser, User

from registry.models import ServerQuerySet

EXACT = ("source", "transport", "auth_type", "health")
NAMES = ("tag", *EXACT, "owner")


def filter_servers(servers: ServerQuerySet, filters: Mapping[str, str], user: User | AnonymousUser) -> ServerQuerySet:
    """Narrow by `tag`, `source`, `transport`, `auth_type`, `health` and `owner=me`; empty values narrow nothing."""
    chosen = {name: filters[name] for name in NAMES if filters.get(name)}
    if owner := chosen.pop("owner", ""):
        servers = servers.owned_by(user) if owner == "me" else servers.none()
    if tag := chosen.pop("tag", ""):
        servers = servers.filter(tags__contains=[tag])
    return servers.filter(**chosen)
