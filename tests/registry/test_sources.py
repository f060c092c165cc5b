"""The Sources page and the schedule: who starts an import, when, and what is seen of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from registry.catalogues import read_catalogue
from registry.credentials import decrypt
from registry.importers import IMPORTERS
from registry.importers.base import ImportOptions
from registry.jobs import run_import
from registry.models import CatalogueSource, ImportRun, Server
from registry.sources import options_for, queue_due_imports, queue_import
from tests.conftest import WorkerByHand
from tests.servers.catalogue import ToyCatalogue, entry, running_catalogue


@pytest.fixture
def catalogue() -> Iterator[ToyCatalogue]:
    with running_catalogue(entry("com.acme/weather"), entry("com.acme/maps"), {"server": {}}) as running:
        yield running


@pytest.fixture
def staff_web(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def schedule(catalogue: ToyCatalogue, **more: Any) -> CatalogueSource:
    told = {"name": "official", "is_enabled": True, "every_hours": 6, "url": catalogue.url}
    return CatalogueSource.objects.create(**told | more)


def htmx(client: Client, method: str, path: str) -> str:
    response = getattr(client, method)(path, headers={"HX-Request": "true"})
    assert response.status_code == 200
    return response.content.decode()


def test_only_staff_see_the_sources(web: Client, staff_web: Client) -> None:
    for path in ("/sources", "/sources/official"):
        assert web.get(path).status_code == 403
    assert web.post("/sources/official/import").status_code == 403
    page = staff_web.get("/sources").content.decode()
    assert all(name in page for name in ("Official", "Smithery", "mcp-get", "Docker", "never read"))
    assert Client().get("/sources").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_import_now_reads_the_catalogue_and_the_page_follows_it(
    staff_web: Client, catalogue: ToyCatalogue, worker: WorkerByHand
) -> None:
    schedule(catalogue, is_enabled=False)
    waiting = htmx(staff_web, "post", "/sources/official/import")
    assert "waiting for a worker" in waiting and 'hx-trigger="load delay:1s"' in waiting
    assert "Import now" not in waiting
    worker.run("catalogue")
    done = htmx(staff_web, "get", "/sources/official")
    assert "2 created" in done and "It has no name." in done and "hx-trigger" not in done
    assert Server.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_clicks_are_one_import(staff_web: Client, catalogue: ToyCatalogue, worker: WorkerByHand) -> None:
    schedule(catalogue)
    for _ in range(2):
        staff_web.post("/sources/official/import")
    worker.run("catalogue")
    assert ImportRun.objects.count() == 1
    assert len(catalogue.requests) == 2


@pytest.mark.django_db
def test_a_running_import_shows_how_far_it_is(staff_web: Client) -> None:
    ImportRun.objects.create(source="smithery", status="running", done=150, total=600)
    page = htmx(staff_web, "get", "/sources/smithery")
    assert 'value="25"' in page and "150" in page and "of 600" in page


@pytest.mark.django_db
def test_a_failed_import_says_why_and_shows_reasons_as_text(staff_web: Client) -> None:
    rejected = [{"external_id": "<b>evil</b>", "reason": "It has no name."}]
    ImportRun.objects.create(
        source="docker", status="failed", error="It answered 500.", rejected=rejected, counts={"rejected": 1}
    )
    page = staff_web.get("/sources").content.decode()
    assert "It answered 500." in page and "&lt;b&gt;evil" in page and "<b>evil" not in page


@pytest.mark.django_db
def test_a_key_is_stored_encrypted_sent_along_and_never_shown(staff_web: Client) -> None:
    form = {"is_enabled": "on", "every_hours": "6", "url": "", "api_key": "sesame"}
    assert staff_web.post("/sources/smithery", form).status_code == 302
    source = CatalogueSource.objects.get(name="smithery")
    assert (source.is_enabled, source.every_hours) == (True, 6)
    assert b"sesame" not in bytes(source.api_key_encrypted)
    assert "sesame" not in staff_web.get("/sources").content.decode()
    assert options_for("smithery").api_key == "sesame"
    staff_web.post("/sources/smithery", {**form, "api_key": ""})
    assert options_for("smithery").api_key == "sesame"
    staff_web.post("/sources/smithery", {**form, "api_key": "", "forget_key": "on"})
    assert decrypt(CatalogueSource.objects.get(name="smithery").api_key_encrypted) == {}


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["ftp://mirror.example", "https://user:word@mirror.example", "mirror"])
def test_an_impossible_address_is_said_at_its_field(url: str, staff_web: Client) -> None:
    response = staff_web.post("/sources/official", {"every_hours": "6", "url": url})
    assert response.status_code == 400
    assert "begins with https://" in response.content.decode()
    assert not CatalogueSource.objects.exists()


@pytest.mark.django_db
def test_a_source_is_started_when_it_is_due_and_once(catalogue: ToyCatalogue) -> None:
    source = schedule(catalogue, next_at=timezone.now() - timedelta(minutes=1))
    schedule(catalogue, name="smithery", is_enabled=False)
    schedule(catalogue, name="docker", next_at=timezone.now() + timedelta(minutes=1))
    assert [queue_due_imports(), queue_due_imports()] == [1, 0]
    assert list(ImportRun.objects.values_list("source", "status")) == [("official", "queued")]
    source.refresh_from_db()
    assert source.next_at > timezone.now() + timedelta(hours=5)


@pytest.mark.django_db
def test_a_run_that_was_cut_off_is_started_again_and_a_finished_one_is_not(catalogue: ToyCatalogue) -> None:
    schedule(catalogue, is_enabled=False)
    long_ago = timezone.now() - timedelta(hours=1)
    cut = ImportRun.objects.create(source="official", status="running", progress_at=long_ago, cursor="2")
    cut.options = {"url": catalogue.url, "limit": None, "tag": "", "path": "", "updated_since": ""}
    cut.save()
    assert queue_due_imports() == 1
    run_import(cut.pk)
    assert [request.get("cursor") for request in catalogue.requests] == ["2"]
    assert (queue_due_imports(), run_import(cut.pk)["error"]) == (0, "It is done already.")


@pytest.mark.django_db
def test_after_a_complete_import_only_what_changed_is_asked_for_until_it_is_old(catalogue: ToyCatalogue) -> None:
    schedule(catalogue)
    assert options_for("official", incremental=True).updated_since == ""
    run_import(queue_import(source="official").pk)
    run = ImportRun.objects.get()
    since = options_for("official", incremental=True).updated_since
    assert since == f"{run.started_at - timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}"
    assert options_for("official").updated_since == ""
    ImportRun.objects.update(started_at=timezone.now() - timedelta(days=8))
    assert options_for("official", incremental=True).updated_since == ""


@pytest.mark.django_db
def test_an_incremental_import_removes_nothing_but_what_is_announced(catalogue: ToyCatalogue) -> None:
    options = ImportOptions(url=catalogue.url)
    read_catalogue(importer=IMPORTERS["official"], options=options)
    catalogue.entries = [entry("com.acme/maps", status="deleted")]
    since = ImportOptions(url=catalogue.url, updated_since="2026-01-01T00:00:00Z")
    assert read_catalogue(importer=IMPORTERS["official"], options=since).counts.removed == 1
    assert dict(Server.objects.values_list("slug", "status")) == {"weather": "active", "maps": "deleted"}
    assert catalogue.requests[-1]["updated_since"] == "2026-01-01T00:00:00Z"
