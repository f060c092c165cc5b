"""Adding, listing, changing and deleting servers by the API."""

import json
from base64 import b64encode

import pytest
from rest_framework.test import APIClient

from registry.models import Connection, Server

pytestmark = pytest.mark.django_db


def added(api: APIClient, **fields: object) -> dict:
    response = api.post("/registry", {"name": "Time", "url": "https://time.example/mcp"} | fields)
    assert response.status_code == 201, response.data
    return response.data


def fields_of(response) -> dict:
    assert response.status_code == 400, response.data
    return response.json()["error"]["fields"]


def test_a_server_is_added_as_private_with_a_slug_of_its_name(api):
    server = added(api, name="World Time", description="What time is it?", tags=["time", "time"])
    assert (server["slug"], server["visibility"], server["transport"]) == ("world-time", "private", "streamable_http")
    assert (server["tags"], server["health"], server["connected"]) == (["time"], "untested", False)


def test_two_servers_of_one_name_get_two_slugs(api):
    first, second = added(api), added(api, url="https://other.example/mcp")
    assert first["slug"] == "time"
    assert second["slug"].startswith("time-")


def test_an_sse_address_is_registered_as_such(api):
    assert added(api, transport="sse")["transport"] == "sse"


def test_an_openapi_service_can_be_stored(api):
    response = api.post("/registry", {"name": "Pets", "openapi_url": "https://pets.example/openapi.json"})
    assert (response.status_code, response.data["transport"]) == (201, "openapi")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "url"),
        ({"name": "x", "url": "https://a.example", "command": "y"}, "url"),
        ({"url": "https://a.example"}, "name"),
        ({"name": "x", "url": 5.5, "tags": "no"}, "tags"),
        ({"name": "x", "url": "https://a.example", "tags": [{"a": 1}]}, "tags"),
        ({"name": "x", "url": "ftp://a.example"}, "url"),
        ({"name": "x", "url": "http://10.0.0.1/mcp"}, "url"),
        ({"name": "x", "url": "https://a.example", "visibility": "secret"}, "visibility"),
        ({"name": "x", "url": "https://a.example", "transport": "stdio"}, "transport"),
        ({"name": "x", "url": "https://a.example", "args": ["y"]}, "args"),
        ({"name": "x", "url": "https://a.example", "credentials": {"Host": "y"}}, "credentials"),
        ({"name": "x", "url": "https://a.example", "credentials": {"X-Key": "a\r\nb"}}, "credentials"),
    ],
)
def test_what_cannot_be_registered_is_refused_with_the_field(api, body, field):
    assert field in fields_of(api.post("/registry", body))
    assert not Server.objects.exists()


def test_only_staff_may_register_a_command(api, staff_api):
    command = {"name": "Clock", "command": "uvx", "args": ["mcp-server-time"]}
    assert "command" in fields_of(api.post("/registry", command))
    assert staff_api.post("/registry", command).status_code == 201


def test_nobody_may_register_a_command_when_commands_are_off(staff_api, settings):
    settings.STDIO_SERVERS = "off"
    assert "command" in fields_of(staff_api.post("/registry", {"name": "Clock", "command": "uvx"}))


def test_the_same_address_twice_is_a_conflict_that_names_the_first(api, bob_api):
    first = added(api)
    response = api.post("/registry", {"name": "Again", "url": "https://time.example/mcp"})
    assert response.status_code == 409
    assert first["id"] in response.json()["error"]["message"]
    added(bob_api)


def test_credentials_and_environment_are_kept_encrypted_and_never_shown(staff_api, staff):
    response = staff_api.post("/registry", {"name": "Mail", "command": "mail", "env": {"MAIL_KEY": "hunter2"}})
    connection = Connection.objects.get(user=staff)
    assert b"hunter2" not in bytes(connection.credentials_encrypted)
    assert "hunter2" not in response.content.decode()
    shown = staff_api.get(f"/registry/{response.data['id']}/connection")
    assert shown.data["credential_names"] == ["MAIL_KEY"]
    assert shown.data["tools"] == []


def test_a_server_that_only_got_credentials_is_not_connected(api):
    server = added(api, credentials={"Authorization": "Bearer x"})
    assert api.get(f"/registry/{server['id']}").data["connected"] is False


def test_a_private_server_does_not_exist_for_others(api, bob_api):
    server = added(api)
    for method in (bob_api.get, bob_api.patch, bob_api.delete):
        assert method(f"/registry/{server['slug']}").status_code == 404
    assert bob_api.get("/registry").data["count"] == 0


def test_a_public_server_may_be_seen_but_not_changed_by_others(api, bob_api, staff_api):
    server = added(api, visibility="public")
    assert bob_api.get(f"/registry/{server['id']}").status_code == 200
    assert bob_api.patch(f"/registry/{server['id']}", {"title": "Mine"}).status_code == 403
    assert bob_api.delete(f"/registry/{server['id']}").status_code == 403
    assert staff_api.patch(f"/registry/{server['id']}", {"title": "Checked"}).data["title"] == "Checked"


def test_its_owner_changes_and_deletes_a_server(api):
    server = added(api)
    changed = api.patch(f"/registry/{server['id']}", {"title": "Clock", "tags": ["a"], "visibility": "public"})
    assert (changed.data["title"], changed.data["tags"], changed.data["visibility"]) == ("Clock", ["a"], "public")
    assert api.delete(f"/registry/{server['id']}").status_code == 204
    assert api.get(f"/registry/{server['id']}").status_code == 404


