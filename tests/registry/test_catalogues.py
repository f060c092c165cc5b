"""Smithery, mcp-get and Docker: what becomes of their records."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from registry.catalogues import Outcome, read_catalogue
from registry.importers import IMPORTERS, http
from registry.importers.base import CatalogueRecord, ImportOptions
from registry.importers.docker import read_image
from registry.models import ImportRun, Server, SourceRecord, Tool
from tests.servers.catalogue import ToyCatalogue, running_catalogue

pytestmark = pytest.mark.django_db

LOOKUP = {"name": "lookUp", "description": "Finds a word.", "inputSchema": {"properties": {"word": {"type": "string"}}}}
BASES = {"smithery": "/smithery", "mcp-get": "/mcp-get", "docker": "/docker.yaml"}


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def catalogue() -> Iterator[ToyCatalogue]:
    with running_catalogue(page_size=2) as running:
        names = ["@acme/words", "@acme/maps", "zoo", "@acme/old", "@acme/new"]
        running.smithery = [hosted(name) for name in names]
        running.packages = {"a.json": package("acme-words"), "b.json": package("@acme/maps", runtime="node")}
        running.images = {"words": image(), "remote": remote()}
        yield running


def hosted(name: str, **more: Any) -> dict[str, Any]:
    schema = {"required": ["apiKey"], "properties": {"apiKey": {"type": "string", "description": "Yours."}}}
    way = {"type": "http", "deploymentUrl": f"https://run.example/{name}/mcp", "configSchema": schema}
    told = {"qualifiedName": name, "displayName": "Words", "description": "Words of all kinds.", "tools": [LOOKUP]}
    return {**told, "iconUrl": "https://icons.example/w.png", "connections": [way], **more}


def package(name: str, **more: Any) -> dict[str, Any]:
    told = {"name": name, "description": "Words.", "runtime": "python", "license": "MIT"}
    variables = {"WORDS_TOKEN": {"description": "Yours.", "required": True}}
    return {**told, "sourceUrl": f"https://github.com/acme/{name}", "environmentVariables": variables, **more}


def image(**more: Any) -> dict[str, Any]:
    tool = {"name": "find", "description": "Finds.", "arguments": [{"name": "word", "type": "string", "desc": "What."}]}
    secrets = [{"name": "words.key", "env": "WORDS_KEY", "description": None}]
    metadata = {"category": "Language", "tags": ["words", "language"]}
    told = {"title": "Words", "description": "Words.", "type": "server", "image": "acme/words", "metadata": metadata}
    return {**told, "tools": [tool], "secrets": secrets, "source": "https://github.com/acme/words", **more}


def remote() -> dict[str, Any]:
    headers = {"Authorization": "Bearer ${REMOTE_KEY}"}
    return {"type": "remote", "remote": {"url": "https://r.example/sse", "transport_type": "sse", "headers": headers}}


def read(catalogue: ToyCatalogue, source: str, **options: Any) -> Outcome:
    told = ImportOptions(url=catalogue.url + BASES[source], **options)
    return read_catalogue(importer=IMPORTERS[source], options=told)


@pytest.mark.parametrize(("source", "count"), [("smithery", 5), ("mcp-get", 2), ("docker", 2)])
def test_everything_listed_becomes_a_server_and_a_second_reading_changes_nothing(
    source: str, count: int, catalogue: ToyCatalogue
) -> None:
    assert read(catalogue, source).counts.created == count
    before = list(Server.objects.order_by("pk").values())
    assert str(read(catalogue, source).counts) == f"created 0, updated 0, unchanged {count}, removed 0, rejected 0"
    assert list(Server.objects.order_by("pk").values()) == before
    assert ImportRun.objects.filter(status="succeeded").count() == 2


def test_a_new_record_is_written_once(catalogue: ToyCatalogue) -> None:
    before = rows_written("source_records")
    assert read(catalogue, "smithery").counts.created == 5
    assert rows_written("source_records") - before == Counter(inserted=5)


def rows_written(table: str) -> Counter[str]:
    """By this connection, as Postgres counts them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT n_tup_ins, n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = %s", [table])
        inserted, updated = cursor.fetchone()
    return Counter(inserted=inserted, updated=updated)


@pytest.mark.parametrize("source", ["smithery", "mcp-get", "docker"])
def test_what_is_gone_is_removed_and_failures_are_tried_again(source: str, catalogue: ToyCatalogue) -> None:
    read(catalogue, source)
    catalogue.smithery.pop(), catalogue.packages.pop("a.json"), catalogue.images.pop("remote")
    catalogue.faults = [429, "cut", 503]
    assert str(read(catalogue, source).counts).endswith("removed 1, rejected 0")
    assert Server.objects.filter(status=Server.Status.DELETED).count() == 1


