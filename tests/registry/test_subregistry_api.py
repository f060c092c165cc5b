"""The sub-registry: public servers for other clients, in the official registry's API."""

import gzip
import json
import re
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.live_server_helper import LiveServer

from registry.catalogues import read_catalogue
from registry.importers import IMPORTERS
from registry.importers.base import CatalogueRecord, ImportOptions
from registry.importers.official import read_entry
from registry.importers.packages import command_of
from registry.models import Server, SourceRecord
from registry.packages import package_of
from registry.server_json import META, NAME
from registry.services.curating import hide_servers

RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "catalogues" / "official.jsonl.gz"
RECORDS = 200

pytestmark = pytest.mark.django_db


def public(slug: str, **fields: Any) -> Server:
    told = {"url": f"https://{slug}.example/mcp", "transport": "streamable_http", "visibility": "public"}
    return Server.objects.create(slug=slug, name=slug, **(told | fields))


def listed(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/v0.1/servers?{query}").json()
    return [entry["server"]["name"].partition("/")[2] for entry in answer["servers"]]


def test_a_stranger_reads_public_servers_and_no_others(client: Client, alice: User) -> None:
    public("open", owner=alice)
    public("closed", owner=alice, visibility="private")
    public("gone", status="deleted")
    assert listed(client) == ["open"]
    assert client.get("/v0.1/servers/local.mcp-registry%2Fclosed/versions").status_code == 404


def test_every_item_is_whole_whatever_is_known_of_the_server(client: Client) -> None:
    public("bare", url="", transport="", source="docker")
    public("wordy", title="Wordy", description="word " * 200, version="2.1")
    bare, wordy = client.get("/v0.1/servers").json()["servers"]
    assert bare["server"] == {"name": "local.mcp-registry/bare", "description": "bare", "version": "0.0.0"}
    assert len(wordy["server"]["description"]) <= 100
    assert wordy["server"]["remotes"] == [{"type": "streamable-http", "url": "https://wordy.example/mcp"}]
    assert {"status", "publishedAt", "updatedAt", "isLatest"} <= set(wordy["_meta"][META])


def test_an_empty_list_has_all_its_parts(client: Client) -> None:
    assert client.get("/v0.1/servers?search=nothing").json() == {"servers": [], "metadata": {"count": 0}}


def test_nothing_is_described_by_blanks(client: Client) -> None:
    public("blank", description=" \n ", title=" ", version=" ")
    server = client.get("/v0.1/servers").json()["servers"][0]["server"]
    assert (server["description"], server["version"]) == ("blank", "0.0.0")


def test_who_follows_changes_hears_what_a_curator_hid(client: Client) -> None:
    public("hidden", source="docker")
    since = quote((timezone.now() - timedelta(seconds=1)).isoformat())
    Server.objects.update(updated_at=timezone.now() - timedelta(days=1))
    hide_servers(servers=Server.objects.all())
    answer = client.get(f"/v0.1/servers?updated_since={since}").json()
    assert [entry["_meta"][META]["status"] for entry in answer["servers"]] == ["deleted"]
    assert listed(client) == []


def test_a_secret_in_an_address_or_a_command_stays_here(client: Client) -> None:
    public("keyed", url="https://keyed.example/mcp?api_key=hunter2&team=blue")
    public("started", url="", transport="stdio", command="npx", args=["-y", "thing@1.0", "--api-key", "hunter2"])
    answer = client.get("/v0.1/servers")
    assert b"hunter2" not in answer.content
    assert b"team=blue" in answer.content


@pytest.mark.parametrize("address", ["/v0.1/servers", "/v0.1/servers/a%2Fb/versions", "/v0.1/servers?limit=x"])
def test_any_origin_may_read(client: Client, address: str) -> None:
    assert client.get(address).headers["Access-Control-Allow-Origin"] == "*"
    asked = client.options(address, headers={"Origin": "https://elsewhere.example"})
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert client.post(address, {}).status_code == 405


def test_a_browser_may_ask_the_alias_beforehand(client: Client) -> None:
    wanted = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    for address in ("/servers", "/servers/a%2Fb/versions", "/servers/a%2Fb/versions/latest"):
        answer = client.options(address, headers={**wanted, "Access-Control-Request-Headers": "authorization"})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
        assert "GET" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    listed_as_json = client.get("/servers", headers={"Accept": "application/json", "Origin": "https://a.example"})
    assert listed_as_json.headers["Access-Control-Allow-Origin"] == "*"
    assert "Accept" in listed_as_json.headers["Vary"]


@pytest.mark.parametrize("name", ["local.mcp-registry%2Ftoy", "local.mcp-registry/toy", "local.mcp-registry%252Ftoy"])
def test_a_name_is_found_however_its_slash_is_sent(client: Client, name: str) -> None:
    public("toy", version="1.2.0")
    for prefix in ("/v0.1/servers", "/servers"):
        versions = client.get(f"{prefix}/{name}/versions").json()
        assert versions["metadata"] == {"count": 1}
        for version in ("latest", "1.2.0"):
            assert client.get(f"{prefix}/{name}/versions/{version}").json() == versions["servers"][0]


@pytest.mark.parametrize("path", ["a%2Fb/versions", "a%2Fb/versions/latest", "local.mcp-registry%2Ftoy/versions/9"])
def test_what_is_not_there_is_said_in_one_shape(client: Client, path: str) -> None:
    public("toy")
    response = client.get(f"/v0.1/servers/{path}")
    assert (response.status_code, response.json()) == (404, {"error": "Server not found"})


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "cursor=nonsense", "cursor=W10", "updated_since=yesterday", "search=%00"],
)
def test_what_cannot_be_meant_is_refused(client: Client, query: str) -> None:
    response = client.get(f"/v0.1/servers?{query}")
    assert (response.status_code, list(response.json())) == (400, ["error"])


