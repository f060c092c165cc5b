"""A server counts under every catalogue that lists it: in the API, on the page, in the counts beside the list."""

import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from registry.filters import counts_of, filter_servers
from registry.importers.base import CatalogueRecord
from registry.models import Server, SourceRecord
from registry.services.listing import remove_records, store_records
from tests.registry.test_pages import page
from tests.registry.test_search import make_server

pytestmark = pytest.mark.django_db
URL = "https://mail.example/mcp"


def listed(source: str, name: str = "mail", url: str = URL) -> CatalogueRecord:
    address = {"transport": "streamable_http", "url": url, "command": "", "args": [], "env_schema": []}
    columns = {"name": name, "auth_type": "none", **address}
    return CatalogueRecord(source, f"{source}/{name}", {"name": name}, columns, identity=(f"url:{url}",))


@pytest.fixture(autouse=True)
def servers(db: None) -> None:
    """`mail` of three catalogues, `files` of one, and one that somebody added."""
    store_records(records=[listed("official"), listed("docker"), listed("smithery")])
    store_records(records=[listed("docker", "files", "https://files.example/mcp")])
    make_server("notes", "Added here.", source="custom", url="https://own.example", transport="sse")


def names(api: APIClient, source: str) -> set[str]:
    found = api.get("/registry", {"source": source}).data
    assert found["count"] == len(found["results"])
    return {server["name"] for server in found["results"]}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("official", {"mail"}),
        ("docker", {"mail", "files"}),
        ("smithery", {"mail"}),
        ("custom", {"notes"}),
        ("mcp-get", set()),
    ],
)
def test_the_filter_finds_a_server_under_each_of_its_catalogues(api, source: str, expected: set[str]) -> None:
    assert names(api, source) == expected
    found = api.get("/registry/search", {"q": "mail files notes", "source": source}).data["results"]
    assert {server["name"] for server in found} == expected


def test_a_catalogue_that_lists_it_no_longer_finds_it_no_longer(api: APIClient) -> None:
    remove_records(rows=list(SourceRecord.objects.filter(source="smithery")))
    assert names(api, "smithery") == set()
    assert names(api, "docker") == {"mail", "files"}


def test_counts_are_those_of_the_filter_in_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    visible = Server.objects.visible_to(AnonymousUser())
    with django_assert_num_queries(1):
        counts = counts_of("source", visible)
    filtered = {source: filter_servers(visible, {"source": source}, AnonymousUser()).count() for source in counts}
    assert counts == filtered == {"official": 1, "docker": 2, "smithery": 1, "custom": 1}


def linked(html: str) -> dict[str, str]:
    """Counts of the source facet, by the source each links to."""
    return dict(re.findall(r'source=([a-z-]+)"\s*><span>[^<]+</span><span>(\d+)</span>', html))


def test_the_page_counts_and_links_each_catalogue(web: Client) -> None:
    assert linked(page(web, "/servers")) == {"official": "1", "docker": "2", "smithery": "1", "custom": "1"}
    assert "/servers/mail" in page(web, "/servers?source=smithery")


def test_what_a_search_found_is_counted_in_the_same_way(web: Client) -> None:
    found = linked(page(web, "/servers?q=files"))
    assert found["docker"] == "1"
    assert found.keys() == {"docker"}


def test_the_filter_reads_by_indexes(db: None) -> None:
    """With sequential scans made dear, the plan shows which index can serve each part. There are enough servers and
    records, most of them taken down, and their numbers are known, for an index that finds a few to be worth more than
    reading another from end to end."""
    servers = Server.objects.bulk_create(
        Server(name="other", slug=f"other-{number}", source=f"source-{number % 20}") for number in range(1_000)
    )
    SourceRecord.objects.bulk_create(
        SourceRecord(
            server=server, source="docker", external_id=server.slug, data={},
            removed_at=timezone.now() if number % 20 else None,
        )
        for number, server in enumerate(servers)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE registries, source_records")
        cursor.execute("SET LOCAL enable_seqscan = off")
        told = Server.objects.listed_by("docker").explain()
    assert "source_record_listed" in told
    assert "server_external_id" in told
