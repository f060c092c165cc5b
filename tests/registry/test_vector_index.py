"""The vector index steps aside for the first load, and is made again whatever happens in between."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection

from registry import queues
from registry.jobs import complete_index, embed_tools
from registry.models import SearchDocument, Tool
from registry.search import indexing, search_servers, vector_index
from registry.services.embedding import EMBED_JOB
from tests.registry.test_search import make_server

pytestmark = pytest.mark.django_db(transaction=True)

BATCH = 3


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "BATCH_SIZE", BATCH)


def load(servers: int) -> None:
    for number in range(servers):
        make_server(f"io.example/clock-{number}", f"Time of day {number}", {"get_time": f"The time in zone {number}"})


def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the index is made again."""
    with monkeypatch.context() as patched:
        patched.setattr(vector_index, "make", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            embed_tools()


def test_a_first_load_goes_without_and_has_it_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    load(BATCH)
    cut_off(monkeypatch)
    assert vector_index.is_lacking()
    embed_tools()
    assert not vector_index.is_lacking()
    assert not SearchDocument.objects.filter(embedding=None).exists()


def test_what_is_searched_without_it_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    load(BATCH)
    cut_off(monkeypatch)
    without = search_servers("clock", user=AnonymousUser())
    embed_tools()
    with_it = search_servers("clock", user=AnonymousUser())
    assert without.mode == with_it.mode == "hybrid"
    assert [hit.server.pk for hit in without.hits] == [hit.server.pk for hit in with_it.hits]


def test_a_larger_index_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    load(BATCH)
    embed_tools()
    Tool.objects.update(embedding=None)
    cut_off(monkeypatch)
    assert not vector_index.is_lacking()


def test_one_whose_making_was_cut_off_is_made_anew() -> None:
    load(1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [vector_index.NAME])
    assert vector_index.is_lacking()
    embed_tools()
    assert not vector_index.is_lacking()


def test_who_does_not_own_the_table_leaves_it_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    load(BATCH)
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE nobody_here")
        cursor.execute("GRANT USAGE ON SCHEMA public TO nobody_here")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO nobody_here")
        cursor.execute("SET ROLE nobody_here")
    try:
        vector_index.step_aside(coming=BATCH)
        assert not vector_index.is_lacking()
        vector_index.make()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE; DROP OWNED BY nobody_here; DROP ROLE nobody_here")
    assert not vector_index.is_lacking()


def test_within_a_transaction_or_while_another_is_at_it_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    load(BATCH)
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [vector_index.LOCK])
        vector_index.step_aside(coming=BATCH)
        assert not vector_index.is_lacking()
    other.close()
    vector_index.step_aside(coming=BATCH)
    assert vector_index.is_lacking()
    vector_index.make()
    assert not vector_index.is_lacking()


def test_every_minute_what_a_lost_worker_left_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    load(BATCH)
    cut_off(monkeypatch)
    assert complete_index() and complete_index()
    assert [job.func_name for job in queues.queue("catalogue").jobs] == [EMBED_JOB]
    embed_tools()
    assert not complete_index()


def test_a_text_without_a_vector_is_asked_for_too() -> None:
    load(1)
    assert complete_index()
    embed_tools()
    assert not complete_index()
