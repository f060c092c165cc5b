"""The vector index while a registry is filled: left out for the first load, made once when all vectors are there.

Adding a vector to the index takes several times as long as giving it a place in one that is made of all of them. An
index that holds less than is about to come saves a search nothing, so it steps aside; until it is made again searches
look at each vector, and find the same.

Who dies in between leaves a registry without: `is_lacking` tells, and whoever embeds next makes it
(`registry.jobs.complete_index` looks every minute).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from registry.models import SearchDocument

NAME = "search_document_embedding"
LOCK = 0x6D637002  # of Postgres: one at a time takes it away or makes it
# Is it there and whole (one whose making was cut off is there and not used)? May we make it?
STATE = """SELECT (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)), pg_has_role(relowner, 'USAGE')
FROM pg_class WHERE oid = %s::regclass"""
HOLDS = "SELECT count(*) FROM (SELECT 1 FROM search_documents WHERE embedding IS NOT NULL LIMIT %s) AS held"


def step_aside(coming: int) -> None:
    """For so many new vectors, where it holds fewer. Searches go on meanwhile."""
    with _alone() as is_ours:
        if is_ours and _state() == (True, True) and _first(HOLDS, [coming])[0] < coming:
            _drop()


def make() -> None:
    """Where there is none, or a part of one. Nobody waits for it: rows are written meanwhile."""
    with _alone() as is_ours:
        if is_ours and is_lacking():
            _drop()
            with connection.schema_editor(atomic=False) as editor:
                editor.execute(_index().create_sql(SearchDocument, editor, concurrently=True))


def is_lacking() -> bool:
    """And could be made: that takes the owner of the table."""
    is_valid, may_make = _state()
    return may_make and not is_valid


def _state() -> tuple[bool | None, bool]:
    is_valid, may_make = _first(STATE, [NAME, SearchDocument._meta.db_table])
    return is_valid, may_make


def _drop() -> None:
    with connection.schema_editor(atomic=False) as editor:
        editor.execute(_index().remove_sql(SearchDocument, editor, concurrently=True))


def _index() -> Any:
    return next(index for index in SearchDocument._meta.indexes if index.name == NAME)


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether it is ours to change: who else is at it is not waited for, and within a transaction it cannot be done."""
    is_ours = not connection.in_atomic_block and _first("SELECT pg_try_advisory_lock(%s)", [LOCK])[0]
    try:
        yield is_ours
    finally:
        if is_ours:
            _first("SELECT pg_advisory_unlock(%s)", [LOCK])


def _first(sql: str, parameters: list[Any]) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row: tuple[Any, ...] = cursor.fetchone()
        return row
