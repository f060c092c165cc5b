"""What other clients are told to use a server: each in its own dialect, and never with a value of somebody's."""

import json
from typing import Any

import pytest
from django.test import Client

from registry.models import Server
from registry.snippets import snippets_of

TOKEN = {"name": "X-Team-Key", "description": "of your team", "secret": True, "in": "header", "value": "Key {key}"}


def remote(**fields: Any) -> Server:
    told = {"slug": "maps", "name": "Maps", "transport": "streamable_http", "url": "https://maps.example/mcp"}
    return Server(**(told | fields))


def started(**fields: Any) -> Server:
    told = {"slug": "clock", "name": "Clock", "transport": "stdio", "command": "uvx", "args": ["mcp-server-time"]}
    return Server(**(told | fields))


def written(server: Server, client: str) -> dict[str, Any]:
    return json.loads(next(snippet.text for snippet in snippets_of(server) if snippet.client == client))


def test_a_program_is_told_to_each_client() -> None:
    server = started(env_schema=[{"name": "REGION_KEY", "secret": True, "in": "env"}])
    entry = {"command": "uvx", "args": ["mcp-server-time"]}
    assert written(server, "claude") == {"mcpServers": {"clock": {**entry, "env": {"REGION_KEY": "<REGION_KEY>"}}}}
    assert written(server, "cursor")["mcpServers"]["clock"]["env"] == {"REGION_KEY": "${env:REGION_KEY}"}
    vscode = written(server, "vscode")
    assert vscode["servers"]["clock"] == {"type": "stdio", **entry, "env": {"REGION_KEY": "${input:region_key}"}}
    assert vscode["inputs"][0] | {"type": "promptString", "id": "region_key", "password": True} == vscode["inputs"][0]
    assert written(server, "plain")["mcpServers"]["clock"]["env"] == {"REGION_KEY": "${REGION_KEY}"}


def test_an_address_is_told_to_each_client() -> None:
    server = remote(env_schema=[TOKEN])
    claude = written(server, "claude")["mcpServers"]["maps"]
    assert claude["args"][1:5] == ["mcp-remote", "https://maps.example/mcp", "--transport", "http-only"]
    assert claude["args"][5:] == ["--header", "X-Team-Key:${X_TEAM_KEY}"]
    assert claude["env"] == {"X_TEAM_KEY": "Key <X_TEAM_KEY>"}
    assert written(server, "vscode")["servers"]["maps"] == {
        "type": "http",
        "url": "https://maps.example/mcp",
        "headers": {"X-Team-Key": "Key ${input:x_team_key}"},
    }
    assert written(server, "cursor")["mcpServers"]["maps"]["headers"] == {"X-Team-Key": "Key ${env:X_TEAM_KEY}"}


def test_a_bearer_token_has_its_word_before_it() -> None:
    server = remote(auth_type="bearer", transport="sse")
    plain = written(server, "plain")["mcpServers"]["maps"]
    assert (plain["type"], plain["headers"]) == ("sse", {"Authorization": "Bearer ${AUTHORIZATION}"})


def test_what_needs_nothing_asks_for_nothing() -> None:
    assert written(remote(), "vscode") == {"servers": {"maps": {"type": "http", "url": "https://maps.example/mcp"}}}
    assert "env" not in written(started(), "claude")["mcpServers"]["clock"]


def test_no_value_is_ever_told() -> None:
    hidden = "hunter2"
    addressed = remote(url=f"https://maps.example/mcp?api_key={hidden}")
    keyed = started(args=["thing", "--token", hidden, f"--api-key={hidden}"], env={"ANYTHING": hidden})
    texts = [snippet.text for server in (addressed, keyed) for snippet in snippets_of(server)]
    assert len(texts) == 8
    assert not any(hidden in text for text in texts)


def test_a_key_within_an_address_or_an_argument_is_asked_for_there() -> None:
    vscode = written(remote(url="https://maps.example/mcp?api_key={api_key}"), "vscode")
    assert vscode["servers"]["maps"]["url"] == "https://maps.example/mcp?api_key=${input:api_key}"
    assert [one["id"] for one in vscode["inputs"]] == ["api_key"]
    claude = written(started(args=["thing", "--token", "{token}"]), "claude")
    assert claude["mcpServers"]["clock"]["args"][2] == "<TOKEN>"


@pytest.mark.parametrize("transport", ["openapi", ""])
def test_what_other_clients_cannot_reach_is_not_offered(transport: str) -> None:
    assert snippets_of(remote(transport=transport)) == []


@pytest.mark.django_db
def test_the_page_of_a_server_shows_them_with_a_button_to_copy(web: Client) -> None:
    server = remote(visibility="public")
    server.save()
    html = web.get("/servers/maps", headers={"Accept": "text/html"}).content.decode()
    for client in ("claude", "vscode", "cursor", "plain"):
        assert f'id="install-{client}"' in html
        assert f'data-copy="install-{client}"' in html