def test_a_cursor_goes_on_after_the_last_one_and_carries_its_filters(client: Client) -> None:
    for number in range(5):
        public(f"time-{number}", search_text="time")
    public("other")
    seen, query = [], "search=time&limit=2"
    while query:
        answer = client.get(f"/v0.1/servers?{query}").json()
        seen += [entry["server"]["name"] for entry in answer["servers"]]
        cursor = answer["metadata"].get("nextCursor")
        assert cursor is None or re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
        query = f"cursor={cursor}&limit=2&search=other" if cursor else ""
    assert seen == [f"local.mcp-registry/time-{number}" for number in range(5)]


def test_filters_narrow_the_list(client: Client) -> None:
    public("new", version="2")
    Server.objects.filter(pk=public("old", version="1").pk).update(updated_at=timezone.now() - timedelta(days=9))
    since = quote((timezone.now() - timedelta(days=1)).isoformat())
    assert listed(client, f"updated_since={since}") == ["new"]
    assert listed(client, "version=1") == ["old"]
    assert listed(client, "version=latest") == ["new", "old"]
    assert listed(client, "search=ne") == ["new"]


def test_whoever_follows_changes_hears_of_deletions(client: Client) -> None:
    public("gone", status="deleted", source="docker")
    answer = client.get("/v0.1/servers?updated_since=2020-01-01T00:00:00Z").json()
    assert answer["servers"][0]["_meta"][META]["status"] == "deleted"
    assert listed(client) == []


def test_the_page_of_servers_answers_clients_that_ask_for_json(client: Client, web: Client) -> None:
    public("toy")
    assert client.get("/servers", headers={"Accept": "application/json"}).json()["metadata"] == {"count": 1}
    assert "</h1>" in web.get("/servers", headers={"Accept": "text/html,application/json"}).content.decode()


