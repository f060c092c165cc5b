"""Connections from the pool: a dead one is found out, and a live one is not asked."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from psycopg_pool import ConnectionPool

from mcpregistry.database.base import check_if_told
from registry.prepared import ask
from registry.search.query import parse


@pytest.fixture
def other(transactional_db: None) -> Iterator[psycopg.Connection]:
    parameters = {name: value for name, value in connection.get_connection_params().items() if name != "pool"}
    parameters = {
        name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if parameters.get(name)
    }
    with psycopg.connect(**parameters, autocommit=True) as held:
        yield held


def test_one_that_is_alive_is_not_asked(other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConnectionPool, "check_connection", lambda held: pytest.fail("it was asked"))
    check_if_told(other)


def test_one_whose_server_ended_it_is_found_out(other: psycopg.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [other.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        check_if_told(other)


def test_one_that_was_told_something_else_lives(other: psycopg.Connection) -> None:
    other.execute("LISTEN news")
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY news")
    check_if_told(other)
    assert other.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.django_db
def test_what_words_mean_is_planned_once_for_a_connection() -> None:
    """Whether or not the last word may go on."""
    for number in range(12):
        parse(f"tell me the wether in city {number} and send a mail")
        parse(f"tell me the wether in city {number} and send a mail!")
    planned = ask(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE %s", ["%search_spellings%"]
    )
    assert len(planned) == 2 and all(generic > 0 for generic, _ in planned), planned
