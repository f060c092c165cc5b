"""Reading catalogues: what becomes of their records, and what happens when they fail."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.catalogues import Outcome, read_catalogue
from registry.importers import IMPORTERS, http
from registry.importers.base import CatalogueRecord, ImportOptions, RejectedRecord
from registry.importers.official import read_entry
from registry.importers.shapes import read_record
from registry.models import ImportRun, Server, Tool
from registry.services.listing import store_records
from tests.servers.catalogue import ToyCatalogue, entry, running_catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalogue() -> Iterator[ToyCatalogue]:
    with running_catalogue(entry("com.acme/weather"), entry("com.acme/maps"), entry("org.zoo/weather")) as running:
        yield running


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.001)


def read(catalogue: ToyCatalogue, **options: Any) -> Outcome:
    return read_catalogue(importer=IMPORTERS["official"], options=ImportOptions(url=catalogue.url), **options)


def read_file(path: Path, **options: Any) -> Outcome:
    return read_catalogue(importer=IMPORTERS["file"], options=ImportOptions(path=str(path)), **options)


def record_of(entry: Any) -> CatalogueRecord:
    record = read_record(entry)
    assert isinstance(record, CatalogueRecord), record
    return record


def columns(**server: Any) -> dict[str, Any]:
    record = read_entry(entry("com.acme/tool", **server), "official")
    assert isinstance(record, CatalogueRecord), record
    return dict(record.columns)


def package(kind: str, identifier: str, **more: Any) -> dict[str, Any]:
    return {"registryType": kind, "identifier": identifier, "version": "1.2.3", "transport": {"type": "stdio"}, **more}


# Reading and writing


def test_every_listed_server_becomes_a_public_server(catalogue: ToyCatalogue) -> None:
    outcome = read(catalogue)
    assert str(outcome.counts) == "created 3, updated 0, unchanged 0, removed 0, rejected 0"
    server = Server.objects.get(external_id="com.acme/maps")
    assert (server.visibility, server.owner_id, server.source) == ("public", None, "official")
    assert (server.slug, server.url) == ("maps", "https://com.acme.maps.example/mcp")
    assert ImportRun.objects.get().status == ImportRun.Status.SUCCEEDED


def test_two_servers_of_one_name_get_different_slugs(catalogue: ToyCatalogue) -> None:
    read(catalogue)
    slugs = dict(Server.objects.values_list("external_id", "slug"))
    assert slugs["com.acme/weather"] == "weather"
    assert slugs["org.zoo/weather"] == "zoo-weather"


def test_a_name_that_addresses_need_is_not_a_slug() -> None:
    with running_catalogue(entry("com.acme/search"), entry("com.acme/new")) as catalogue:
        read(catalogue)
    assert set(Server.objects.values_list("slug", flat=True)) == {"acme-search", "acme-new"}


def test_a_second_reading_touches_nothing(catalogue: ToyCatalogue) -> None:
    read(catalogue)
    before = list(Server.objects.order_by("pk").values_list("pk", "updated_at"))
    assert str(read(catalogue).counts) == "created 0, updated 0, unchanged 3, removed 0, rejected 0"
    assert list(Server.objects.order_by("pk").values_list("pk", "updated_at")) == before


def test_a_changed_record_updates_its_server_and_forgets_its_vector(catalogue: ToyCatalogue) -> None:
    read(catalogue)
    Server.objects.update(embedding=[0.1] * 384)
    catalogue.entries[1] = entry("com.acme/maps", description="Now with routes.")
    outcome = read(catalogue)
    assert (outcome.counts.updated, outcome.counts.unchanged) == (1, 2)
    changed = Server.objects.get(description="Now with routes.")
    assert changed.slug == "maps"
    assert list(Server.objects.filter(embedding=None)) == [changed]


def test_what_is_listed_no_longer_is_removed_and_comes_back(catalogue: ToyCatalogue) -> None:
    read(catalogue)
    maps = catalogue.entries.pop(1)
    assert read(catalogue).counts.removed == 1
    assert Server.objects.get(slug="maps").status == Server.Status.DELETED
    catalogue.entries.append(maps)
    assert read(catalogue).counts.updated == 1
    assert Server.objects.get(slug="maps").status == Server.Status.ACTIVE


def test_an_announced_deletion_is_honoured_once(catalogue: ToyCatalogue) -> None:
    read(catalogue)
    catalogue.entries[0] = entry("com.acme/weather", status="deleted")
    assert read(catalogue).counts.removed == 1
    assert Server.objects.get(slug="weather").status == Server.Status.DELETED
    assert read(catalogue).counts.unchanged == 3


def test_a_server_that_another_catalogue_still_lists_stays(catalogue: ToyCatalogue) -> None:
    read(catalogue)
    elsewhere = {
        "external_id": "m",
        "source": "elsewhere",
        "name": "m",
        "remote_url": "https://com.acme.maps.example/mcp",
    }
    store_records(records=[record_of(elsewhere)])
    maps = catalogue.entries.pop(1)
    read(catalogue)
    assert Server.objects.get(slug="maps").status == Server.Status.ACTIVE
    store_records(records=[record_of({**elsewhere, "status": "deleted"})])
    assert Server.objects.get(slug="maps").status == Server.Status.DELETED
    catalogue.entries.append(maps)
    read(catalogue)
    assert Server.objects.get(slug="maps").status == Server.Status.ACTIVE


def test_a_bad_record_is_rejected_with_its_reason_and_the_rest_is_read(catalogue: ToyCatalogue) -> None:
    catalogue.entries[1:1] = [
        entry("com.acme/evil", remotes=[], packages=[package("npm", "--eval=1")]),
        {"server": {"description": "nameless"}},
        "not an object",
        entry("com.acme/nowhere", remotes=[{"type": "sse", "url": "ftp://files.example"}]),
    ]
    outcome = read(catalogue)
    assert (outcome.counts.created, outcome.counts.rejected) == (3, 4)
    reasons = {one["external_id"]: one["reason"] for one in ImportRun.objects.get().rejected}
    assert "impossible name" in reasons["com.acme/evil"]
    assert "impossible address" in reasons["com.acme/nowhere"]
    assert reasons["(no name)"] == "It has no name."


def test_text_that_the_database_cannot_store_is_cleaned() -> None:
    with running_catalogue(entry("com.acme/odd", description="nul \x00 and half \ud800 a pair")) as catalogue:
        assert read(catalogue).counts.created == 1
    assert Server.objects.get().description == "nul  and half  a pair"


def test_a_record_the_database_refuses_does_not_take_its_batch_along(
    catalogue: ToyCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.importers.official.fields.required_text", lambda record, name, limit: record[name])
    catalogue.entries.append(entry("com.acme/" + "x" * 600))
    outcome = read(catalogue)
    assert (outcome.counts.created, outcome.counts.rejected) == (3, 1)
    assert "The database refused it" in outcome.rejected[0]["reason"]


def test_a_dry_run_counts_and_stores_nothing(catalogue: ToyCatalogue) -> None:
    assert read(catalogue, dry_run=True).counts.created == 3
    assert not Server.objects.exists()
    assert not ImportRun.objects.exists()


def test_a_limited_reading_removes_nothing(catalogue: ToyCatalogue) -> None:
    read(catalogue)
    counts = read(catalogue, limit=1).counts
    assert (counts.unchanged, counts.removed) == (1, 0)


def test_a_tag_marks_what_is_new_and_what_was_there(catalogue: ToyCatalogue) -> None:
    read(catalogue, limit=1)
    read(catalogue, tag="starred")
    read(catalogue, tag="starred")
    assert list(Server.objects.values_list("tags", flat=True)) == [["starred"]] * 3


def test_a_batch_costs_the_same_queries_whatever_its_size(django_assert_max_num_queries: Any) -> None:
    with running_catalogue(*(entry(f"com.acme/s{n}") for n in range(150)), page_size=100) as catalogue:
        with django_assert_max_num_queries(20):
            read(catalogue)
        with django_assert_max_num_queries(13):
            assert read(catalogue).counts.unchanged == 150


# A catalogue that fails


def test_limits_errors_and_cut_bodies_are_tried_again(catalogue: ToyCatalogue) -> None:
    catalogue.faults = [429, 500, "cut", None, 503, "cut"]
    assert read(catalogue).counts.created == 3
    assert len(catalogue.requests) == 7


def test_a_catalogue_that_stays_broken_keeps_what_was_read_and_says_why(catalogue: ToyCatalogue) -> None:
    catalogue.faults = [None, *[500] * http.ATTEMPTS]
    outcome = read(catalogue)
    assert outcome.counts.created == 2
    assert "it answered 500" in outcome.error
    run = ImportRun.objects.get()
    assert (run.status, run.error) == (ImportRun.Status.FAILED, outcome.error)
    assert read(catalogue).counts.created == 1


def test_a_failed_reading_removes_nothing(catalogue: ToyCatalogue) -> None:
    read(catalogue)
    catalogue.entries.pop(0)
    catalogue.faults = [None, *[500] * http.ATTEMPTS]
    catalogue.page_size = 1
    assert read(catalogue).counts.removed == 0
    assert not Server.objects.filter(status=Server.Status.DELETED).exists()


def test_a_repeated_cursor_ends_the_reading(catalogue: ToyCatalogue) -> None:
    catalogue.page_size, catalogue.repeats_cursor = 1, True
    read(catalogue)
    assert len(catalogue.requests) < 6


def test_an_address_that_is_no_registry_is_named(catalogue: ToyCatalogue) -> None:
    catalogue.url += "/elsewhere"
    assert "404" in read(catalogue).error


# What an official record becomes


def test_a_remote_comes_before_a_package_and_http_before_sse() -> None:
    remotes = [
        {"type": "sse", "url": "https://a.example/sse"},
        {"type": "streamable-http", "url": "https://a.example/mcp"},
    ]
    found = columns(remotes=remotes, packages=[package("npm", "@acme/tool")])
    assert (found["transport"], found["url"], found["command"]) == ("streamable_http", "https://a.example/mcp", "")


@pytest.mark.parametrize(
    ("kind", "identifier", "expected"),
    [
        ("npm", "@acme/tool", ["npx", "-y", "@acme/tool@1.2.3"]),
        ("pypi", "acme-tool", ["uvx", "acme-tool==1.2.3"]),
        ("oci", "ghcr.io/acme/tool", ["docker", "run", "-i", "--rm", "-e", "ACME_KEY", "ghcr.io/acme/tool:1.2.3"]),
        ("oci", "ghcr.io/acme/tool:9", ["docker", "run", "-i", "--rm", "-e", "ACME_KEY", "ghcr.io/acme/tool:9"]),
        ("nuget", "Acme.Tool", ["dnx", "Acme.Tool@1.2.3", "--yes", "--"]),
    ],
)
def test_a_package_becomes_the_command_that_starts_it(kind: str, identifier: str, expected: list[str]) -> None:
    variable = {"name": "ACME_KEY", "isSecret": True, "isRequired": True, "description": "Your key"}
    found = columns(remotes=[], packages=[package(kind, identifier, environmentVariables=[variable])])
    assert [found["command"], *found["args"]] == expected
    assert (found["transport"], found["auth_type"]) == ("stdio", "api_key")
    assert found["env_schema"][0] == {
        "name": "ACME_KEY", "description": "Your key", "required": True, "secret": True, "in": "env",
    }  # fmt: skip


def test_arguments_of_a_package_take_their_defaults() -> None:
    arguments = [
        {"type": "positional", "value": "serve"},
        {"type": "named", "name": "--root", "value": "{folder}", "variables": {"folder": {"default": "/data"}}},
        {"type": "named", "name": "--optional", "description": "Left out."},
        {"type": "positional", "valueHint": "token", "isRequired": True},
    ]
    found = columns(remotes=[], packages=[package("pypi", "acme-tool", packageArguments=arguments)])
    assert found["args"] == ["acme-tool==1.2.3", "serve", "--root", "/data", "{token}"]


@pytest.mark.parametrize(
    ("header", "auth_type"),
    [
        ({"name": "Authorization", "isSecret": True, "value": "Bearer {token}"}, "bearer"),
        ({"name": "Authorization", "value": "Basic {login}"}, "basic"),
        ({"name": "X-API-Key"}, "api_key"),
        ({"name": "X-Region", "isSecret": False}, "none"),
    ],
)
def test_secret_headers_tell_how_a_server_is_signed_in_to(header: dict[str, Any], auth_type: str) -> None:
    remote = {"type": "streamable-http", "url": "https://a.example/mcp", "headers": [header]}
    assert columns(remotes=[remote])["auth_type"] == auth_type


def test_a_package_nobody_can_start_is_listed_without_an_address() -> None:
    found = columns(remotes=[], packages=[package("mcpb", "https://a.example/tool.mcpb")])
    assert (found["transport"], found["url"], found["command"]) == ("", "", "")


def test_addresses_that_are_not_of_the_web_are_dropped() -> None:
    found = columns(
        websiteUrl="javascript:alert(1)", icons=[{"src": "data:image/png;base64,AA"}], repository={"url": "x"}
    )
    assert (found["homepage"], found["icon_url"], found["repository"]) == ("", "", "")


def test_a_deeply_nested_record_is_rejected() -> None:
    deep: Any = "end"
    for _ in range(200):
        deep = [deep]
    rejected = read_entry(entry("com.acme/deep", _meta=deep), "official")
    assert isinstance(rejected, RejectedRecord)
    assert "nested deeper" in rejected.reason


# Files

FLAT: dict[str, Any] = {
    "source": "elsewhere",
    "external_id": "acme-clock",
    "name": "acme-clock",
    "title": "Clock",
    "description": "Tells time.",
    "tags": ["Time", "time"],
    "transport": "stdio",
    "package": {"registry": "pypi", "name": "acme-clock", "version": None},
    "env": [{"name": "CLOCK_TOKEN", "description": None, "required": True, "secret": None}],
    "tools": [
        {
            "name": "getTime",
            "description": "The time now.",
            "inputSchema": {"properties": {"zone": {"type": "string"}}},
        },
        {"name": "getTime", "description": "A repeated name."},
    ],
}


def test_a_flat_record_brings_its_tools_ready_for_search(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    path.write_text(json.dumps([FLAT]))
    assert read_file(path).counts.created == 1
    server, tool = Server.objects.get(), Tool.objects.defer(None).get()
    assert (server.source, server.tags, server.tool_count, server.command) == ("elsewhere", ["time"], 1, "uvx")
    assert server.env_schema[0]["secret"] is True
    assert tool.search_text == "get Time\nThe time now.\nzone"


def test_tools_of_a_changed_record_are_replaced_and_equal_ones_kept(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    other = {"name": "setAlarm", "description": "Wakes you."}
    path.write_text(json.dumps({**FLAT, "tools": [FLAT["tools"][0], other]}))
    read_file(path)
    kept = Tool.objects.get(name="getTime").pk
    path.write_text(json.dumps({**FLAT, "tools": [FLAT["tools"][0], {**other, "description": "Wakes all."}]}))
    assert read_file(path).counts.updated == 1
    assert Tool.objects.get(name="getTime").pk == kept
    assert Tool.objects.get(name="setAlarm").description == "Wakes all."


def test_tools_a_probe_found_are_not_overwritten_by_a_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    path.write_text(json.dumps(FLAT))
    read_file(path)
    Server.objects.update(tools_synced_at="2026-01-01T00:00:00Z")
    Tool.objects.update(description="What the server itself says.", schema_hash="its own")
    path.write_text(json.dumps({**FLAT, "title": "Clock 2"}))
    assert read_file(path).counts.updated == 1
    assert Tool.objects.get().description == "What the server itself says."


@pytest.mark.parametrize("form", ["list", "envelope", "lines", "yaml", "gzip"])
def test_a_file_may_have_any_form(form: str, tmp_path: Path) -> None:
    records = [FLAT, entry("com.acme/maps")]
    lines = "\n".join(map(json.dumps, records)).encode()
    body = {
        "list": json.dumps(records).encode(),
        "envelope": json.dumps({"servers": records}).encode(),
        "lines": lines,
        "yaml": b"servers:\n- name: com.acme/maps\n  description: Maps.\n- external_id: clock\n  name: clock\n",
        "gzip": gzip.compress(lines),
    }[form]
    path = tmp_path / "catalogue"
    path.write_bytes(body)
    assert read_file(path).counts.created == 2


@pytest.mark.parametrize("body", [b"", b"\x1f\x8bnot gzip", b"just words", b"a: [b", b"[" * 100_000])
def test_a_file_without_records_is_an_error_not_a_crash(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "catalogue"
    path.write_bytes(body)
    outcome = read_file(path)
    assert outcome.error
    assert outcome.counts.created == 0


def test_a_broken_line_is_rejected_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.jsonl"
    path.write_text(json.dumps(FLAT) + "\n{broken\n" + json.dumps(entry("com.acme/maps")) + "\n")
    counts = read_file(path).counts
    assert (counts.created, counts.rejected) == (2, 1)