def test_a_page_takes_two_queries(client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(20):
        public(f"toy-{number}")
    with django_assert_num_queries(2):
        assert len(listed(client, "limit=20")) == 20


def test_a_server_that_left_its_catalogue_keeps_its_name(client: Client) -> None:
    server = public("toy")
    data = {"server": {"name": "com.acme/toy", "version": "1"}}
    gone = {"source": "official", "external_id": "com.acme/toy", "data": data, "removed_at": timezone.now()}
    SourceRecord.objects.create(server=server, content_hash="", **gone)
    assert client.get("/v0.1/servers/com.acme%2Ftoy/versions/latest").json()["server"]["version"] == "0.0.0"


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("npx", ["-y", "@scope/thing@1.2.3", "--flag", "value"]),
        ("uvx", ["mcp-server-time==1.0"]),
        ("docker", ["run", "-i", "--rm", "-e", "REGION", "ghcr.io/acme/thing:1"]),
        ("dnx", ["Acme.Thing@1.0.0", "--yes", "--", "serve"]),
    ],
)
def test_a_package_starts_by_the_command_it_was_made_from(command: str, args: list[str]) -> None:
    package = package_of(command, args, [{"name": "REGION"}] if command == "docker" else [])
    assert package is not None
    assert command_of(package) == (command, args)


def test_a_path_of_this_machine_is_left_for_others_to_fill_in() -> None:
    package = package_of("npx", ["-y", "files", "/home/alice/files"], [])
    assert package is not None
    assert command_of(package) == ("npx", ["-y", "files", "{path}"])


@pytest.mark.parametrize(
    ("command", "args"), [("python", ["server.py"]), ("npx", ["--package", "x", "y"]), ("docker", [])]
)
def test_a_command_that_starts_no_package_is_none(command: str, args: list[str]) -> None:
    assert package_of(command, args, []) is None


def recorded(count: int) -> list[dict[str, Any]]:
    """The first records that can be used, one a name, each the newest of its versions."""
    if not RECORDED.exists():
        pytest.skip("the recorded catalogues are not here")
    with gzip.open(RECORDED, "rt") as lines:
        entries = (json.loads(line) for line in lines)
        newest = (entry for entry in entries if next(iter(entry["_meta"].values()))["isLatest"])
        usable = (entry for entry in newest if isinstance(read_entry(entry, "official"), CatalogueRecord))
        return list(islice(usable, count))


def import_recorded(tmp_path: Path) -> dict[str, dict[str, Any]]:
    entries = recorded(RECORDS)
    path = tmp_path / "official.json"
    path.write_text(json.dumps({"servers": entries}))
    read_catalogue(importer=IMPORTERS["file"], options=ImportOptions(path=str(path)))
    return {entry["server"]["name"]: entry["server"] for entry in entries}


def all_entries(client: Client) -> list[dict[str, Any]]:
    entries, query = [], "limit=100"
    while query:
        answer = client.get(f"/v0.1/servers?{query}").json()
        entries += answer["servers"]
        cursor = answer["metadata"].get("nextCursor")
        query = f"limit=100&cursor={cursor}" if cursor else ""
    return entries


def test_what_the_official_registry_says_survives(client: Client, tmp_path: Path) -> None:
    sent = import_recorded(tmp_path)
    entries = all_entries(client)
    assert len(entries) > RECORDS / 2
    for entry in entries:
        server = entry["server"]
        for part in ("name", "version", "remotes", "packages", "repository"):
            assert (server.get(part) or None) == (sent[server["name"]].get(part) or None), server["name"]
        assert "$schema" not in server
        assert NAME.fullmatch(server["name"])
        assert 0 < len(server["description"]) <= 100
        assert entry["_meta"]


@pytest.mark.django_db(transaction=True)
def test_our_own_importer_reads_what_we_publish(client: Client, live_server: LiveServer) -> None:
    public("remote", description="Reached over HTTP.", version="1.0", repository="https://github.com/acme/remote")
    public("started", url="", transport="stdio", command="uvx", args=["mcp-server-time==1.0"])
    answer = list(IMPORTERS["official"].records(ImportOptions(url=live_server.url)))
    records = [one for one in answer if isinstance(one, CatalogueRecord)]
    assert [one.external_id for one in records] == ["local.mcp-registry/remote", "local.mcp-registry/started"]
    assert records[0].columns["url"] == "https://remote.example/mcp"
    assert (records[1].columns["command"], records[1].columns["args"]) == ("uvx", ["mcp-server-time==1.0"])
