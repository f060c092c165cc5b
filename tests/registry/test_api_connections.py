"""PUT, GET and DELETE /registry/{id}/connection, and what the list of tools says of it."""

import pytest

from registry.models import Connection, Server, Tool

pytestmark = pytest.mark.django_db


@pytest.fixture
def server() -> Server:
    server = Server.objects.create(
        name="Toy", slug="toy", url="https://toy.example/mcp", transport="streamable_http", visibility="public"
    )
    for name, hints in (("read", {"readOnlyHint": True}), ("write", {}), ("erase", {"destructiveHint": True})):
        Tool.objects.create(server=server, name=name, annotations=hints, schema_hash=name, content_hash=name)
    return server


def policies(api) -> dict[str, str]:
    return {tool["name"]: tool["policy"] for tool in api.get("/registry/toy/tools").data["results"]}


def test_all_tools_are_authorised_by_one_word(api, server, alice):
    response = api.put("/registry/toy/connection", {"tools": "all"})
    assert (response.status_code, response.data["tools"]) == (200, "all")
    assert Tool.objects.authorised_by(alice).count() == 3


def test_only_named_tools_are_authorised(api, server, alice):
    assert api.put("/registry/toy/connection", {"tools": ["read"]}).data["tools"] == ["read"]
    assert [tool.name for tool in Tool.objects.authorised_by(alice)] == ["read"]


def test_policies_are_the_callers_own(api, bob_api, server):
    assert policies(api) == {"read": "auto", "write": "ask", "erase": "ask"}
    api.put("/registry/toy/connection", {"approval": {"default": "auto", "tools": {"erase": "never"}}})
    assert policies(api) == {"read": "auto", "write": "auto", "erase": "never"}
    assert policies(bob_api) == {"read": "auto", "write": "ask", "erase": "ask"}


def test_credentials_go_in_and_only_their_names_come_out(api, server):
    api.put("/registry/toy/connection", {"credentials": {"X-Key": "hunter2"}})
    kept = api.put("/registry/toy/connection", {"tools": ["read"]})
    assert kept.data["credential_names"] == ["X-Key"]
    assert "hunter2" not in kept.content.decode()
    assert api.put("/registry/toy/connection", {"credentials": {}}).data["credential_names"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": ["nope"]}, "tools"),
        ({"tools": "some"}, "tools"),
        ({"tools": [1]}, "tools"),
        ({"tools": {"a": 1}}, "tools"),
        ({"approval": {"default": "maybe"}}, "approval"),
        ({"approval": {"tools": {"nope": "auto"}}}, "approval"),
        ({"approval": "auto"}, "approval"),
        ({"credentials": {"X-Key": {"a": 1}}}, "credentials"),
        ({"credentials": {"Host": "x"}}, "credentials"),
        ({"credentials": {"X-Key": "a\r\nHost: b"}}, "credentials"),
        ({"credentials": ["x"]}, "credentials"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field(api, server, body, field):
    response = api.put("/registry/toy/connection", body)
    assert response.status_code == 400
    assert field in response.json()["error"]["fields"]
    assert not Connection.objects.exists()


@pytest.mark.parametrize("body", [b"[]", b"7", b"{", b'"x"', b'{"tools": "\\u0000"}'])
def test_a_body_that_is_no_object_is_a_json_error(api, server, body):
    response = api.put("/registry/toy/connection", data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_revoking_ends_it(api, server):
    api.put("/registry/toy/connection", {})
    assert api.delete("/registry/toy/connection").status_code == 204
    assert api.get("/registry/toy/connection").status_code == 404
    assert api.get("/registry/toy").data["connected"] is False


def test_tools_come_in_pages(api, server):
    page = api.get("/registry/toy/tools?limit=2").data
    assert [tool["name"] for tool in page["results"]] == ["erase", "read"]
    assert [tool["name"] for tool in api.get(page["next"]).data["results"]] == ["write"]
    assert page["count"] == 3
