"""Among what a search looks, and how it reads what it found: SQL that depends on who asks and on the filters alone, so
that without filters it is compiled once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS
from django.db.models import BigIntegerField, CharField, QuerySet, UUIDField

from registry.filters import filter_servers
from registry.models import SearchDocument, Server, ServerQuerySet, Tool, equals_any
from registry.prepared import Parameter, Prepared, Statement

Caller = User | AnonymousUser
# Columns that need no conversion; others are read when somebody asks for them.
COLUMNS = {
    field.attname: field
    for field in Server._meta.concrete_fields
    if field.get_internal_type() not in ("JSONField", "VectorField") and field.name != "search_text"
}
MAX_NAMED = 20  # servers of one name


@dataclass(frozen=True)
class Scope:
    """`documents` is a condition on `search_documents`; None: nothing can be found."""

    documents: Statement | None
    servers: Prepared | None

    def read_servers(self, ids: Iterable[UUID], named: str, user: Caller) -> list[Server]:
        """Of these ids and those that are called so, in no order, as far as the user sees them and filters let them
        through; with `connected` and `listed_in`."""
        if self.servers is None:
            return []
        rows = self.servers.rows(ids=list(ids), name=named.strip().lower(), user=user.pk)
        return [_server(row) for row in rows]


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
    return Prepared(shown.values_list(*COLUMNS, "connected", "listed_in"))


def _server(row: tuple[Any, ...]) -> Server:
    *columns, connected, listed_in = row
    server: Server = Server.from_db(DEFAULT_DB_ALIAS, COLUMNS, columns)
    server.connected, server.listed_in = connected, listed_in
    return server


@cache
def _tools() -> Prepared:
    asked = Tool.objects.filter(equals_any("pk", Parameter("ids", ArrayField(BigIntegerField()))))
    return Prepared(asked.order_by().values_list("pk", "name", "description"))


def read_tools(ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """Name and description by id."""
    return {pk: (name, description) for pk, name, description in _tools().rows(ids=list(ids))}
