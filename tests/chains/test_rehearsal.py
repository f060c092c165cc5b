"""A worker rehearses a step before it forks: nothing of it stays."""

import json
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from chains import journal, leases
from chains.models import Run, RunEvent, ToolRun
from chains.rehearsal import rehearse
from chains.services import start_run
from registry.models import Server
from tests.chains.conftest import plan, statuses, step, until
from tests.nursery import real_worker

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

    monkeypatch.setattr(leases, "claim", refused)
    rehearse()
    assert "connection refused" in caplog.text
    assert Run.objects.count() == 0


def test_a_job_has_nothing_left_to_import_or_to_build(alice: User, text: Server, tmp_path: Path) -> None:
    learnt = tmp_path / "learnt"
    with real_worker("tests.chains.learning.LearningWorker", told={"LEARNT": str(learnt)}):
        run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
        until(lambda: learnt.exists() and learnt.read_text().endswith("\n"))
    assert statuses(run) == {"s1": "succeeded"}
    assert [json.loads(line) for line in learnt.read_text().splitlines()] == [[]]
