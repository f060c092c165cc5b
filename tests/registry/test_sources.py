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
from registry.importers import IMPORTERS, http
from registry.importers.base import ImportOptions
from registry.jobs import run_import
from registry.models import CatalogueSource, ImportRun, Server
from registry.sources import options_for, queue_due_imports, queue_import, schedule_by_default
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


@pytest.mark.django_db(transaction=True)
class TestByDefault:
    """What `manage.py up` does about the first catalogue."""

    def test_it_is_read_at_the_first_start_as_a_run_that_the_page_follows(
        self, staff_web: Client, catalogue: ToyCatalogue, worker: WorkerByHand, settings: Any
    ) -> None:
        settings.OFFICIAL_REGISTRY_URL = catalogue.url
        schedule_by_default(name="official")
        page = staff_web.get("/sources").content.decode()
        assert "waiting for a worker" in page and 'hx-trigger="load delay:1s"' in page
        worker.run("catalogue")
        page = staff_web.get("/sources").content.decode()
        assert "2 created" in page and "hx-trigger" not in page
        assert CatalogueSource.objects.get().next_at > timezone.now() + timedelta(hours=23)

    def test_another_start_reads_nothing_again(self, catalogue: ToyCatalogue, worker: WorkerByHand, settings: Any):
        settings.OFFICIAL_REGISTRY_URL = catalogue.url
        for _ in range(2):
            schedule_by_default(name="official")
            worker.run("catalogue")
        assert ImportRun.objects.count() == 1

    def test_what_staff_switched_off_stays_off(self, staff_web: Client) -> None:
        staff_web.post("/sources/official", {"every_hours": "24", "url": ""})
        schedule_by_default(name="official")
        assert not ImportRun.objects.exists()
        assert not CatalogueSource.objects.get().is_enabled

    def test_offline_it_is_tried_again_later_and_later_and_the_page_says_so(
        self, staff_web: Client, worker: WorkerByHand, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "FIRST_PAUSE_S", 0)
        settings.OFFICIAL_REGISTRY_URL = "http://127.0.0.1:9"
        pauses = []
        for _ in range(9):
            CatalogueSource.objects.update(next_at=timezone.now())
            schedule_by_default(name="official")
            worker.run("catalogue")
            pauses.append(round((CatalogueSource.objects.get().next_at - timezone.now()).total_seconds() / 60))
        assert pauses == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]
        page = staff_web.get("/sources").content.decode()
        assert "127.0.0.1:9 cannot be reached from this machine" in page
        assert "Nothing was read" in page and "tried again by itself" in page


@pytest.mark.django_db(transaction=True)
def test_import_now_goes_on_where_a_failed_one_ended(
    catalogue: ToyCatalogue, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0)
    schedule(catalogue, is_enabled=False)
    catalogue.faults = [None, *[500] * http.ATTEMPTS]
    queue_import(source="official")
    worker.run("catalogue")
    assert (ImportRun.objects.get().status, ImportRun.objects.get().done) == ("failed", 2)
    catalogue.requests.clear()
    queue_import(source="official")
    worker.run("catalogue")
    run = ImportRun.objects.get()
    assert (run.status, run.counts["created"], run.done) == ("succeeded", 2, 3)
    assert [request.get("cursor") for request in catalogue.requests] == ["2"]
