"""Old runs: their events are compacted, later they are removed; what they brought stays."""

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from chains import keeping, services
from chains.events import subscribe
from chains.jobs import tidy_runs
from chains.models import Result, Run, Schedule, Template
from chains.schedules import set_schedule
from chains.services import save_template, start_run
from registry.models import Server
from tests.chains.conftest import event_types, plan, statuses, step
from tests.conftest import WorkerByHand

pytestmark = pytest.mark.django_db(transaction=True)
UPPER = plan(step("s1", "text.upper", text="a"), outputs={"said": {"$ref": "s1#/text"}})
NOW = timezone.now


def ended(alice: User, worker: WorkerByHand, *, days: int = 40, **request: Any) -> Run:
    """A run that ended so many days ago."""
    run = start_run(user=alice, **({"plan": UPPER} | request))
    worker.run("runs")
    moment = NOW() - timedelta(days=days)
    Run.objects.filter(pk=run.pk).update(created_at=moment, finished_at=moment)
    run.refresh_from_db()
    return run


def month_ago() -> Any:
    return NOW() - timedelta(days=30)


def test_old_events_are_compacted_in_batches_and_the_run_is_drawn_as_before(
    web: Client, alice: User, text: Server, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "AT_ONCE", 2)
    old = [ended(alice, worker) for _ in range(3)]
    fresh = ended(alice, worker, days=1)
    page = web.get(f"/runs/{old[0].pk}").content.decode()
    assert (keeping.compact_runs(month_ago()), keeping.compact_runs(month_ago())) == (3, 0)
    assert event_types(old[0]) == [
        "RUN_STARTED", "PLAN_READY", "STEP_STARTED", "TOOL_CALL_START", "STEP_FINISHED", "RUN_FINISHED",
    ]  # fmt: skip
    assert "TOOL_CALL_RESULT" in event_types(fresh)
    steps = [html[html.index('class="steps"') :] for html in (page, web.get(f"/runs/{old[0].pk}").content.decode())]
    assert steps[0] == steps[1]


@async_to_sync
async def seen(run: Run, after: int | None) -> list[tuple[str, int]]:
    return [(event.type, event.seq) async for event in subscribe(run.pk, after)]


def test_the_stream_of_a_compacted_run_answers_with_a_snapshot_and_its_end(
    alice: User, text: Server, worker: WorkerByHand
) -> None:
    run = ended(alice, worker)
    keeping.compact_runs(month_ago())
    whole = [("STATE_SNAPSHOT", run.last_seq - 1), ("RUN_FINISHED", run.last_seq)]
    assert seen(run, None) == whole
    assert seen(run, 2) == whole
    assert seen(run, run.last_seq) == []


def test_a_compacted_run_is_tried_again_and_its_new_events_stay(
    alice: User, text: Server, worker: WorkerByHand
) -> None:
    run = ended(alice, worker)
    Run.objects.update(status=Run.Status.FAILED)
    run.tool_runs.update(status="failed")
    keeping.compact_runs(month_ago())
    services.retry(run=run)
    worker.run("runs")
    assert statuses(run) == {"s1": "succeeded"}
    assert event_types(run).count("TOOL_CALL_RESULT") == 1
    assert keeping.compact_runs(month_ago()) == 0


def test_old_runs_are_removed_and_their_results_stay(
    api: APIClient, alice: User, text: Server, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "AT_ONCE", 1)
    old, second, fresh = ended(alice, worker), ended(alice, worker), ended(alice, worker, days=1)
    assert keeping.remove_runs(month_ago()) == 2
    assert list(Run.objects.all()) == [fresh]
    assert [api.get(f"/chain/runs/{run.pk}").status_code for run in (old, second)] == [404, 404]
    assert [each["data"] for each in api.get("/results").json()["results"]] == [{"said": "A"}] * 3
    assert Result.objects.filter(run=None).count() == 2


def test_of_a_template_and_of_a_schedule_the_last_run_stays(alice: User, text: Server, worker: WorkerByHand) -> None:
    template = save_template(user=alice, name="Shout", plan=UPPER)
    by_schedule, _, last = (ended(alice, worker, plan=None, template=template, days=days) for days in (60, 50, 40))
    set_schedule(template=template, every=1, unit="day", at=NOW().time())
    Schedule.objects.update(last_run=by_schedule)
    keeping.remove_runs(month_ago())
    assert set(Run.objects.all()) == {by_schedule, last}
    assert Template.objects.get().schedule.last_run == by_schedule


def test_a_request_with_the_key_of_a_removed_run_is_not_carried_out_again(
    api: APIClient, alice: User, bob: User, text: Server, worker: WorkerByHand
) -> None:
    ended(alice, worker, idempotency_key="once")
    keeping.remove_runs(month_ago())
    again = api.post("/chain/execute", {"plan": UPPER}, headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "run_removed")
    assert not Run.objects.exists()
    assert api.post("/chain/execute", {"plan": UPPER}, headers={"Idempotency-Key": "twice"}).status_code == 202


def test_a_run_that_waits_for_somebody_is_left_alone_however_old(
    alice: User, text: Server, worker: WorkerByHand
) -> None:
    run = start_run(user=alice, plan=UPPER, approval="ask")
    worker.run("runs")
    Run.objects.update(created_at=NOW() - timedelta(days=400))
    before = event_types(run)
    assert (keeping.compact_runs(NOW()), keeping.remove_runs(NOW())) == (0, 0)
    assert event_types(run) == before
    waiting = run.tool_runs.get()
    services.approve(run=run, user=alice, approval_hash=waiting.approval_hash, step="s1")
    worker.run("runs")
    assert statuses(run) == {"s1": "succeeded"}


@pytest.mark.parametrize(("events_days", "runs_days", "left"), [(0, 0, 8), (30, 0, 6), (0, 30, 0)])
def test_the_settings_say_what_the_job_does(
    alice: User, text: Server, worker: WorkerByHand, settings: Any, events_days: int, runs_days: int, left: int
) -> None:
    run = ended(alice, worker)
    settings.EVENTS_KEEP_DAYS, settings.RUNS_KEEP_DAYS = events_days, runs_days
    tidy_runs()
    assert len(event_types(run)) == left
