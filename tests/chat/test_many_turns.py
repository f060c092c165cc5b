"""The worker of chats drives many turns at once, in a process of its own, and loses none."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection

from chains.jobs import reconcile
from chains.models import Run
from chat import services
from mcpregistry import processes
from tests.chains.conftest import until
from tests.chains.test_recovery import age
from tests.chat.conftest import Turn
from tests.conftest import WorkerByHand
from tests.toys import ROOT, Toy

pytestmark = pytest.mark.django_db(transaction=True)
SILENT = {"text": "never", "delay_s": 60, "match": "slowly"}
FAST = {"text": "one two three four", "chunk_delay_s": 0.05, "chunk_characters": 4, "match": "quickly"}


@contextmanager
def turns_worker(model: Toy) -> Iterator["subprocess.Popen[bytes]"]:
    """The worker as `up` starts it, on the test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    own = {"DATABASE_URL": url, "LLM_PROVIDER": "openai", "OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": model.url}
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "rqworker", "chat", "--worker-class=mcpregistry.workers.TurnsWorker"],
        cwd=ROOT,
        env=os.environ | own,
        stderr=subprocess.DEVNULL,
        preexec_fn=processes.bound_to_parent(signal.SIGKILL),
    )
    try:
        yield worker
    finally:
        processes.stop(worker, [signal.SIGTERM], 10)


def asked(user: User, user_msg: str) -> Run:
    return services.send_message(user=user, user_msg=user_msg)[2]


def is_over(run: Run) -> bool:
    run.refresh_from_db()
    return run.is_finished


def test_many_turns_go_on_at_once_and_a_silent_model_holds_up_nobody(alice: User, model: Toy) -> None:
    model.script([SILENT] * 10 + [FAST] * 10)
    slow, fast = [asked(alice, "slowly") for _ in range(10)], [asked(alice, "quickly") for _ in range(10)]
    with turns_worker(model):
        until(lambda: all(map(is_over, fast)), 60)
        assert {Turn(run).told for run in fast} == {"one two three four"}
        assert all(run.last_seq == run.events.count() for run in fast)
        until(lambda: len(model.requests()) == 20)
        assert not any(map(is_over, slow))
        services.stop(conversation=slow[0].messages.get(role="user").conversation)
        until(lambda: is_over(slow[0]), 5)
        until(lambda: model.get("/left") == 1)  # the model was really left, while it said nothing
        assert not any(map(is_over, slow[1:]))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_turn_outlives_its_worker(alice: User, model: Toy, worker: WorkerByHand, signum: signal.Signals) -> None:
    model.script([{**FAST, "chunk_delay_s": 2}, FAST])
    run = asked(alice, "quickly")
    with turns_worker(model) as process:
        until(lambda: "one" in Turn(run).told, 60)
        process.send_signal(signum)
        process.wait(10)
    run.refresh_from_db()
    if signum == signal.SIGTERM:
        assert not run.is_driven  # given back: nobody has to wait for the lease to run out
    age(run)
    reconcile()
    worker.run("chat")
    assert is_over(run)
    assert Turn(run).told == Turn(run).answer.content == "one two three four"
