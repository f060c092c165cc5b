"""The vector of a search is begun before its caller is recognised, and for callers who were let in alone."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import RequestFactory
from rest_framework.test import APIClient

from mcpregistry.handler import found_at
from registry import embeddings
from registry.search import ahead

SHOWN = "Token mcpr_known"


@pytest.fixture(autouse=True)
def nobody_known() -> Iterator[None]:
    ahead._let_in.clear()
    yield
    ahead._let_in.clear()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(ahead, "begin_vector", texts.append)
    return texts


def scope(shown: str, query: str = "q=send+mail&limit=5") -> dict[str, Any]:
    return {"headers": [(b"authorization", shown.encode())], "query_string": query.encode()}


def remember(shown: str = SHOWN) -> None:
    ahead.remember(RequestFactory().get("/registry/search", headers={"Authorization": shown}))


def test_for_a_stranger_nothing_is_computed(begun: list[str]) -> None:
    remember()
    for shown in ("", "Token mcpr_other", SHOWN + "x"):
        ahead.begin(scope(shown))
    ahead.begin(scope(SHOWN) | {"headers": [(b"cookie", SHOWN.encode())]})
    assert not begun


def test_for_who_was_let_in_it_is_begun(begun: list[str]) -> None:
    remember()
    ahead.begin(scope(SHOWN))
    assert begun == ["send mail"]


def test_only_for_a_minute(begun: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    remember()
    later = ahead.time.monotonic() + ahead.REMEMBERED_S + 1
    monkeypatch.setattr(ahead.time, "monotonic", lambda: later)
    ahead.begin(scope(SHOWN))
    assert not begun


@pytest.mark.parametrize("query", ["", "q=", "q=+", "limit=5", "&".join(["a=1"] * 5_000), "q=%ff"])
def test_nothing_in_a_query_breaks_it(query: str, begun: list[str]) -> None:
    remember()
    ahead.begin(scope(SHOWN, query))
    assert begun in ([], ["\ufffd"])


def test_no_more_callers_are_remembered_than_there_is_place_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "MOST_REMEMBERED", 3)
    for number in range(10):
        remember(f"Token {number}")
    assert len(ahead._let_in) <= 3


@pytest.mark.django_db
def test_a_search_lets_its_caller_be_remembered_and_a_refused_one_does_not(api: APIClient) -> None:
    assert APIClient().get("/registry/search?q=time").status_code == 401
    assert api.get("/registry/search?q=time&limit=0").status_code == 400
    assert not ahead._let_in
    assert api.get("/registry/search?q=time").status_code == 200
    assert len(ahead._let_in) == 1


def test_the_web_server_begins_a_search_so_and_nothing_else() -> None:
    search, servers = found_at("/registry/search"), found_at("/registry")
    assert search is not None and servers is not None
    assert search.func.cls.foresee is ahead.begin
    assert not hasattr(servers.func.cls, "foresee")


def test_who_asks_for_a_vector_that_is_under_way_waits_for_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings.ensure_loaded()
    computed: list[str] = []
    compute = embeddings.compute_query
    monkeypatch.setattr(embeddings, "compute_query", lambda text: computed.append(text) or compute(text))
    first, second = embeddings.begin_query("a text of this test"), embeddings.begin_query(" a  text of this test")
    assert first is second and len(first.result() or []) == embeddings.EMBEDDING_DIMENSIONS
    assert computed == ["a text of this test"]


def test_a_vector_that_could_not_be_computed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings.ensure_loaded()
    with monkeypatch.context() as broken:
        broken.setattr(embeddings, "compute_query", lambda text: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embeddings.embed_query("a text that fails once")
    assert embeddings.embed_query("a text that fails once")
