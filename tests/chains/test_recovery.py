"""A worker dies, or Redis forgets: what was acknowledged is carried out, and nothing is done twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import django_rq
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from redis import Redis
from rq.job import Job, JobStatus

from chains import dispatch, executor
from chains.jobs import reconcile
from chains.models import Run, ToolRun
from chains.services import start_run
from registry.models import Server
from tests.chains.conftest import driven, event_types, plan, statuses, step, until
from tests.conftest import WorkerByHand
from tests.nursery import real_worker
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)


def age(run: Run) -> None:
    """Time passes: the grace of a new run and the lease of a dead driver are over."""
    past = timezone.now() - timedelta(minutes=5)
    Run.objects.filter(pk=run.pk).update(created_at=past)
    Run.objects.filter(pk=run.pk).exclude(lease_expires_at=None).update(lease_expires_at=past)


def test_a_killed_workers_run_goes_on_where_it_stopped(
    alice: User, text: Server, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    steps = [
        step("write", "files.write_file", path="a", content="b"),
        step("slow", "text.slow", seconds=3) | {"needs": ["write"]},
        step("read", "files.read_file", path="a") | {"needs": ["slow"]},
    ]
    run = start_run(user=alice, plan=plan(*steps))
    with real_worker():
        until(lambda: statuses(run)["slow"] == "running")
    assert statuses(run) == {"write": "succeeded", "slow": "running", "read": "pending"}
    assert reconcile() == 0
    age(run)
    assert reconcile() == 1
    worker.run("runs")
    assert set(statuses(run).values()) == {"succeeded"}
    assert (run.status, event_types(run)[-1]) == (Run.Status.SUCCEEDED, "RUN_FINISHED")
    assert (toy_files.root / ".writes").read_text() == "a\n"
    assert list(run.events.values_list("seq", flat=True)) == list(range(1, run.last_seq + 1))


def test_a_run_whose_driver_was_killed_need_not_wait_for_its_lease(
    alice: User, text: Server, worker: WorkerByHand
) -> None:
    run = start_run(user=alice, plan=plan(step("slow", "text.slow", seconds=1)))
    with real_worker() as its_worker:
        until(lambda: statuses(run)["slow"] == "running")
        (horse,) = its_worker.children()
        horse.kill()
        until(lambda: Run.objects.filter(pk=run.pk, lease_expires_at=None, lease_token=1).exists())
    age(run)
    assert reconcile() == 1
    worker.run("runs")
    assert statuses(run) == {"slow": "succeeded"}


def test_a_job_whose_worker_was_killed_as_it_took_it_is_queued_again(
    alice: User, text: Server, worker: WorkerByHand
) -> None:
    run = start_run(user=alice, plan=plan(step("quick", "text.slow", seconds=0)))
    queue = django_rq.get_queue("runs")
    assert reconcile() == 0
    age(run)
    assert reconcile() == 0  # it waits in its queue
    queue.connection.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
    job = Job.fetch(dispatch.job_id(run), connection=queue.connection)
    assert job.get_status() == JobStatus.QUEUED
    assert reconcile() == 0  # a worker has it, and has not begun it yet
    job.enqueued_at -= dispatch.GRACE
    job.save()
    assert reconcile() == 1
    worker.run("runs")
    assert statuses(run) == {"quick": "succeeded"}


def test_a_long_run_is_handed_from_job_to_job(
    alice: User, text: Server, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "HAND_OVER_S", 0.3)
    slow = [step(f"s{n}", "text.slow", seconds=0.4) | {"needs": [f"s{n - 1}"] if n else []} for n in range(3)]
    run = start_run(user=alice, plan=plan(*slow))
    worker.run("runs")
    assert set(statuses(run).values()) == {"succeeded"}
    assert run.lease_token == 3  # a job a step
    assert event_types(run).count("STEP_STARTED") == 3


def test_a_run_that_meets_the_hard_limit_of_its_job_goes_on_in_another(
    alice: User, text: Server, files: Server, toy_files: Toy, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "hard_limit_s", lambda run: 2)
    writes = step("w", "files.write_file", path="a", content="b")
    run = start_run(user=alice, plan=plan(writes, step("slow", "text.slow", seconds=4) | {"needs": ["w"]}))
    with real_worker():
        until(lambda: statuses(run)["slow"] == "running")
        job = Job.fetch(dispatch.job_id(run).replace("-1-1", "-1-0"), connection=django_rq.get_connection("runs"))
        until(lambda: job.get_status() == JobStatus.FAILED)
    monkeypatch.undo()
    age(run)
    assert reconcile() == 1
    worker.run("runs")
    assert set(statuses(run).values()) == {"succeeded"}
    assert (toy_files.root / ".writes").read_text() == "a\n"


def test_two_reconcilers_at_once_queue_a_forgotten_run_so_that_it_is_driven_once(
    alice: User, files: Server, toy_files: Toy, worker: WorkerByHand, redis: "Redis[bytes]"
) -> None:
    run = start_run(user=alice, plan=plan(step("w", "files.write_file", path="a", content="b")))
    redis.flushdb()
    age(run)
    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(lambda _: queued_again(), range(2))) >= 1
    worker.run("runs")
    assert statuses(run) == {"w": "succeeded"}
    assert (toy_files.root / ".writes").read_text() == "a\n"


def queued_again() -> int:
    try:
        return reconcile()
    finally:
        connection.close()


def test_a_worker_killed_between_queue_and_start_loses_nothing(
    alice: User, files: Server, toy_files: Toy, worker: WorkerByHand, redis: "Redis[bytes]"
) -> None:
    """The job is off its queue and on the worker's own list, where a killed worker leaves it."""
    run = start_run(user=alice, plan=plan(step("w", "files.write_file", path="a", content="b")))
    queue = django_rq.get_queue("runs")
    assert redis.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
    redis.delete(Job.key_for(dispatch.job_id(run)))  # nor may the job itself be left
    age(run)
    assert reconcile() == 1
    worker.run("runs")
    assert (toy_files.root / ".writes").read_text() == "a\n"


