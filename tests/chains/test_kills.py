"""kill -9 at every step of a chain with a write in it: the write happens once, or a person is asked."""

import signal

import pytest
from django.contrib.auth.models import User

from chains.jobs import reconcile
from chains.services import resolve, start_run
from registry.models import Server
from tests.chains.conftest import driven, plan, statuses, step, until
from tests.chains.test_recovery import age
from tests.conftest import WorkerByHand
from tests.nursery import is_gone, real_worker
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)


def five_steps() -> dict[str, object]:
    return plan(
        step("a", "text.upper", text="a"),
        step("w", "files.write_file", path="f", content={"$ref": "a#/text"}),
        step("b", "text.slow", seconds=0.5) | {"needs": ["w"]},
        step("c", "files.read_file", path="f") | {"needs": ["b"]},
        step("d", "text.upper", text={"$ref": "c#/text"}),
    )


def writes(toy_files: Toy) -> list[str]:
    log = toy_files.root / ".writes"
    return log.read_text().split() if log.exists() else []


@pytest.mark.parametrize("boundary", ["a", "w", "b", "c", "d"])
@pytest.mark.parametrize("victim", ["horse", "parent", "both"])
def test_a_kill_at_a_step_never_writes_twice(
    alice: User, text: Server, files: Server, toy_files: Toy, worker: WorkerByHand, boundary: str, victim: str
) -> None:
    run = start_run(user=alice, plan=five_steps())
    with real_worker() as parent:
        until(lambda: statuses(run)[boundary] != "pending")
        horses = parent.children()
        for each in [*([] if victim == "horse" else [parent]), *([] if victim == "parent" else horses)]:
            each.send_signal(signal.SIGKILL)
        until(lambda: all(map(is_gone, horses)))  # a horse does not outlive its worker
    age(run)
    reconcile()
    worker.run("runs")
    if statuses(run)["w"] == "unknown":
        resolve(run=run, user=alice, step="w", action="skip" if writes(toy_files) else "repeat")
        worker.run("runs")
    assert set(statuses(run).values()) == {"succeeded"}
    assert writes(toy_files) == ["f"]


def test_a_run_driven_twice_at_once_writes_once(alice: User, text: Server, files: Server, toy_files: Toy) -> None:
    run = start_run(user=alice, plan=five_steps())
    with driven(run), driven(run):
        pass
    assert set(statuses(run).values()) == {"succeeded"}
    assert writes(toy_files) == ["f"]
