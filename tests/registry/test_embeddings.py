"""Texts and vectors: what a tool is searched by, and who gets a vector when."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from registry import embeddings
from registry.embeddings import content_hash, embed, embed_query, server_text_of, split_words, text_of
from registry.jobs import embed_tools
from registry.models import Server, Tool
from registry.search import search_servers
from registry.search.indexing import embed_missing


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

    def change_then_embed(texts: list[str]) -> list[list[float]]:
        if new_text not in texts:
            Tool.objects.filter(pk=tool.pk).update(search_text=new_text, content_hash=content_hash(new_text))
        return embed(texts)

    monkeypatch.setattr("registry.search.indexing.embed", change_then_embed)
    embed_tools()
    vector = Tool.objects.defer(None).get(pk=tool.pk).embedding
    assert likeness(list(vector), embed([new_text])[0]) == pytest.approx(1, abs=1e-4)