def test_a_write_that_was_under_way_when_its_worker_died_is_not_repeated(
    alice: User, text: Server, worker: WorkerByHand
) -> None:
    text.tools.filter(name="slow").update(annotations={})
    run = start_run(user=alice, plan=plan(step("s1", "text.slow", seconds=30)))
    with real_worker():
        until(lambda: statuses(run)["s1"] == "running")
    age(run)
    reconcile()
    worker.run("runs")
    assert statuses(run) == {"s1": "unknown"}
    assert run.status == Run.Status.AWAITING_APPROVAL


def test_a_run_that_redis_forgot_is_queued_again_once(
    alice: User, text: Server, worker: WorkerByHand, redis: "Redis[bytes]"
) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
    redis.flushdb()
    assert reconcile() == 0
    age(run)
    assert reconcile() == 1
    assert reconcile() == 0
    worker.run("runs")
    assert statuses(run) == {"s1": "succeeded"}


def test_a_run_is_acknowledged_when_redis_is_away(
    alice: User, text: Server, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as patched:
        patched.setitem(dispatch.DISPATCH, Run.Kind.CHAIN, refuse)
        run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
    age(run)
    reconcile()
    worker.run("runs")
    assert statuses(run) == {"s1": ToolRun.Status.SUCCEEDED}


def test_a_run_survives_a_restart_of_the_database(alice: User, text: Server) -> None:
    steps = [step("s1", "text.slow", seconds=1), step("s2", "text.upper", text={"$ref": "s1#/text"})]
    run = start_run(user=alice, plan=plan(*steps))
    with driven(run):
        until(lambda: statuses(run)["s1"] == "running")
        with connection.cursor() as cursor:
            mine = "datname = current_database() AND pid <> pg_backend_pid()"
            cursor.execute(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {mine}")
            assert cursor.fetchone()[0] == 1
    assert statuses(run) == {"s1": "succeeded", "s2": "succeeded"}
    assert list(run.events.values_list("seq", flat=True)) == list(range(1, run.last_seq + 1))
