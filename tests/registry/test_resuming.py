"""An import whose process is killed: nothing is lost, and the next one goes on where it was."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from registry.catalogues import AlreadyReading, is_being_read, read_catalogue
from registry.importers import IMPORTERS
from registry.importers.base import ImportOptions
from registry.models import ImportRun, Server
from tests.servers.catalogue import ToyCatalogue, entry, running_catalogue

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 1_500
DEADLINE_S = 60

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def catalogue() -> Iterator[ToyCatalogue]:
    with running_catalogue(*(entry(f"com.acme/s{n}") for n in range(RECORDS)), page_size=50) as running:
        running.latency_s = 0.05
        yield running


@pytest.fixture
def start(catalogue: ToyCatalogue) -> Iterator[Start]:
    """`manage.py import_catalogue` as a process of its own, over the test's database."""
    started = []

    def begin() -> "subprocess.Popen[bytes]":
        url = urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
        command = [sys.executable, "manage.py", "import_catalogue", "official", "--url", catalogue.url]
        environment = {**os.environ, "DATABASE_URL": url}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.02)


def read_on(catalogue: ToyCatalogue) -> None:
    catalogue.latency_s = 0
    catalogue.requests.clear()
    assert read_catalogue(importer=IMPORTERS["official"], options=ImportOptions(url=catalogue.url)).error == ""


def test_a_killed_import_goes_on_where_it_was(catalogue: ToyCatalogue, start: Start) -> None:
    process = start()
    wait_for(lambda: ImportRun.objects.filter(done__gte=400).exists())
    with pytest.raises(AlreadyReading):
        read_catalogue(importer=IMPORTERS["official"], options=ImportOptions(url=catalogue.url))
    process.kill()
    process.wait()
    wait_for(lambda: not is_being_read("official"))
    cut = ImportRun.objects.get()
    assert (cut.status, cut.done < RECORDS, cut.cursor != "") == ("running", True, True)
    read_on(catalogue)
    assert catalogue.requests[0]["cursor"] == cut.cursor
    run = ImportRun.objects.get()
    assert (run.status, run.counts["created"], run.cursor) == ("succeeded", RECORDS, "")
    assert Server.objects.count() == RECORDS


def test_after_a_kill_what_was_seen_before_it_is_not_taken_for_removed(catalogue: ToyCatalogue, start: Start) -> None:
    catalogue.latency_s = 0
    read_on(catalogue)
    catalogue.entries = [
        one for one in catalogue.entries if one["server"]["name"] not in ("com.acme/s0", "com.acme/s1400")
    ]
    catalogue.latency_s = 0.05
    process = start()
    wait_for(lambda: ImportRun.objects.filter(status="running", done__gte=400).exists())
    process.kill()
    process.wait()
    wait_for(lambda: not is_being_read("official"))
    read_on(catalogue)
    gone = Server.objects.filter(status="deleted").values_list("slug", flat=True)
    assert set(gone) == {"s0", "s1400"}


def test_a_resumed_import_whose_place_is_unknown_starts_over_the_next_time(catalogue: ToyCatalogue) -> None:
    options = {"url": catalogue.url + "/gone", "path": "", "updated_since": "", "tag": "", "limit": None}
    ImportRun.objects.create(source="official", status="failed", cursor="50", options=options)
    told = ImportOptions(url=catalogue.url + "/gone")
    assert "404" in read_catalogue(importer=IMPORTERS["official"], options=told).error
    assert ImportRun.objects.get().cursor == ""
