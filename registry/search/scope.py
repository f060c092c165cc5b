"""Among what a search looks, and how it reads what it found: SQL that depends on who asks and on the filters alone, so
that without filters it is compiled once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS
from django.db.models import BigIntegerField, CharField, QuerySet, UUIDField
from django.db.models.base import ModelState

from registry.filters import filter_servers
from registry.models import SearchDocument, Server, ServerQuerySet, equals_any
from registry.ordering import SORTS, ordered
from registry.prepared import Parameter, Prepared, Statement, array

Caller = User | AnonymousUser
ToolText = tuple[str, str]  # name, description
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
# Servers, and of each the tools with one of these ids: in one statement, as each costs a turn.
WITH_TOOLS = """SELECT shown.*, told.tools FROM ({servers}) AS shown LEFT JOIN (
    SELECT server_id, array_agg(ARRAY[id::text, name, description]) AS tools FROM tools WHERE id = ANY(%s::bigint[])
    GROUP BY server_id
) AS told ON told.server_id = shown.id"""
# Orders of a list by what is read.
READ_SORTS = [sort for sort, columns in SORTS.items() if {column.lstrip("-") for column in columns} <= {*COLUMNS}]
MAX_NAMED = 20  # servers of one name
MAX_PAGES = 100  # kinds of pages whose statements are kept


@dataclass(frozen=True)
class Scope:
    """`documents` is a condition on `search_documents`; None: nothing can be found."""

    documents: Statement | None
    servers: Prepared | None

    def read_servers(
        self, ids: Iterable[str], named: str, user: Caller, tools: Iterable[int]
    ) -> tuple[list[Server], dict[int, ToolText]]:
        """Of these ids and those that are called so, in no order, as far as the user sees them and filters let them
        through; with `connected` and `listed_in`. And which of these tools they have, by id."""
        if self.servers is None:
            return [], {}
        rows = self.servers.rows(ids=array(ids), name=named.strip().lower(), user=user.pk, tools=array(tools))
        told = (tool for row in rows for tool in row[-1] or ())
        return [_server(row[:-1]) for row in rows], {int(pk): (name, text) for pk, name, text in told}


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
    return Scope(Statement.condition_of(documents), _reading(Server.objects.visible_to(user), user))


def _reading(visible: ServerQuerySet, user: Caller) -> Prepared:
    named: QuerySet[Any] = Server.objects.called(Parameter("name", CharField())).order_by().values("pk")[:MAX_NAMED]
    both = visible.among(Parameter("ids", ArrayField(UUIDField())), named)
    shown = both.with_connection_of(user).with_sources().order_by()
    servers = Statement.of(shown.values_list(*READ))
    wanted = Parameter("tools", ArrayField(BigIntegerField()))
    return Prepared(Statement(WITH_TOOLS.format(servers=servers.sql), [*servers.parameters, wanted]))


def read_page(ids: str, *, user: Caller, sort: str, size: int) -> list[Server]:
    """The first so many of these ids (an array in Postgres's words) in one of READ_SORTS, with all that a list shows;
    who may see them was asked when they were found."""
    return [_server(row) for row in _page(user.pk is not None, sort, size).rows(ids=ids, user=user.pk)]


@lru_cache(maxsize=MAX_PAGES)
def _page(is_known: bool, sort: str, size: int) -> Prepared:
    user = User(pk=Parameter("user", BigIntegerField())) if is_known else AnonymousUser()
    these = Server.objects.filter(equals_any("pk", Parameter("ids", ArrayField(UUIDField()))))
    return Prepared(ordered(these.with_connection_of(user).with_sources(), sort).values_list(*READ)[:size])


def _server(row: tuple[Any, ...]) -> Server:
    """As Django makes one of its pickled state: a tenth of what its constructor takes."""
    server = Server.__new__(Server)
    server.__dict__ = dict(zip(READ, row, strict=True))
    server._state = ModelState()
    server._state.adding, server._state.db = False, DEFAULT_DB_ALIAS
    return server
