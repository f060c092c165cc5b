"""A worker does its jobs in one process, as long as that is well."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.db import connection

from mcpregistry.horses import Horse
from registry.queues import queue
from tests.chains.conftest import until
from tests.nursery import is_gone, real_worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker() -> Iterator[psutil.Process]:
    with real_worker() as started:
        yield started


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book"


def done_by(book: Path, *errands: str, meta: dict[str, int] | None = None) -> list[int]:
    """The processes that did these jobs, in their order."""
    book.write_text("")
    for errand in errands:
        queue("runs").enqueue(f"tests.mcpregistry.errands.{errand}", str(book), meta=meta)
    until(lambda: len(book.read_text().split()) == len(errands))
    return [int(pid) for pid in book.read_text().split()]


@pytest.mark.usefixtures("worker")
def test_jobs_are_done_one_after_the_other_in_the_same_process(book: Path) -> None:
    assert len(set(done_by(book, "sign", "sign", "sign"))) == 1


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("errand", ["fail", "grow", "die"])
def test_a_process_that_is_not_well_does_no_other_job(book: Path, errand: str) -> None:
    first, second, third = done_by(book, "sign", errand, "sign")
    assert first == second != third


@pytest.mark.usefixtures("worker")
def test_a_process_that_was_nice_to_others_does_no_other_job(book: Path) -> None:
    assert len(set(done_by(book, "sign", "sign", meta={"nice": 5}))) == 2


def test_the_next_job_is_done_though_the_waiting_process_was_killed(book: Path, worker: psutil.Process) -> None:
    [before] = done_by(book, "sign")
    until_idle(worker)
    os.kill(before, signal.SIGKILL)
    [after] = done_by(book, "sign")
    assert after != before


def test_a_waiting_process_that_was_killed_does_not_stay_as_a_zombie(book: Path, worker: psutil.Process) -> None:
    [pid] = done_by(book, "sign")
    until_idle(worker)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid))
    assert worker.is_running()


def test_the_signal_of_its_end_may_come_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["true"])
    horse = Horse(child.pid, *os.pipe())
    waitpid = os.waitpid

    def interrupted(pid: int, options: int) -> tuple[int, int]:
        told = waitpid(pid, options)
        horse.look()  # as the signal's handler does
        return told

    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    monkeypatch.setattr(os, "waitpid", interrupted)
    horse.look()
    assert horse.has_ended


def until_idle(worker: psutil.Process) -> None:
    until(lambda: b"idle" in (queue("runs").connection.hget(f"rq:worker:{name_of(worker)}", "state") or b""))


def name_of(worker: psutil.Process) -> str:
    [key] = [
        each
        for each in queue("runs").connection.smembers("rq:workers")
        if queue("runs").connection.hget(each, "pid") == str(worker.pid).encode()
    ]
    return key.decode().removeprefix("rq:worker:")


@pytest.mark.usefixtures("worker")
def test_a_connection_to_the_database_that_broke_meanwhile_is_opened_anew(book: Path) -> None:
    [before] = done_by(book, "count")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND state = 'idle'"
        )
    [after] = done_by(book, "count")
    assert after == before


def test_it_ends_with_its_worker(book: Path, worker: psutil.Process) -> None:
    [horse] = map(psutil.Process, done_by(book, "sign"))
    worker.kill()
    until(lambda: is_gone(horse))