def test_a_new_address_is_a_new_thing_to_trust(api, bob_api, bob):
    server = added(api, visibility="public")
    Server.objects.update(health="ok")
    bob_api.put(f"/registry/{server['id']}/connection", {"credentials": {"X-Key": "bobs"}})
    moved = api.patch(f"/registry/{server['id']}", {"url": "https://elsewhere.example/mcp"})
    assert (moved.data["health"], moved.data["url"]) == ("untested", "https://elsewhere.example/mcp")
    assert not Connection.objects.filter(user=bob).exists()


def test_a_new_address_is_checked_like_the_first(api):
    server = added(api)
    assert "url" in fields_of(api.patch(f"/registry/{server['id']}", {"url": "http://169.254.169.254/"}))
    assert Server.objects.get().url == "https://time.example/mcp"


def test_another_kind_of_address_takes_the_place_of_the_old(api):
    server = added(api)
    moved = api.patch(f"/registry/{server['id']}", {"openapi_url": "https://pets.example/openapi.json"})
    assert (moved.data["transport"], moved.data["url"]) == ("openapi", "")
    back = api.patch(f"/registry/{server['id']}", {"url": "https://time.example/sse", "transport": "sse"})
    assert (back.data["transport"], back.data["openapi_url"]) == ("sse", "")


@pytest.mark.parametrize(
    "path", ["nope", "3c469e9d-6c5d-4e61-9b5b-1c1f0a0f8a11", "%00", "a%00b", "%ED%A0%80", "x" * 3000]
)
def test_an_unknown_server_is_a_json_404(api, path):
    for response in (
        api.get(f"/registry/{path}"),
        api.get(f"/registry/{path}/tools"),
        api.put(f"/registry/{path}/connection", {}),
        api.post(f"/registry/{path}/healthcheck"),
    ):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_nothing_is_told_to_strangers(client):
    assert client.get("/registry").status_code == 401
    assert client.post("/registry/x/healthcheck").status_code == 401


class TestList:
    def names(self, api, query=""):
        response = api.get(f"/registry{query}")
        assert response.status_code == 200, response.data
        return [server["name"] for server in response.data["results"]]

    @pytest.fixture(autouse=True)
    def servers(self, api):
        added(api, name="Alpha time", url="https://a.example/mcp", tags=["clock"])
        added(api, name="Beta mail", url="https://b.example/sse", transport="sse", auth_type="bearer")
        added(api, name="Gamma files", url="https://c.example/mcp", visibility="public")
        Server.objects.filter(name="Gamma files").update(health="ok", tool_count=5)

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", ["Gamma files", "Beta mail", "Alpha time"]),
            ("?sort=name", ["Alpha time", "Beta mail", "Gamma files"]),
            ("?sort=health", ["Gamma files", "Alpha time", "Beta mail"]),
            ("?sort=tools", ["Gamma files"]),
            ("?tag=clock", ["Alpha time"]),
            ("?transport=sse", ["Beta mail"]),
            ("?auth_type=bearer", ["Beta mail"]),
            ("?health=ok", ["Gamma files"]),
            ("?source=custom&owner=me&q=be", ["Beta mail"]),
            ("?q=fil", ["Gamma files"]),
            ("?q=nothing+like+it", []),
        ],
    )
    def test_filters_narrow_and_sort_orders(self, api, query, names):
        assert self.names(api, query)[: len(names) or None] == names

    def test_a_cursor_leads_through_all_of_them(self, api):
        seen, url = [], "/registry?sort=name&limit=2"
        while url:
            page = api.get(url).data
            seen += [server["name"] for server in page["results"]]
            url = page["next"]
        assert seen == ["Alpha time", "Beta mail", "Gamma files"]
        assert page["count"] == 3

    @pytest.mark.parametrize("sort", ["newest", "name", "health", "tools", "match"])
    def test_what_is_typed_is_found_page_by_page_in_every_order(self, api, sort):
        """As without a cursor, whichever way the first page is read."""
        for number in range(3):
            added(api, name=f"Alpha {number}", url=f"https://alpha{number}.example/mcp")
        whole = api.get(f"/registry?q=alpha&sort={sort}").data["results"]
        seen, url = [], f"/registry?q=alpha&sort={sort}&limit=1"
        while url:
            page = api.get(url).json()
            assert page["count"] == 4
            seen += page["results"]
            url = page["next"]
        assert seen == json.loads(json.dumps(whole))
        assert {server["name"] for server in seen} == {"Alpha time", "Alpha 0", "Alpha 1", "Alpha 2"}

    @pytest.mark.parametrize("query", ["health=bogus", "sort=x", "limit=x", "limit=-1", "q=%00", "owner=7"])
    def test_a_filter_that_means_nothing_is_refused(self, api, query):
        assert query.partition("=")[0] in fields_of(api.get(f"/registry?{query}"))

    def test_a_long_list_takes_no_more_queries_than_a_short_one(self, api, django_assert_max_num_queries):
        for number in range(20):
            added(api, name=f"S{number}", url=f"https://s{number}.example/mcp")
        with django_assert_max_num_queries(5):
            assert len(api.get("/registry").data["results"]) == 23

    def test_the_caller_sees_what_is_connected(self, api, bob_api):
        server = Server.objects.get(name="Gamma files")
        bob_api.put(f"/registry/{server.slug}/connection", {})
        assert bob_api.get(f"/registry/{server.slug}").data["connected"] is True
        assert api.get(f"/registry/{server.slug}").data["connected"] is False

    @pytest.mark.parametrize("position", ["p=garbage", "p=%00", "o=x", "r=1&p=2020-99-99", "\x00"])
    @pytest.mark.parametrize("sort", ["newest", "name", "tools"])
    def test_a_forged_cursor_is_a_json_error(self, api, position, sort):
        cursor = b64encode(position.encode()).decode()
        response = api.get("/registry", {"cursor": cursor, "sort": sort})
        assert response.status_code in (200, 400, 404)
        assert response.json()
