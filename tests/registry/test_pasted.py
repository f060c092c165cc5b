"""“Add new MCP” takes what people have at hand, shows what it understood, and stores what was chosen."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from registry.connectors import Target
from registry.credentials import credentials_for
from registry.models import Server
from registry.pasted import NotUnderstood, Understood, understand
from registry.secrets import is_secret

SECRET = "hunter2-hunter2"


def one(text: str) -> Understood:
    found = understand(text)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("url", "transport", "name"),
    [
        ("https://mcp.acme.example/mcp", "streamable_http", "acme"),
        ("https://tools.example.com/sse", "sse", "tools"),
        ("https://host.example/acme/weather/mcp", "streamable_http", "weather"),
        ("https://petstore.example.io/v2/swagger.json", "openapi", "petstore"),
        ("http://127.0.0.1:8000/openapi.yaml", "openapi", "127.0.0.1"),
    ],
)
def test_an_address_is_what_it_looks_like(url: str, transport: str, name: str) -> None:
    found = one(url)
    assert (found.transport, found.shown, found.name) == (transport, url, name)


@pytest.mark.parametrize(
    ("line", "words", "name"),
    [
        ("npx -y @acme/mcp-maps@1.2 --units km", ["npx", "-y", "@acme/mcp-maps@1.2", "--units", "km"], "mcp-maps"),
        ("$ uvx mcp-server-time==2.0", ["uvx", "mcp-server-time==2.0"], "mcp-server-time"),
        ("docker run -i --rm \\\n  -v /data:/data ghcr.io/acme/maps:1",
         ["docker", "run", "-i", "--rm", "-v", "/data:/data", "ghcr.io/acme/maps:1"], "maps"),
        ("python 'my server.py'", ["python", "my server.py"], "my server"),
    ],
)  # fmt: skip
def test_a_command_line_is_read_as_a_shell_would(line: str, words: list[str], name: str) -> None:
    found = one(line)
    assert (found.words, found.name, found.is_command) == (words, name, True)


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        (f"API_KEY={SECRET} npx thing", {"API_KEY": SECRET}),
        (f"npx thing --api-key {SECRET}", {"api-key": SECRET}),
        (f"npx thing --api-key={SECRET}", {"api-key": SECRET}),
        (f"npx mcp-remote https://a.example --header 'Authorization: Bearer {SECRET}'",
         {"Authorization": f"Bearer {SECRET}"}),
        (f"docker run -i -e TOKEN={SECRET} acme/maps", {"TOKEN": SECRET}),
        (f"docker run -i --env=TOKEN={SECRET} acme/maps", {"TOKEN": SECRET}),
        (f"https://a.example/mcp?api_key={SECRET}&team=blue", {"api_key": SECRET}),
        (json.dumps({"mcpServers": {"a": {"command": "npx", "args": ["thing"], "env": {"TOKEN": SECRET}}}}),
         {"TOKEN": SECRET}),
        (json.dumps({"servers": {"a": {"url": "https://a.example/mcp", "headers": {"X-Key": SECRET}}}}),
         {"X-Key": SECRET}),
        (json.dumps({"mcpServers": {"a": {"command": "npx", "args": ["thing", "--api-key", SECRET]}}}),
         {"api-key": SECRET}),
        (json.dumps({"mcpServers": {"a": {"command": "npx", "args": ["thing", f"sk-{SECRET}"]}}}),
         {"secret": f"sk-{SECRET}"}),
        (json.dumps({"servers": {"a": {"url": f"https://a.example/mcp?key={SECRET}&team=blue"}}}), {"key": SECRET}),
        (f"npx thing sk-{SECRET}", {"secret": f"sk-{SECRET}"}),
    ],
)  # fmt: skip
def test_what_is_secret_becomes_a_credential_and_is_not_shown(text: str, credentials: dict[str, str]) -> None:
    found = one(text)
    assert found.credentials == credentials
    told = found.told()
    assert SECRET not in f"{found.shown}{found}{ ({**told, 'credentials': None}) }"


@pytest.mark.parametrize(
    "text",
    [
        f"npx thing --api-key {SECRET} --port=8",
        f"npx thing --api-key={SECRET}",
        f"docker run -e TOKEN={SECRET} acme/maps",
        json.dumps({"mcpServers": {"a": {"command": "npx", "args": ["thing", "--api-key", SECRET]}}}),
        json.dumps({"mcpServers": {"a": {"command": "docker", "args": ["run", "-e", f"TOKEN={SECRET}", "a/b"]}}}),
    ],
)
def test_a_credential_is_back_in_its_place_when_the_server_is_started(text: str) -> None:
    found = one(text)
    target = Target.of(Server(transport="stdio", **found.address), found.credentials)
    assert SECRET in " ".join([*target.args, *target.env.values()])
    assert "{" not in " ".join(target.args)


@pytest.mark.parametrize("reference", ["${input:maps}", "${env:maps}", "${maps}"])
def test_a_reference_in_an_address_is_asked_for(reference: str) -> None:
    found = one(json.dumps({"servers": {"a": {"url": f"https://a.example/mcp?api_key={reference}"}}}))
    assert (found.shown, found.asked) == ("https://a.example/mcp?api_key={maps}", ["maps"])
    assert found.credentials == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("API_TOKEN", "apiKey", "X-Auth", "Authorization", "client_secret", "DB_PASSWORD")),
        *((name, True) for name in ("key", "ACCESS_KEY", "--private-key", "passphrase", "BASIC_AUTH", "bearer")),
        *((name, False) for name in ("MAX_TOKENS", "AUTHOR", "authority", "tokenizer", "keyboard", "monkey", "REGION")),
    ],
)
def test_a_secret_is_known_by_its_name(name: str, expected: bool) -> None:
    assert is_secret(name) is expected


def test_a_credential_of_an_address_is_sent_there_and_not_as_a_header() -> None:
    found = one("https://a.example/mcp?api_key=two%20words")
    target = Target.of(Server(**found.address), {**found.credentials, "X-Team": "blue"})
    assert (target.url, target.headers) == ("https://a.example/mcp?api_key=two%20words", {"X-Team": "blue"})


@pytest.mark.parametrize("value", ["<YOUR_TOKEN>", "YOUR_API_KEY", "${TOKEN}", "${input:token}", "xxxx"])
def test_an_example_of_a_value_is_asked_for_instead(value: str) -> None:
    found = one(json.dumps({"mcpServers": {"a": {"command": "npx", "args": ["thing"], "env": {"TOKEN": value}}}}))
    assert (found.credentials, found.asked) == ({}, ["TOKEN"])


def test_a_file_of_several_servers_is_several(staff: User) -> None:
    text = '{"mcpServers": {"a": {"command": "uvx", "args": ["a"]}, /* and */ "b": {"url": "https://b.example/sse"},}}'
    assert [(found.name, found.transport) for found in understand(text)] == [("a", "stdio"), ("b", "sse")]


def test_a_server_json_is_read() -> None:
    document = {"name": "com.acme/maps", "description": "Maps.", "version": "1.0",
                "packages": [{"registryType": "npm", "identifier": "@acme/maps", "version": "1.0"}]}  # fmt: skip
    found = one(json.dumps(document))
    assert (found.name, found.words, found.said["description"]) == (
        "com.acme/maps",
        ["npx", "-y", "@acme/maps@1.0"],
        "Maps.",
    )


def test_several_lines_are_several_servers() -> None:
    assert len(understand("https://a.example/mcp\n\nuvx mcp-server-time\nhttps://a.example/mcp")) == 2


@pytest.mark.parametrize(
    "text",
    ["", "hello world", "example.com/mcp", "https://", "https://user:pw@a.example/mcp", "npx 'open", "{}", "[1]", "{]",
     '{"openapi": "3.1.0", "info": {}}', "openapi: 3.1.0", '{"mcpServers": {"a": {}}}', "rm -rf /",
     "FOO=bar", "https://a.example\nwhat", "[" * 5000],
)  # fmt: skip
def test_what_cannot_be_understood_says_so(text: str) -> None:
    with pytest.raises(NotUnderstood) as refused:
        understand(text)
    assert str(refused.value).endswith((".", ")"))


def test_a_reason_never_repeats_what_was_pasted() -> None:
    for text in (f"my password is {SECRET}", f"npx 'thing --token {SECRET}", f'{{"token": "{SECRET}"'):
        with pytest.raises(NotUnderstood) as refused:
            understand(text)
        assert SECRET not in str(refused.value)


def paste(client: Client, text: str, **more: Any) -> Any:
    return client.post("/servers/new/paste", {"pasted": text, **more})


@pytest.mark.django_db
def test_the_page_shows_what_it_understood_and_stores_nothing(web: Client) -> None:
    response = paste(web, f"https://maps.example/mcp?token={SECRET}", look="")
    html = response.content.decode()
    assert response.status_code == 200
    assert "https://maps.example/mcp?token={token}" in html
    assert html.count(SECRET) == 1  # in the box, where it was typed
    assert not Server.objects.exists()


@pytest.mark.django_db
def test_what_was_chosen_is_added_under_the_name_it_was_given(web: Client, alice: User) -> None:
    text = f"https://a.example/mcp?token={SECRET}\nhttps://b.example/mcp"
    first, second = understand(text)
    named = {f"name-{first.key}": "Maps", f"kind-{first.key}": "sse"}
    response = paste(web, text, add="", chosen=[first.key], **named)
    server = Server.objects.get()
    assert (response.status_code, response.url) == (302, "/servers/maps")
    assert (server.name, server.transport, server.visibility, server.owner) == ("Maps", "sse", "private", alice)
    assert SECRET not in server.url
    assert credentials_for(alice, server) == {"token": SECRET}
    assert second.key != first.key


@pytest.mark.django_db
def test_several_are_added_at_once(web: Client) -> None:
    text = "https://a.example/mcp\nhttps://b.example/openapi.json"
    response = paste(web, text, add="", shared="on", chosen=[found.key for found in understand(text)])
    assert response.url == "/servers?owner=me"
    assert set(Server.objects.values_list("transport", "visibility")) == {
        ("streamable_http", "public"),
        ("openapi", "public"),
    }


@pytest.mark.django_db
def test_what_is_refused_stays_on_the_page_with_its_reason(web: Client) -> None:
    text = "http://169.254.169.254/mcp\nhttps://fine.example/mcp"
    response = paste(web, text, add="", chosen=[found.key for found in understand(text)])
    html = response.content.decode()
    assert response.status_code == 400
    assert "http://169.254.169.254/mcp" in html
    assert list(Server.objects.values_list("name", flat=True)) == ["fine"]
    assert 'role="alert"' in html


@pytest.mark.django_db
def test_an_error_keeps_what_was_typed(web: Client) -> None:
    response = paste(web, "hello <world>", look="")
    html = response.content.decode()
    assert response.status_code == 400
    assert "hello &lt;world&gt;" in html
    assert 'id="pasted-error"' in html


@pytest.mark.django_db
def test_only_staff_add_commands(web: Client, staff: User) -> None:
    text = "uvx mcp-server-time"
    key = one(text).key
    assert "Only staff may register" in paste(web, text, add="", chosen=[key]).content.decode()
    assert not Server.objects.exists()
    web.force_login(staff)
    assert paste(web, text, add="", chosen=[key]).url == "/servers/mcp-server-time"


@pytest.mark.django_db
def test_what_an_added_server_asks_for_stands_in_its_form(web: Client, staff: User) -> None:
    web.force_login(staff)
    text = '{"mcpServers": {"maps": {"command": "npx", "args": ["maps"], "env": {"MAPS_KEY": "<key>"}}}}'
    paste(web, text, add="", chosen=[one(text).key])
    html = web.get("/servers/maps", headers={"Accept": "text/html"}).content.decode()
    assert 'type="password"' in html
    assert "MAPS_KEY" in html
