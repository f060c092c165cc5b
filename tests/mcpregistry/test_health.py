"""/healthz says what is wrong, and is not fooled by workers that died without a word."""

import subprocess
from collections.abc import Callable

import django_rq
import pytest
from django.test import Client
from rq import SimpleWorker

from mcpregistry import draining, health

QUEUES = ("runs", "probes", "chat", "catalogue")

pytestmark = pytest.mark.django_db


@pytest.fixture
def employ() -> Callable[..., SimpleWorker]:
    """A worker that is registered but never works."""

    def one(queue_name: str, pid: int | None = None) -> SimpleWorker:
        queue = django_rq.get_queue(queue_name)
        worker = SimpleWorker([queue], connection=queue.connection)
        worker.pid = pid or worker.pid
        worker.register_birth()
        return worker

    return one


def test_healthy_with_a_worker_on_every_queue(client: Client, employ: Callable[..., SimpleWorker]) -> None:
    for name in QUEUES:
        employ(name)
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"


def test_queue_without_a_worker_is_degraded(client: Client, employ: Callable[..., SimpleWorker]) -> None:
    for name in QUEUES[1:]:
        employ(name)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "degraded"
    assert answer.json()["checks"]["queues"]["runs"] == {"workers": 0, "waiting": 0}


def test_worker_that_died_without_a_word_does_not_count(client: Client, employ: Callable[..., SimpleWorker]) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    employ("runs", pid=ended.pid)
    assert client.get("/healthz").json()["checks"]["queues"]["runs"]["workers"] == 0


@pytest.mark.django_db(transaction=True)  # jobs are enqueued on commit
def test_waiting_jobs_are_counted(client: Client) -> None:
    django_rq.get_queue("runs").enqueue("chains.jobs.reconcile")
    assert client.get("/healthz").json()["checks"]["queues"]["runs"]["waiting"] == 1


def test_answer_needs_no_sign_in_and_is_not_cached(client: Client) -> None:
    answer = client.get("/healthz/")
    assert answer["Content-Type"] == "application/json"
    assert "no-store" in answer["Cache-Control"]


def test_ready_while_tables_and_database_are_there_whatever_the_workers_do(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert set(answer.json()["checks"]) == {"serving", "database", "migrations"}


def test_not_ready_while_draining_or_migrations_are_missing_but_alive(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining.state, "is_draining", True)
    assert client.get("/readyz").json()["checks"]["serving"] == {"ok": False, "error": "draining"}
    monkeypatch.undo()
    monkeypatch.setattr(health, "_migrated", False)
    monkeypatch.setattr(health, "missing_migrations", lambda: ["chains.0042_new"])
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
