"""Texts and vectors: what a tool is searched by, and who gets a vector when."""

import threading
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection

from registry import embeddings
from registry.embeddings import content_hash, embed, embed_query, server_text_of, split_words, text_of
from registry.jobs import embed_tools
from registry.models import Server, Tool
from registry.search import indexing, search_servers
from registry.search.indexing import embed_missing, embedding_beside
from tests.chains.conftest import until


def a_server(slug: str = "toys", **columns: Any) -> Server:
    return Server.objects.create(slug=slug, name=slug, source="test", **columns)


def a_tool(server: Server, name: str, description: str = "", **columns: Any) -> Tool:
    text = text_of(name=name, description=description)
    return Tool.objects.create(
        server=server, name=name, description=description, search_text=text, content_hash=content_hash(text), **columns
    )


def likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("getUserById", "get User By Id"),
        ("list_files-in.folder", "list files in folder"),
        ("parseHTMLPage", "parse HTML Page"),
        ("@acme/tool", "acme tool"),
        ("", ""),
    ],
)
def test_names_are_split_into_words(name: str, words: str) -> None:
    assert split_words(name) == words


def test_a_tool_is_searched_by_its_parameters_too() -> None:
    schema = {
        "properties": {
            "timeZone": {"description": "An IANA name."},
            "options": {"items": {"properties": {"verbose": {"type": "boolean"}}}},
        }
    }
    text = text_of(name="getTime", title="Time", description="Now.", input_schema=schema)
    assert text == "get Time\nTime\nNow.\ntime Zone: An IANA name.\noptions\nverbose"


@pytest.mark.parametrize(
    "schema",
    [None, {"properties": []}, {"properties": {"x": None}}, {"items": 3}, {"properties": {"x": {"items": []}}}],
)
def test_a_schema_that_is_none_does_not_matter(schema: Any) -> None:
    assert text_of(name="tool", input_schema=schema).startswith("tool")


def test_huge_and_endless_schemas_are_cut() -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"properties": {"more": deep}, "items": deep}
    wide = {"properties": {f"p{n}": {"description": "x" * 1_000} for n in range(900)}}
    assert len(text_of(name="deep", input_schema=deep)) < 200
    assert len(text_of(name="wide", input_schema=wide)) == embeddings.MAX_TEXT_CHARACTERS


def test_texts_can_be_stored() -> None:
    assert text_of(name="a\x00b", description="\ud800!") == "a b\n!"
    assert "\x00" not in server_text_of(name="x", description="\x00")


def test_texts_alike_in_meaning_get_vectors_that_are_close() -> None:
    query, near, far = embed(["weather forecast", "will it rain tomorrow", "merge two git branches"])
    assert len(query) == 384
    assert likeness(query, query) == pytest.approx(1, abs=1e-5)
    assert likeness(query, near) > likeness(query, far) + 0.2


def test_each_text_gets_its_own_vector_whatever_is_embedded_with_it() -> None:
    subjects = ["weather", "git branches", "restaurants", "e-mail", "prime numbers", "train times", "poems", "invoices"]
    texts = [f"{'really ' * words}{one}" for words in range(4) for one in subjects]
    alone = [embed([text])[0] for text in texts]
    for number, vector in enumerate(embed(texts)):
        nearest = max(range(len(texts)), key=lambda other: likeness(vector, alone[other]))
        assert nearest % len(subjects) == number % len(subjects)
        assert likeness(vector, alone[number]) > 0.8  # numbers of 8 bits are scaled to what is computed together
    assert embed([]) == []


def test_no_batch_holds_texts_of_different_lengths_or_too_many() -> None:
    ids = [[7] * length for length in (3, 300, 3, 600, 600, *[4] * 400)]
    batches = list(embeddings._batches(ids))
    assert sorted(number for batch in batches for number in batch) == list(range(len(ids)))
    for batch in batches:
        [length] = {len(ids[number]) for number in batch}
        assert len(batch) == 1 or len(batch) * length <= embeddings.BATCH_TOKENS


def test_a_query_waits_for_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings._model, "encoder", None)
    monkeypatch.setattr(embeddings._model, "_read", lambda: pytest.fail("a query must not load the model"))
    assert embed_query("anything") is None


def test_the_background_thread_makes_queries_possible() -> None:
    embeddings.load_in_background().join(timeout=60)
    assert embeddings.is_loaded()
    assert embed_query("hello") == embed_query(" hello ")


