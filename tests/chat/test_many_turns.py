"""The worker of chats drives many turns at once, in a process of its own, and loses none."""

import signal
from contextlib import AbstractContextManager

import psutil
import pytest
from django.contrib.auth.models import User

from chains.jobs import reconcile
from chains.models import Run
from chat import services
from tests.chains.conftest import until
from tests.chains.test_recovery import age
from tests.chat.conftest import Turn
from tests.conftest import WorkerByHand
from tests.nursery import real_worker
from tests.toys import Toy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
STARTED_S = 150  # the worker has loaded what it needs, on a machine that is busy
SILENT = {"text": "never", "delay_s": 300, "match": "slowly"}
FAST = {"text": "one two three four", "chunk_delay_s": 0.05, "chunk_characters": 4, "match": "quickly"}


def turns_worker(model: Toy) -> AbstractContextManager[psutil.Process]:
    """The worker as `up` starts it, on the test's database."""
    told = {"LLM_PROVIDER": "openai", "OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": model.url}
    return real_worker("mcpregistry.workers.TurnsWorker", "chat", **told)


def asked(user: User, user_msg: str) -> Run:
    return services.send_message(user=user, user_msg=user_msg)[2]


def is_over(run: Run) -> bool:
    run.refresh_from_db()
    return run.is_finished


def test_many_turns_go_on_at_once_and_a_silent_model_holds_up_nobody(alice: User, bob: User, model: Toy) -> None:
    """Of two people: each may have ten runs that go on at once."""
    model.script([SILENT] * 10 + [FAST] * 10)
    slow, fast = [asked(alice, "slowly") for _ in range(10)], [asked(bob, "quickly") for _ in range(10)]
    with turns_worker(model):
        until(lambda: all(map(is_over, fast)), STARTED_S)
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
        until(lambda: "one" in Turn(run).told, STARTED_S)
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
