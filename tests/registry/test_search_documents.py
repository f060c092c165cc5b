"""The rows that a search reads follow tools and servers whoever writes them, and never show what is not to be seen."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from registry.models import SearchDocument, Server, Tool
from registry.search import search_servers, search_tools
from registry.search.indexing import embed_missing
from tests.registry.test_search import found, make_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Server:
    return make_server("io.example/clock", "Time of day", {"get_time": "The time now", "set_time": "Set the clock"})


def texts_of(server: Server) -> int:
    return SearchDocument.objects.filter(server=server).count()


def test_each_tool_and_the_server_itself_have_one(clock: Server) -> None:
    assert texts_of(clock) == 3
    embed_missing()
    assert not SearchDocument.objects.filter(embedding=None).exists()


def test_a_removed_tool_loses_it_and_gets_it_back(clock: Server, alice: User) -> None:
    tool = Tool.objects.filter(server=clock, name="set_time")
    tool.update(removed_at="2026-01-01T00:00:00Z")
    assert texts_of(clock) == 2
    tool.update(removed_at=None)
    assert texts_of(clock) == 3


def test_it_goes_with_its_tool_and_its_server(clock: Server) -> None:
    Tool.objects.filter(server=clock, name="set_time").delete()
    assert texts_of(clock) == 2
    clock.delete()
    assert not SearchDocument.objects.exists()


def test_a_tool_that_moves_to_another_server_takes_it_along(clock: Server) -> None:
    other = make_server("io.example/other")
    Tool.objects.filter(server=clock).update(server=other)
    assert (texts_of(clock), texts_of(other)) == (1, 3)


def test_new_words_are_found_at_once_and_old_ones_no_more(clock: Server, alice: User) -> None:
    Tool.objects.filter(name="set_time").update(search_text="wind up the pendulum", embedding=None)
    assert found("pendulum", alice) == ["clock"]
    assert search_tools("set", tools=Tool.objects.present()).hits == []


@pytest.mark.parametrize("columns", [{"visibility": "private"}, {"status": "deleted"}])
def test_what_is_hidden_is_not_found_and_what_is_shown_again_is(
    columns: dict[str, Any], clock: Server, alice: User
) -> None:
    shown = {name: getattr(clock, name) for name in columns}
    Server.objects.filter(pk=clock.pk).update(**columns)
    assert found("time", alice) == []
    Server.objects.filter(pk=clock.pk).update(**shown)
    assert found("time", alice) == ["clock"]


def test_one_that_is_out_of_date_shows_nothing_private(clock: Server, alice: User) -> None:
    Server.objects.filter(pk=clock.pk).update(visibility="private")
    SearchDocument.objects.update(is_open=True)
    assert search_servers("time", user=alice).hits == []


def test_testing_a_server_writes_none(clock: Server) -> None:
    before = list(SearchDocument.objects.order_by("pk").values_list("pk", "words", "is_open"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text FROM search_documents ORDER BY id")
        written = cursor.fetchall()
        Server.objects.filter(pk=clock.pk).update(health="ok", latency_ms=12, next_probe_at="2026-12-01T00:00:00Z")
        cursor.execute("SELECT id, xmin::text FROM search_documents ORDER BY id")
        assert cursor.fetchall() == written
    assert list(SearchDocument.objects.order_by("pk").values_list("pk", "words", "is_open")) == before


def test_as_many_servers_are_found_as_are_asked_for(alice: User) -> None:
    for number in range(105):
        make_server(f"io.example/timer-{number}", "Tells the time")
    assert len(search_servers("time", user=alice, limit=100).hits) == 100


@pytest.mark.django_db(transaction=True)
def test_replaced_rows_are_cleared_away_after_many_new_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.search.indexing.MANY", 1)
    make_server("io.example/clock", "Time of day")
    with CaptureQueriesContext(connection) as asked:
        embed_missing()
    assert any("VACUUM" in one["sql"] for one in asked.captured_queries)
