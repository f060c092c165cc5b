"""The orders of a list of servers. Each ends with a column that is unique, so that a cursor finds its place in it."""

from django.db.models import Case, IntegerField, Q, Value, When

from registry.models import Health, ServerQuerySet

HEALTH_ORDER = [
    Health.OK, Health.NEEDS_AUTH, Health.UNTESTED, Health.TIMEOUT, Health.WRONG_TRANSPORT, Health.UNREACHABLE,
    Health.NOT_MCP, Health.BLOCKED,
]  # fmt: skip
SORTS = {
    "newest": ("-created_at", "-id"),
    "name": ("name", "id"),
    "health": ("health_rank", "name", "id"),
    "tools": ("-tool_count", "id"),
    "match": ("match_rank", "-tool_count", "id"),
}


def ordered(servers: ServerQuerySet, sort: str, q: str = "") -> ServerQuerySet:
    """By `match`: what is called `q`, then what begins so, then whatever else fits."""
    if sort == "health":
        ranks = [When(health=health, then=Value(rank)) for rank, health in enumerate(HEALTH_ORDER)]
        servers = servers.annotate(health_rank=Case(*ranks, output_field=IntegerField()))
    if sort == "match":
        servers = servers.annotate(match_rank=match_rank(q))
    return servers.order_by(*SORTS[sort])


def match_rank(q: str) -> Case:
    called = Q(name__iexact=q) | Q(title__iexact=q) | Q(slug=q.lower())
    begins = Q(name__istartswith=q) | Q(title__istartswith=q) | Q(slug__startswith=q.lower())
    ranks = [When(called, then=Value(0)), When(begins, then=Value(1))]
    return Case(*ranks, default=Value(2), output_field=IntegerField())
