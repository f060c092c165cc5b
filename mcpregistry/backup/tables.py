"""The tables of our schema as Postgres itself lists them, so that none is forgotten."""

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

NOT_COPIED = ("django_migrations",)  # the tables of a restored database were made by its own migrations
MADE_BY_MIGRATE = ("django_content_type", "auth_permission", "django_site")
TABLES = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND NOT EXISTS (
        SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'
    ) GROUP BY 1 ORDER BY 1
"""
SEQUENCES = """
    SELECT s.oid::regclass::text, t.relname, a.attname FROM pg_class s
    JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    JOIN pg_class t ON t.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
    WHERE s.relkind = 'S' AND t.relnamespace = current_schema()::regnamespace
"""

VIEWS = "SELECT matviewname FROM pg_matviews WHERE schemaname = current_schema() ORDER BY 1"


def materialized_views() -> list[str]:
    """What is computed from the tables and kept."""
    with connection.cursor() as cursor:
        cursor.execute(VIEWS)
        return [name for (name,) in cursor.fetchall()]


def columns_by_table() -> dict[str, list[str]]:
    """Without what Postgres computes itself."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        return {name: columns for name, columns in cursor.fetchall() if name not in NOT_COPIED}


def applied_migrations() -> list[str]:
    return sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations())


def copy_statement(table: str, columns: list[str], direction: str) -> str:
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("COPY {} ({}) {}").format(sql.Identifier(table), listed, sql.SQL(direction))
    return query.as_string(None)


def quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {quoted(table)}")  # nosec B608 # names of our own tables, quoted
        return int(cursor.fetchone()[0])


def filled(tables: list[str]) -> list[str]:
    """Those that hold anything that a migration did not put there."""
    with connection.cursor() as cursor:
        found = []
        for table in tables:
            cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(table)})")  # nosec B608 # names of our own tables, quoted
            found += [table] if cursor.fetchone()[0] else []
    return [table for table in found if table not in MADE_BY_MIGRATE]


def set_sequences() -> None:
    """Each goes on after the highest number there is."""
    with connection.cursor() as cursor:
        cursor.execute(SEQUENCES)
        for sequence, table, column in cursor.fetchall():
            highest = f"SELECT max({quoted(column)}) FROM {quoted(table)}"  # nosec B608 # names of our own tables, quoted
            cursor.execute(
                f"SELECT setval(%s::regclass, coalesce(({highest}), 1), ({highest}) IS NOT NULL)", [sequence]
            )
