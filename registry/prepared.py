"""Querysets compiled once a process, and statements that Postgres keeps planned: for what is asked so often that
writing and planning it costs more than its answer.

A `Parameter` stands in a queryset for a value that comes with each call:

    named = Prepared(Server.objects.filter(slug=Parameter("slug", SlugField())).values_list("pk"))
    named.rows(slug="time")
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Expression, Field, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from psycopg import Cursor


class Parameter(Expression):
    def __init__(self, name: str, output_field: "Field[Any, Any]") -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> Any:
        return "%s", [self]


class Statement(NamedTuple):
    """SQL and what goes into it: values, and parameters in the place of values to come."""

    sql: str
    parameters: Sequence[Any]

    @classmethod
    def of(cls, queryset: QuerySet[Any]) -> "Statement":
        """Raises EmptyResultSet where nothing can be found."""
        return cls(*queryset.query.sql_with_params())

    @classmethod
    def condition_of(cls, queryset: QuerySet[Any]) -> "Statement":
        """What stands behind its WHERE, for a statement of one's own over the same one table. Raises as `of`."""
        query, table = queryset.order_by().values("pk").query, queryset.model._meta.db_table
        compiler = query.get_compiler(connection=connection)
        compiler.pre_sql_setup()
        asked = [alias for alias, uses in query.alias_refcount.items() if uses]
        if asked != [table]:
            raise ValueError(f"Not {table} alone is asked: {asked}")
        return cls(*compiler.compile(query.where)) if query.where else cls("true", [])

    def kept(self) -> "Statement":
        """Itself, where it may be asked again later. Raises ValueError."""
        if any(isinstance(one, datetime) for one in self.parameters):
            raise ValueError("A time is compiled in, and would stay the same for ever: use Now().")
        return self

    def filled(self, **values: Any) -> list[Any]:
        return [values[one.name] if isinstance(one, Parameter) else one for one in self.parameters]


def array(ids: Iterable[Any]) -> str:
    """Ids as Postgres reads them: a list of Python's is looked through twice to find out what it holds."""
    return f"{{{','.join(map(str, ids))}}}"


class Prepared:
    """A queryset of plain columns (`values_list`): rows come as the database's driver reads them."""

    def __init__(self, queryset: QuerySet[Any]) -> None:
        self.statement = Statement.of(queryset).kept()

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        return ask(self.statement.sql, self.statement.filled(**values))


def ask(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement. Its parameters travel apart from it, so that Postgres plans it once for each connection
    (`prepare_threshold` in settings; Django's own cursors write values into the statement). A LIMIT that decides which
    index is walked stands in the SQL itself."""
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    assert connection.connection is not None
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        cursor.execute(sql.encode(), parameters, binary=True)
        return cursor.fetchall()
