"""Patience with catalogues, reading the same again, and the command that reads them."""

import re
from collections.abc import Iterator
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from registry.importers import http
from registry.jobs import import_catalogue
from registry.models import EMBEDDING_DIMENSIONS, Server
from registry.search import indexing
from tests.registry.test_importers import read
from tests.servers.catalogue import ToyCatalogue, entry, running_catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalogue() -> Iterator[ToyCatalogue]:
    with running_catalogue(entry("com.acme/weather"), entry("com.acme/maps"), entry("org.zoo/weather")) as running:
        yield running


@pytest.mark.parametrize(
    ("retry_after", "pause_s"),
    [("7", 7), ("100000", http.MAX_PAUSE_S), ("soon", 0.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_a_catalogue_that_asks_for_patience_gets_it(
    retry_after: str, pause_s: float, catalogue: ToyCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(http, "time", SimpleNamespace(sleep=pauses.append))
    catalogue.retry_after = retry_after
    catalogue.faults = [429]
    assert read(catalogue).error == ""
    assert pauses == [pause_s]


def test_each_further_failure_is_waited_for_longer(catalogue: ToyCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(http, "time", SimpleNamespace(sleep=pauses.append))
    catalogue.retry_after = ""
    catalogue.faults = [500, "cut", 502, 503]
    assert read(catalogue).error == ""
    assert pauses == [0.5, 1, 2, 4]


def test_importing_the_same_again_embeds_nothing(catalogue: ToyCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(
        indexing, "embed", lambda batch: texts.extend(batch) or [[0.1] * EMBEDDING_DIMENSIONS for _ in batch]
    )
    for _ in range(2):
        import_catalogue("official", url=catalogue.url)
    assert len(texts) == Server.objects.count() == 3
    assert not Server.objects.filter(embedding=None).exists()


class TestCommand:
    """`manage.py import_catalogue`."""

    def said(self, *arguments: str) -> str:
        out = StringIO()
        call_command("import_catalogue", *arguments, stdout=out, stderr=StringIO())
        return out.getvalue()

    def test_ends_with_one_line_of_counts(self, catalogue: ToyCatalogue) -> None:
        lines = self.said("official", "--url", catalogue.url).splitlines()
        assert re.fullmatch(r"created 3, updated 0, unchanged 0, removed 0, rejected \d+ in \d+\.\d s", lines[-1]), (
            lines
        )

    def test_a_dry_run_shows_what_would_change_and_changes_nothing(self, catalogue: ToyCatalogue) -> None:
        self.said("official", "--url", catalogue.url)
        catalogue.entries[1] = entry("com.acme/maps", description="Now with routes.")
        shown = self.said("official", "--url", catalogue.url, "--dry-run")
        assert "updated com.acme/maps: description" in shown and "updated 1," in shown
        assert not Server.objects.filter(description__contains="routes").exists()

    def test_what_cannot_be_read_is_an_error_in_words(
        self, catalogue: ToyCatalogue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "FIRST_PAUSE_S", 0)
        with pytest.raises(CommandError, match="cannot be reached from this machine"):
            self.said("official", "--url", "http://127.0.0.1:9")
