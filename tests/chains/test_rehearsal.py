"""A worker rehearses a step before it forks: nothing of it stays."""

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from chains import journal
from chains.models import Run, RunEvent, ToolRun
from chains.rehearsal import rehearse

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_stays_but_what_python_has_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    begin = journal.begin
    monkeypatch.setattr(journal, "begin", lambda *given: begun.append(given[1].step) or begin(*given))  # type: ignore[func-returns-value]
    rehearse()
    assert begun == ["s1"]
    assert connection.connection is None
    assert [model.objects.count() for model in (User, Run, ToolRun, RunEvent)] == [0, 0, 0, 0]


def test_a_database_that_does_not_answer_keeps_no_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(journal, "take_up", refused)
    rehearse()
    assert "connection refused" in caplog.text
    assert Run.objects.count() == 0
