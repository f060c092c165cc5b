"""One server from several catalogues: which records belong together, who is believed, what moves when servers merge."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from registry.identity import keys_of, package_key, repository_key, url_key
from registry.importers.base import CatalogueRecord, RejectedRecord
from registry.importers.shapes import read_record
from registry.models import Connection, HealthCheck, Server, SourceRecord, Tool
from registry.precedence import MAPPED
from registry.services.listing import store_records
from registry.services.merging import NotMergeable, merge_servers
from registry.slugs import free_slugs

REPOSITORY = "https://github.com/acme/words"
URL = "https://words.example/mcp"


def record(source: str, external_id: str, **more: Any) -> CatalogueRecord:
    package = more.pop("package", None)
    told = {"source": source, "external_id": external_id, "name": f"{source}/{external_id}", **more}
    if package:
        told["package"] = dict(zip(("registry", "name"), package.split(":"), strict=True))
    read = read_record(told)
    assert isinstance(read, CatalogueRecord), read
    return read


def store(*records: CatalogueRecord | RejectedRecord) -> None:
    store_records(records=[one for one in records if isinstance(one, CatalogueRecord)])


def families() -> set[frozenset[tuple[str, str]]]:
    """The records of each server."""
    rows = SourceRecord.objects.values_list("server_id", "source", "external_id")
    servers: dict[Any, set[tuple[str, str]]] = {}
    for server, source, external_id in rows:
        servers.setdefault(server, set()).add((source, external_id))
    return {frozenset(members) for members in servers.values()}


# Keys


@pytest.mark.parametrize(
    "url", ["http://Words.example:80/mcp/", "https://words.example/mcp?api_key=secret", "https://words.example/mcp#top"]
)
def test_an_address_is_the_same_however_it_is_written(url: str) -> None:
    assert url_key(url) == url_key(URL) == "url:words.example/mcp"


@pytest.mark.parametrize(
    "url", ["https://{tenant}.example/mcp", "http://localhost:3000/mcp", "http://10.0.0.1/mcp", "http://[bad", ""]
)
def test_an_address_that_is_another_machine_for_everybody_is_no_key(url: str) -> None:
    assert url_key(url) == ""


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (package_key("pypi", "Acme_Words"), package_key("pypi", "acme-words")),
        (package_key("oci", "docker.io/acme/words:1.2"), package_key("docker", "acme/words@sha256:ab")),
        (package_key("oci", "ghcr.io:443/acme/words"), "pkg:oci:ghcr.io:443/acme/words"),
        (repository_key("git@github.com:Acme/words.git"), repository_key(REPOSITORY)),
        (repository_key(f"{REPOSITORY}/tree/main/src/a"), repository_key(REPOSITORY, "./src/a/")),
    ],
)
def test_packages_and_repositories_are_compared_as_their_hosts_do(left: str, right: str) -> None:
    assert left == right != ""


@pytest.mark.parametrize("address", ["https://acme.example/words", "https://github.com/acme", "words", "https://[x"])
def test_what_is_no_repository_is_no_key(address: str) -> None:
    assert repository_key(address) == ""


def test_a_bridge_to_any_server_is_no_key() -> None:
    assert keys_of(packages=[("npm", "mcp-remote"), ("npm", ""), ("rpm", "words")]) == ()


# Linking


@pytest.mark.django_db
@pytest.mark.parametrize(
    "shared",
    [{"remote_url": URL}, {"package": "npm:@acme/words"}, {"repository": REPOSITORY}],
    ids=["address", "package", "repository"],
)
def test_records_that_share_a_key_are_one_server(shared: dict[str, Any]) -> None:
    store(record("official", "a", **shared), record("zoo", "z"))
    store(record("docker", "b", **shared))
    assert families() == {frozenset({("official", "a"), ("docker", "b")}), frozenset({("zoo", "z")})}
    assert Server.objects.count() == 2


@pytest.mark.django_db
def test_folders_of_a_repository_are_different_servers() -> None:
    one, two = f"{REPOSITORY}/tree/main/one", f"{REPOSITORY}/tree/main/two"
    store(record("a", "1", repository=one), record("b", "1", repository=two), record("b", "2", repository=one))
    assert frozenset({("a", "1"), ("b", "2")}) in families() and len(families()) == 2


@pytest.mark.django_db
def test_a_repository_that_a_catalogue_lists_twice_tells_nothing() -> None:
    store(record("a", "1", repository=REPOSITORY), record("b", "1", repository=REPOSITORY))
    assert len(families()) == 1
    store(record("b", "2", repository=REPOSITORY))
    assert len(families()) == Server.objects.count() == 3


@pytest.mark.django_db
def test_a_repository_of_two_packages_tells_nothing() -> None:
    store(record("a", "1", repository=REPOSITORY, package="npm:one"))
    store(record("b", "1", repository=REPOSITORY, package="npm:two"))
    assert len(families()) == 2


@pytest.mark.django_db
def test_a_fact_that_comes_later_makes_two_servers_one_and_its_end_two() -> None:
    store(record("a", "1", remote_url=URL), record("b", "1", package="npm:words"))
    store(record("c", "1", remote_url=URL, package="npm:words"))
    kept = Server.objects.get()
    assert len(kept.former_slugs) == 1
    store(record("c", "1", remote_url=URL))
    assert families() == {frozenset({("a", "1"), ("c", "1")}), frozenset({("b", "1")})}


def some_records() -> list[CatalogueRecord]:
    """Records of four catalogues that share keys in every way, some of which tell nothing."""
    dice = random.Random(7)
    sources, found = ["official", "docker", "smithery", "zoo"], []
    for number in range(60):
        told: dict[str, Any] = {"description": f"About {number}.", "tags": [f"t{number % 3}"]}
        if dice.random() < 0.5:
            told["remote_url"] = f"https://r{dice.randrange(20)}.example/mcp"
        if dice.random() < 0.5:
            told["package"] = f"npm:p{dice.randrange(15)}"
        if dice.random() < 0.7:
            told["repository"] = f"https://github.com/acme/r{dice.randrange(12)}"
        if dice.random() < 0.3:
            told["tools"] = [{"name": f"tool{number}"}]
        found.append(record(dice.choice(sources), str(number), **told))
    return found


def everything() -> list[tuple[Any, ...]]:
    """All that is known of all servers, without the names that are given once and kept."""
    columns = [name for name in MAPPED if name != "tags"]
    rows = Server.objects.values_list(*columns, "tags", "field_sources", "source", "external_id", "pk")
    tools: dict[Any, list[str]] = {}
    for server, name in Tool.objects.order_by("name").values_list("server_id", "name"):
        tools.setdefault(server, []).append(name)
    return sorted(((*row[:-1], tools.get(row[-1], [])) for row in rows), key=repr)


@pytest.mark.django_db
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_order_and_any_batches_give_the_same_servers(seed: int) -> None:
    records = some_records()
    store(*records)
    expected, together = everything(), families()
    assert 10 < len(together) < 60
    Server.objects.all().delete()
    random.Random(seed).shuffle(records)
    for start in range(0, len(records), 7):
        store(*records[start : start + 7])
    assert (everything(), families()) == (expected, together)
    assert Server.objects.count() == len(together)


@pytest.mark.django_db
def test_importing_all_of_it_again_changes_no_row() -> None:
    store(*some_records())
    before = list(Server.objects.order_by("pk").values()), list(Tool.objects.order_by("pk").values())
    changes = store_records(records=some_records())
    assert (changes.unchanged, changes.created, changes.updated) == (60, [], [])
    assert before == (list(Server.objects.order_by("pk").values()), list(Tool.objects.order_by("pk").values()))


# Who is believed


@pytest.mark.django_db
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_each_field_comes_from_the_best_catalogue_that_has_it(order: Sequence[int]) -> None:
    records = [
        record("official", "a", remote_url=URL, title="Official", description="Cut…", tags=["one"]),
        record("docker", "b", remote_url=URL, title="Docker", description="Whole.", license="MIT", tags=["two"]),
        record("zoo", "c", remote_url=URL, homepage="https://zoo.example/", license="GPL"),
    ]
    for number in order:
        store(records[number])
    server = Server.objects.get()
    assert (server.title, server.description, server.license) == ("Official", "Whole.", "MIT")
    assert (server.homepage, server.tags, server.source) == ("https://zoo.example/", ["one", "two"], "official")
    told = {name: server.field_sources[name] for name in ("title", "description", "homepage", "tags")}
    assert told == {"title": "official", "description": "docker", "homepage": "zoo", "tags": "official, docker"}


@pytest.mark.django_db
def test_an_address_is_taken_whole_from_one_catalogue() -> None:
    store(record("docker", "a", package="npm:words", env=[{"name": "WORDS_KEY"}]))
    store(record("official", "b", package="npm:words", remote_url=URL))
    server = Server.objects.get()
    assert (server.url, server.command, server.env_schema) == (URL, "", [])


@pytest.mark.django_db
def test_what_a_curator_decided_no_import_takes_back(root: Client) -> None:
    store(record("official", "a", description="Theirs."))
    server = Server.objects.get()
    form = root.get(f"/admin/registry/server/{server.pk}/change/").context["adminform"].form
    told = {name: form[name].value() for name in form.fields}
    told = {name: ",".join(value) if isinstance(value, list) else value or "" for name, value in told.items()}
    assert root.post(f"/admin/registry/server/{server.pk}/change/", {**told, "description": "Ours."}).status_code == 302
    store(record("official", "a", description="Theirs again.", title="New"))
    server.refresh_from_db()
    assert (server.description, server.title, server.field_sources["description"]) == ("Ours.", "New", "curator")


@pytest.mark.django_db
def test_what_somebody_added_is_never_touched(alice: User) -> None:
    own = Server.objects.create(slug="own", name="Own", owner=alice, url=URL, transport="sse", repository=REPOSITORY)
    store(record("official", "a", remote_url=URL, repository=REPOSITORY))
    assert Server.objects.count() == 2
    before = own.updated_at
    own.refresh_from_db()
    assert (own.name, own.transport, own.updated_at, own.visibility) == ("Own", "sse", before, "private")


# Tools


TOOL = {"name": "find", "description": "Finds.", "inputSchema": {"type": "object"}}


@pytest.mark.django_db
def test_tools_are_those_of_the_best_catalogue_that_lists_any() -> None:
    store(record("zoo", "a", remote_url=URL, tools=[TOOL, {"name": "old"}]))
    kept = Tool.objects.get(name="find").pk
    store(record("docker", "b", remote_url=URL, tools=[TOOL]), record("official", "c", remote_url=URL))
    assert list(Tool.objects.values_list("pk", "name")) == [(kept, "find")]
    assert Server.objects.get().tool_count == 1
    store(record("docker", "b", remote_url=URL, status="deleted"))
    assert {*Tool.objects.values_list("name", flat=True)} == {"find", "old"}


@pytest.mark.django_db
def test_a_tool_that_is_described_anew_keeps_its_row_and_loses_its_vector() -> None:
    store(record("zoo", "a", tools=[TOOL]))
    Tool.objects.update(embedding=[0.1] * 384)
    before = Tool.objects.get()
    store(record("zoo", "a", tools=[{**TOOL, "description": "Finds more."}]))
    tool = Tool.objects.defer(None).get()
    assert (tool.pk, tool.embedding, tool.description) == (before.pk, None, "Finds more.")
    assert tool.schema_hash != before.schema_hash


# Merging


def introspected(server: Server) -> None:
    Server.objects.filter(pk=server.pk).update(tools_synced_at=timezone.now(), tool_count=1, health="ok")


@pytest.mark.django_db
def test_a_merge_keeps_the_older_server_and_moves_what_hangs_on_the_other(alice: User, bob: User) -> None:
    store(record("a", "1", remote_url=URL))
    store(record("b", "1", package="npm:words", remote_url="https://words.example/v2"))
    older, newer = Server.objects.order_by("created_at")
    Server.objects.filter(pk=newer.pk).update(url=URL)
    Connection.objects.create(user=alice, server=older, tools=["find"], all_tools=False)
    for user in (alice, bob):
        Connection.objects.create(user=user, server=newer)
    HealthCheck.objects.create(server=newer, health="ok")
    introspected(newer)
    tool = Tool.objects.create(server=newer, name="live", schema_hash="x", content_hash="x")
    kept = merge_servers(servers=[newer, older])
    assert kept.pk == older.pk and Server.objects.get().former_slugs == [newer.slug]
    assert {(row.user, row.all_tools) for row in Connection.objects.filter(server=kept)} == {
        (alice, False),
        (bob, True),
    }
    assert [HealthCheck.objects.get().server_id, *Tool.objects.values_list("pk", flat=True)] == [kept.pk, tool.pk]
    assert Server.objects.named(newer.slug).get() == kept


@pytest.mark.django_db
def test_credentials_do_not_follow_a_server_to_another_address(alice: User) -> None:
    store(record("zoo", "1", remote_url=URL, repository=REPOSITORY))
    Connection.objects.create(user=alice, server=Server.objects.get())
    introspected(Server.objects.get())
    store(record("official", "1", remote_url="https://evil.example/mcp", repository=REPOSITORY))
    server = Server.objects.get()
    assert (server.url, server.health, server.tools_synced_at) == ("https://evil.example/mcp", "untested", None)
    assert not Connection.objects.exists()


@pytest.mark.django_db
def test_a_new_version_of_a_package_keeps_what_was_authorised(alice: User) -> None:
    store(record("zoo", "1", package="npm:@acme/words", version="1"))
    Connection.objects.create(user=alice, server=Server.objects.get())
    package = {"registry": "npm", "name": "@acme/words", "version": "2.0.0"}
    store(read_record({"source": "zoo", "external_id": "1", "name": "words", "package": package}))
    assert Server.objects.get().args == ["-y", "@acme/words@2.0.0"]
    assert Connection.objects.count() == 1


@pytest.mark.django_db
def test_what_was_merged_by_hand_stays_one(root: Client) -> None:
    store(record("a", "1"), record("b", "1"))
    ids = [str(pk) for pk in Server.objects.values_list("pk", flat=True)]
    answer = root.post("/admin/registry/server/", {"action": "merge", "_selected_action": ids}, follow=True)
    assert "They are one server now" in answer.content.decode()
    store(record("a", "1", title="New"), record("b", "1", title="New, too"))
    assert Server.objects.get().title == "New"
    assert "Merged" in LogEntry.objects.get().change_message


@pytest.mark.django_db
def test_what_somebody_added_is_not_merged(alice: User) -> None:
    store(record("a", "1"))
    own = Server.objects.create(slug="own", name="Own", owner=alice, url=URL, transport="sse")
    with pytest.raises(NotMergeable):
        merge_servers(servers=list(Server.objects.all()))
    with pytest.raises(NotMergeable):
        merge_servers(servers=[own])
    assert Server.objects.count() == 2


@pytest.mark.django_db
def test_linking_costs_the_same_queries_for_one_and_for_many(django_assert_max_num_queries: Any) -> None:
    store(*(record("a", str(n), remote_url=f"https://r{n}.example/mcp", tools=[TOOL]) for n in range(40)))
    store(*(record("b", str(n), package=f"npm:p{n}", tools=[TOOL]) for n in range(40)))
    bridges = [record("c", str(n), package=f"npm:p{n}", remote_url=f"https://r{n}.example/mcp") for n in range(40)]
    with django_assert_max_num_queries(60) as few:
        store(bridges[0])
    with django_assert_max_num_queries(len(few)):
        store(*bridges[1:])
    assert Server.objects.count() == 40


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.django_db
def test_a_name_that_a_merged_server_had_is_not_given_to_another() -> None:
    store(record("a", "1", remote_url=URL), record("b", "1", package="npm:words"))
    store(record("c", "1", remote_url=URL, package="npm:words"))
    (former,) = Server.objects.get().former_slugs
    assert former not in free_slugs([(former, "other")])
