"""GET /registry/search and GET /registry/tools/search, as a client sees them."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from registry.models import Server
from tests.registry.test_search import cast

__all__ = ["cast"]

pytestmark = pytest.mark.django_db


def get(api: APIClient, path: str, **params: Any) -> Any:
    response = api.get(path, params)
    assert response.status_code == 200, response.content
    return response.json()


def test_servers_are_found_with_scores_tools_and_reasons(api: APIClient, cast: dict[str, Server]) -> None:
    answer = get(api, "/registry/search", q="current time")
    assert set(answer) == {"query", "mode", "fallback_reason", "took_ms", "results"}
    assert (answer["query"], answer["mode"], answer["fallback_reason"]) == ("current time", "hybrid", None)
    first = answer["results"][0]
    assert (first["slug"], first["connected"], first["sources"]) == ("clock", False, ["test"])
    assert set(first["matched_tools"][0]) == {"name", "description", "score"}
    assert first["score"] > answer["results"][1]["score"]
    assert first["why"]


def test_tools_are_found_one_a_result(api: APIClient, cast: dict[str, Server]) -> None:
    answer = get(api, "/registry/tools/search", q="save a document", limit=2)
    first = answer["results"][0]
    assert len(answer["results"]) == 2
    assert first["server"] == {"id": str(cast["drive"].pk), "slug": "drive", "name": "io.example/drive"}
    assert (first["tool"], first["description"]) == ("write_file", "Save text to a document")


def test_the_address_of_the_search_is_not_a_server(api: APIClient, cast: dict[str, Server]) -> None:
    assert get(api, "/registry/search/", q="time")["results"]


def test_an_empty_search_lists_the_newest(api: APIClient, cast: dict[str, Server]) -> None:
    answer = get(api, "/registry/search")
    assert [one["slug"] for one in answer["results"]] == ["skyline", "mailer", "drive", "clock"]
    assert answer["fallback_reason"]


@pytest.mark.parametrize("path", ["/registry/search", "/registry/tools/search"])
@pytest.mark.parametrize(
    "params",
    [{"q": "a\x00b"}, {"q": "x" * 10_001}, {"limit": "0"}, {"limit": "101"}, {"limit": "ten"}, {"health": "splendid"}],
)
def test_wrong_parameters_are_named(path: str, params: dict[str, str], api: APIClient) -> None:
    response = api.get(path, params)
    assert response.status_code == 400
    assert next(iter(params)) in response.json()["error"]["fields"]


def test_private_tools_of_others_are_not_found(api: APIClient, bob_api: APIClient, cast: dict[str, Server]) -> None:
    Server.objects.filter(slug="clock").update(visibility="private", owner=bob_api.get("/registry").wsgi_request.user)
    assert "clock" not in {one["server"]["slug"] for one in get(api, "/registry/tools/search", q="time")["results"]}


def test_filters_narrow_both_searches(api: APIClient, cast: dict[str, Server]) -> None:
    Server.objects.filter(slug="drive").update(tags=["disk"])
    servers = get(api, "/registry/search", q="time", tag="disk")["results"]
    tools = get(api, "/registry/tools/search", q="time", tag="disk")["results"]
    assert {one["slug"] for one in servers} == {"drive"} == {one["server"]["slug"] for one in tools}


def test_a_stranger_may_not_search(db: None) -> None:
    assert APIClient().get("/registry/search?q=time").status_code == 401
