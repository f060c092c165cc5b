"""Among what a search looks, and how it reads what it found: SQL that depends on who asks and on the filters alone, so
that without filters it is compiled once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

from django.contrib.auth.models import AnonymousUser, User
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS
from django.db.models import BigIntegerField, CharField, QuerySet, UUIDField
from django.db.models.base import ModelState
from django.db.models.expressions import RawSQL

from registry.filters import filter_servers
from registry.models import SearchDocument, Server, ServerQuerySet, equals_any
from registry.ordering import SORTS, ordered
from registry.prepared import Parameter, Prepared, Statement, ask

Caller = User | AnonymousUser
ToolText = tuple[str, str, float]  # name, description, score
# What no list shows; it is read when somebody asks for it, as is what needs a conversion.
UNLISTED = {
    "search_text", "content_hash", "toolset_hash", "confirmed_command", "external_id", "former_slugs",
    "tools_synced_at", "next_probe_at", "probe_failures",
}  # fmt: skip
COLUMNS = [
    field.attname
    for field in Server._meta.concrete_fields
    if field.get_internal_type() not in ("JSONField", "VectorField") and field.name not in UNLISTED
]
READ = [*COLUMNS, "connected", "listed_in"]
# Of `scored`, the best servers, with all that a list shows and the best of their tools (its own text is none). A server
# counts as its best text, and a little for the next. Those called what was typed come along, without a score where
# nothing else says so.
BEST = """{scored}, ranked AS MATERIALIZED (
    SELECT *, scores[1] + {breadth} * greatest(scores[2], 0) AS score FROM (
        SELECT server_id, max(cosine) AS cosine, max(compared) AS compared,
            array_agg(score ORDER BY score DESC, tool_id) AS scores,
            (array_agg(tool_id ORDER BY score DESC, tool_id)
                FILTER (WHERE tool_id IS NOT NULL))[1:{tools}] AS tools,
            (array_agg(score ORDER BY score DESC, tool_id)
                FILTER (WHERE tool_id IS NOT NULL))[1:{tools}] AS tool_scores
        FROM scored GROUP BY server_id
    ) AS together ORDER BY score DESC, server_id LIMIT {limit}
)
SELECT shown.*, ranked.score, cosine, compared, names, descriptions, told.scores
FROM ({servers}) AS shown LEFT JOIN ranked ON ranked.server_id = shown.id LEFT JOIN (
    SELECT best.server_id, array_agg(name ORDER BY score DESC, id) AS names,
        array_agg(description ORDER BY score DESC, id) AS descriptions,
        array_agg(score ORDER BY score DESC, id) AS scores
    FROM (SELECT server_id, unnest(tools) AS id, unnest(tool_scores) AS score FROM ranked) AS best JOIN tools USING (id)
    GROUP BY best.server_id
) AS told ON told.server_id = shown.id"""
# Orders of a list by what is read.
READ_SORTS = [sort for sort, columns in SORTS.items() if {column.lstrip("-") for column in columns} <= {*COLUMNS}]
MAX_NAMED = 20  # servers of one name
MATCHED_TOOLS = 5  # shown with a server
BREADTH_BONUS = 0.1  # of the second-best text of a server, added to its best
MAX_PAGES = 100  # kinds of pages whose statements are kept


class Found(NamedTuple):
    """A server, with `connected` and `listed_in`; and how it was found: without a score by its name alone."""

    server: Server
    score: float | None
    cosine: float | None  # of its nearest text
    compared: int | None  # of all candidates, by meaning
    tools: list[ToolText]  # its best, in that order


@dataclass(frozen=True)
class Scope:
    """`documents` is a condition on `search_documents`; None: nothing can be found. `servers` are those of `ranked` and
    those with a name."""

    documents: Statement | None
    servers: Statement | None

    def among(self, user: Caller) -> Statement | None:
        return self.documents and Statement(self.documents.sql, self.documents.filled(user=user.pk))

    def read_best(self, scored: Statement, *, named: str, user: Caller, limit: int) -> list[Found]:
        """As far as the user sees them and filters let them through, in no order."""
        if self.servers is None:
            return []
        sql = BEST.format(
            scored=scored.sql, breadth=BREADTH_BONUS, tools=MATCHED_TOOLS, limit=limit, servers=self.servers.sql
        )
        filled = self.servers.filled(name=named.strip().lower(), user=user.pk)
        return [_found(row) for row in ask(sql, [*scored.parameters, *filled])]


def _found(row: tuple[Any, ...]) -> Found:
    *columns, score, cosine, compared, names, descriptions, scores = row
    tools = list(zip(names or (), descriptions or (), scores or (), strict=True))
    return Found(_server(columns), score, cosine, compared, tools)


def scope_of(user: Caller, filters: Mapping[str, str] | None) -> Scope:
    chosen = {name: value for name, value in (filters or {}).items() if value}
    if not chosen:
        return _everything(user.pk is not None)
    try:
        visible = filter_servers(Server.objects.visible_to(user), chosen, user)
        documents = SearchDocument.objects.filter(server__in=visible.order_by().values("pk"))
        return Scope(Statement.condition_of(documents), _reading(visible, user))
    except EmptyResultSet:  # a filter that nothing can fit
        return Scope(None, None)


@cache
def _everything(is_known: bool) -> Scope:
    """All that a user sees; each document says itself who may."""
    user = User(pk=Parameter("user", BigIntegerField())) if is_known else AnonymousUser()
    documents = SearchDocument.objects.visible_to(user)
    servers = _reading(Server.objects.visible_to(user), user)
    return Scope(Statement.condition_of(documents).kept(), servers.kept())


def _reading(visible: ServerQuerySet, user: Caller) -> Statement:
    named: QuerySet[Any] = Server.objects.called(Parameter("name", CharField())).order_by().values("pk")[:MAX_NAMED]
    ranked = RawSQL("ARRAY(SELECT server_id FROM ranked)", [], output_field=ArrayField(UUIDField()))
    shown = visible.among(ranked, named).with_connection_of(user).with_sources().order_by()
    return Statement.of(shown.values_list(*READ))


def read_page(ids: str, *, user: Caller, sort: str, size: int) -> list[Server]:
    """The first so many of these ids (an array in Postgres's words) in one of READ_SORTS, with all that a list shows;
    who may see them was asked when they were found."""
    return [_server(row) for row in _page(user.pk is not None, sort, size).rows(ids=ids, user=user.pk)]


@lru_cache(maxsize=MAX_PAGES)
def _page(is_known: bool, sort: str, size: int) -> Prepared:
    user = User(pk=Parameter("user", BigIntegerField())) if is_known else AnonymousUser()
    these = Server.objects.filter(equals_any("pk", Parameter("ids", ArrayField(UUIDField()))))
    return Prepared(ordered(these.with_connection_of(user).with_sources(), sort).values_list(*READ)[:size])


def _server(row: Sequence[Any]) -> Server:
    """As Django makes one of its pickled state: a tenth of what its constructor takes."""
    server = Server.__new__(Server)
    server.__dict__ = dict(zip(READ, row, strict=True))
    server._state = ModelState()
    server._state.adding, server._state.db = False, DEFAULT_DB_ALIAS
    return server