@pytest.mark.parametrize("name", ["no/such model", "/no/such/folder"])
def test_a_model_that_cannot_be_loaded_is_logged_and_leaves_search_lexical(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EMBEDDING_MODEL = name
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(embeddings, "_model", embeddings._Model())
    embeddings.load_in_background().join(timeout=60)
    assert "search is lexical only" in caplog.text
    assert embed_query("hello") is None


@pytest.mark.django_db
def test_a_model_that_is_switched_off_is_not_loaded_and_search_says_so(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDING_MODEL = "off"
    monkeypatch.setattr(embeddings, "_model", embeddings._Model())
    a_tool(a_server(description="Clocks", visibility="public"), "get_time", "The time now.")
    embeddings.load_in_background().join(timeout=60)
    embeddings.ensure_loaded()
    assert embed_missing().computed == 0
    result = search_servers("time", user=AnonymousUser())
    assert (result.mode, len(result.hits)) == ("lexical", 1)
    assert "switched off" in str(result.fallback_reason)
    assert not embeddings.is_loaded()


@pytest.mark.django_db
def test_every_tool_and_server_without_a_vector_gets_one() -> None:
    server = a_server(description="Clocks")
    tool = a_tool(server, "get_time", "The time now.")
    gone = a_tool(server, "old", removed_at="2026-01-01T00:00:00Z")
    assert embed_tools() == {"computed": 2, "copied": 0}
    stored = Tool.objects.defer(None).get(pk=tool.pk)
    assert likeness(list(stored.embedding), embed([stored.search_text])[0]) == pytest.approx(1, abs=1e-4)
    assert Tool.objects.get(pk=gone.pk).embedding is None
    assert embed_tools() == {"computed": 0, "copied": 0}


@pytest.mark.django_db
def test_an_equal_text_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (a_server(slug, embedding=[0.0] * 384, content_hash="x") for slug in ("one", "two", "three"))
    a_tool(first, "get_time", "The time now.")
    embed_tools()
    for server in (second, third):
        a_tool(server, "get_time", "The time now.")
    monkeypatch.setattr(
        "registry.search.indexing.embed", lambda texts: pytest.fail(f"embedded again: {texts}") if texts else []
    )
    assert embed_tools() == {"computed": 0, "copied": 2}
    assert not Tool.objects.filter(embedding=None).exists()


@pytest.mark.django_db
def test_a_text_that_changes_while_it_is_embedded_is_embedded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = a_tool(a_server(embedding=[0.0] * 384, content_hash="x"), "get_time", "The time now.")
    new_text = text_of(name="get_time", description="Sunrise and sunset.")

    def change_then_write(rows: Any, vectors: Any) -> list[str]:
        Tool.objects.filter(pk=tool.pk).update(search_text=new_text, content_hash=content_hash(new_text))
        return write(rows, vectors)

    write = indexing._write
    monkeypatch.setattr(indexing, "LOOK_S", 0.01)
    monkeypatch.setattr(indexing, "_write", change_then_write)
    embed_tools()
    vector = Tool.objects.defer(None).get(pk=tool.pk).embedding
    assert likeness(list(vector), embed([new_text])[0]) == pytest.approx(1, abs=1e-4)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_is_changing_is_waited_for_by_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = a_server(description="Clocks")
    held, free = a_tool(server, "get_time", "The time now."), a_tool(server, "get_zone", "The zone here.")
    monkeypatch.setattr(indexing, "LOOK_S", 0.01)
    monkeypatch.setattr(indexing, "MAX_WAITS", 1)
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}) as other:
        other.execute("SELECT 1 FROM tools WHERE id = %s FOR UPDATE", [held.pk])
        assert embed_tools() == {"computed": 2, "copied": 0}
        assert "keeps changing" in caplog.text
    assert Tool.objects.defer(None).get(pk=free.pk).embedding is not None
    assert embed_tools() == {"computed": 1, "copied": 0}


@pytest.mark.django_db(transaction=True)
def test_what_a_catalogue_brought_is_embedded_while_it_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "LOOK_S", 0.01)
    monkeypatch.setattr(indexing, "BATCH_SIZE", 2)
    server = a_server(embedding=[0.0] * 384, content_hash="x")
    with embedding_beside():
        for name in ("get_time", "get_zone", "get_date"):
            a_tool(server, name)
        until(lambda: Tool.objects.filter(embedding=None).count() == 1)
    assert embed_tools() == {"computed": 1, "copied": 0}


@pytest.mark.django_db(transaction=True)
def test_a_reading_that_fails_ends_what_is_embedded_beside() -> None:
    with pytest.raises(ValueError, match="cut off"), embedding_beside():
        raise ValueError("cut off")
    assert not any(thread.name == "embedding-beside" for thread in threading.enumerate())
