"""Which of a user's tools a planner gets to see."""

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from django.contrib.auth.models import User

from chat.memory import Turn
from chat.models import Message
from chat.offline.choosing import by_fit
from chat.offline.facts import facts_in
from chat.offline.words import clauses, meanings
from registry import embeddings
from registry.models import Connection, Health, Policy, Tool, ToolQuerySet
from registry.search import search_tools

SHOWN_TOOLS = 12
MAX_QUERIES = 6
REACHABLE = (Health.OK, Health.UNTESTED)


def has_to_choose(user: User) -> bool:
    """Does this user have more tools than a planner is shown?"""
    return Tool.objects.authorised_by(user).reachable_by(user, REACHABLE)[: SHOWN_TOOLS + 1].count() > SHOWN_TOOLS


def tools_for(question: str, parts: Sequence[str], *, user: User, history: Sequence[Turn]) -> list[Tool]:
    """The tools that fit best among those this user authorised on servers that work, the best first: small models
    lean to what they read first. `parts` are the questions the message holds. Each tool has its server."""
    allowed = Tool.objects.authorised_by(user).reachable_by(user, REACHABLE)
    few = list(allowed.select_related("server").order_by("server__slug", "name")[: SHOWN_TOOLS + 1])
    if len(few) > SHOWN_TOOLS:
        found = search_each(_queries(question, parts, history), allowed, limit=SHOWN_TOOLS)
        few = [*found, *(tool for tool in few if tool not in found)]
    shown = _not_forbidden(few, user)[:SHOWN_TOOLS]
    return by_fit([facts_in(clause) for clause in clauses(question)[:MAX_QUERIES]], shown)


def _queries(question: str, parts: Sequence[str], history: Sequence[Turn]) -> list[str]:
    """The whole question, its parts, and what was asked before: "and in Paris?" has no other words."""
    before = [turn.content for turn in history if turn.role == Message.Role.USER][-1:]
    return list(dict.fromkeys([question, *before, *map(with_deeds, parts)]))[:MAX_QUERIES]


def with_deeds(part: str) -> str:
    """With other words for its verbs: people save, tools write."""
    return " ".join(dict.fromkeys([part, *meanings(part)]))


def search_each(queries: Sequence[str], allowed: ToolQuerySet, *, limit: int) -> list[Tool]:
    """The hits of each query, taken in turns, so that every part brings its own."""
    embeddings.ensure_loaded()
    answers = [search_tools(query, tools=allowed, limit=limit).hits for query in queries]
    hits = chain.from_iterable(zip_longest(*answers))
    return list({hit.tool.pk: hit.tool for hit in hits if hit is not None}.values())


def _not_forbidden(tools: Iterable[Tool], user: User) -> list[Tool]:
    tools = list(tools)
    servers = {tool.server_id for tool in tools}
    connections = {row.server_id: row for row in Connection.objects.filter(user=user, server__in=servers)}
    return [tool for tool in tools if connections[tool.server_id].policy_for(tool) != Policy.NEVER]
