"""Many rows at once, by COPY. Django's `bulk_create` and `bulk_update` write every value into one statement, which is
taken apart again twice before a row is stored: for a thousand rows of thirty columns that takes longer than storing
them."""

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Field, Model

AnyField: TypeAlias = "Field[Any, Any]"
NUMBERS = "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)"
COMING = "CREATE TEMPORARY TABLE coming ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA"
UPDATE = "UPDATE {table} SET {columns} FROM coming WHERE {table}.{key} = coming.{key}"


def copy_in(rows: Sequence[Model]) -> None:
    """Insert them; those without a key are given one. As with `bulk_create`, no signal is sent. Raises IntegrityError
    where one of them is there already."""
    if not rows:
        return
    meta = type(rows[0])._meta
    fields = meta.local_concrete_fields
    with connection.cursor() as cursor:
        _number(cursor, [row for row in rows if row.pk is None])
        _copy(cursor, meta.db_table, fields, [[field.pre_save(row, add=True) for field in fields] for row in rows])
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def copy_over(rows: Sequence[Model], names: Sequence[str]) -> None:
    """Write these columns of rows that are there. As with `bulk_update`, no signal is sent; what is gone stays gone."""
    if not rows:
        return
    meta = type(rows[0])._meta
    key, changed = meta.pk, [cast("AnyField", meta.get_field(name)) for name in dict.fromkeys(names)]
    fields = [key, *changed]
    quoted = {field: _quoted(field) for field in fields}
    values = [[getattr(row, field.attname) for field in fields] for row in rows]  # what was deferred is read here
    told = {"table": connection.ops.quote_name(meta.db_table), "key": quoted[key]}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(COMING.format(names=", ".join(quoted.values()), **told))
        _copy(cursor, "coming", fields, values)
        columns = ", ".join(f"{quoted[field]} = coming.{quoted[field]}" for field in changed)
        cursor.execute(UPDATE.format(columns=columns, **told))
        cursor.execute("DROP TABLE coming")


def _copy(cursor: CursorWrapper, table: str, fields: Sequence[AnyField], rows: Sequence[Sequence[Any]]) -> None:
    names = ", ".join(map(_quoted, fields))
    statement = f"COPY {connection.ops.quote_name(table)} ({names}) FROM STDIN"
    with connection.wrap_database_errors, cursor.copy(statement) as copy:
        for row in rows:
            prepared = (field.get_db_prep_save(value, connection) for field, value in zip(fields, row, strict=True))
            copy.write_row(list(prepared))


def _quoted(field: AnyField) -> str:
    return connection.ops.quote_name(str(field.column))


def _number(cursor: CursorWrapper, rows: Sequence[Model]) -> None:
    if not rows:
        return
    meta = type(rows[0])._meta
    cursor.execute(NUMBERS, [meta.db_table, meta.pk.column, len(rows)])
    for row, (number,) in zip(rows, cursor.fetchall(), strict=True):
        row.pk = number