@pytest.mark.parametrize("source", ["smithery", "mcp-get", "docker"])
def test_an_address_that_answers_something_else_is_an_error(source: str, catalogue: ToyCatalogue) -> None:
    told = ImportOptions(url=f"{catalogue.url}/elsewhere")
    assert "404" in read_catalogue(importer=IMPORTERS[source], options=told).error


def test_smithery_is_read_to_its_last_page_with_each_servers_tools(catalogue: ToyCatalogue) -> None:
    read(catalogue, "smithery")
    assert [query["page"] for query in catalogue.requests if "page" in query] == ["1", "2", "3"]
    server = Server.objects.get(external_id="@acme/words")
    assert (server.title, server.url, server.transport) == (
        "Words",
        "https://run.example/@acme/words/mcp",
        "streamable_http",
    )
    assert (server.auth_type, server.tool_count, server.field_sources["tools"]) == ("api_key", 1, "smithery")
    assert Tool.objects.filter(server=server).get().name == "lookUp"


def test_smithery_gets_the_key_that_is_configured(catalogue: ToyCatalogue, settings: Any) -> None:
    settings.SMITHERY_API_KEY = "from settings"
    read(catalogue, "smithery")
    read(catalogue, "smithery", api_key="from the page")
    assert {*catalogue.authorizations} == {"Bearer from settings", "Bearer from the page"}


def test_a_server_without_its_own_page_is_rejected_and_the_others_are_read(catalogue: ToyCatalogue) -> None:
    catalogue.smithery[1] = {"qualifiedName": "@acme/maps", "is_gone": True}
    outcome = read(catalogue, "smithery")
    assert outcome.counts.created == 4
    assert outcome.rejected == [{"external_id": "@acme/maps", "reason": "It is listed, but has no page of its own."}]


def test_a_package_of_mcp_get_is_started_by_its_runtime(catalogue: ToyCatalogue) -> None:
    catalogue.packages |= {"c.json": package("acme-go", runtime="go"), "d.json": [1], "package-list.json": []}
    outcome = read(catalogue, "mcp-get")
    assert (outcome.counts.created, outcome.counts.rejected) == (3, 1)
    commands = {one.name: [one.command, *one.args] for one in Server.objects.all()}
    assert commands == {"acme-words": ["uvx", "acme-words"], "@acme/maps": ["npx", "-y", "@acme/maps"], "acme-go": [""]}
    server = Server.objects.get(name="acme-words")
    assert (server.license, server.repository, server.auth_type) == (
        "MIT",
        "https://github.com/acme/acme-words",
        "api_key",
    )


def test_an_image_of_docker_is_run_with_its_secrets_and_keeps_its_tags(catalogue: ToyCatalogue) -> None:
    read(catalogue, "docker")
    server = Server.objects.get(name="words")
    assert [server.command, *server.args] == ["docker", "run", "-i", "--rm", "-e", "WORDS_KEY", "acme/words"]
    assert server.tags == ["language", "words"]
    assert server.tools.get().input_schema["properties"]["word"] == {"type": "string", "description": "What."}


def test_a_remote_of_docker_says_which_header_it_wants(catalogue: ToyCatalogue) -> None:
    read(catalogue, "docker")
    server = Server.objects.get(name="remote")
    assert (server.transport, server.url, server.auth_type) == ("sse", "https://r.example/sse", "bearer")
    assert server.env_schema[0]["value"] == "Bearer {REMOTE_KEY}"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (image(image="--privileged"), "impossible name"),
        ({"remote": {"url": "file:///etc/passwd"}}, "impossible address"),
        ("words", "not an object"),
    ],
)
def test_a_bad_entry_of_docker_is_rejected(entry: Any, reason: str, catalogue: ToyCatalogue) -> None:
    catalogue.images["bad"] = entry
    outcome = read(catalogue, "docker")
    assert (outcome.counts.created, len(outcome.rejected)) == (2, 1)
    assert reason in outcome.rejected[0]["reason"]


@pytest.mark.parametrize("body", ["registry: " + "[" * 100 + "]" * 100, "a: &a [1]\nregistry: *a", "registry: 3", "{"])
def test_a_hostile_or_foreign_yaml_is_refused(
    body: str, catalogue: ToyCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyCatalogue, "answer", lambda self, path, query: body.encode())
    assert "docker.yaml" in read(catalogue, "docker").error


def test_tools_without_arguments_stay_without_a_schema() -> None:
    record = read_image("words", image(tools=[{"name": "find"}]), "docker")
    assert isinstance(record, CatalogueRecord)
    assert record.tools[0].input_schema == {}


def test_a_record_keeps_what_its_catalogue_said(catalogue: ToyCatalogue) -> None:
    read(catalogue, "smithery")
    row = SourceRecord.objects.get(external_id="zoo")
    assert row.data["description"] == "Words of all kinds." and "useCount" not in row.data
    assert row.identity == ["url:run.example/zoo/mcp"]
