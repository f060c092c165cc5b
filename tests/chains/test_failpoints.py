"""kill -9 at every boundary of every step: what is written is never written again without a person's word."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from chains.jobs import reconcile
from chains.models import Run
from chains.services import resolve, start_run
from registry.models import Server
from tests.chains.conftest import statuses, until
from tests.chains.test_kills import five_steps, writes
from tests.chains.test_recovery import age
from tests.nursery import real_worker
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = ["a", "w", "b", "c", "d"]


@pytest.fixture
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that tells the worker where to die."""
    return tmp_path_factory.mktemp("failpoint") / "order"


@pytest.fixture
def _worker(order: Path) -> Iterator[None]:
    with real_worker("tests.chains.failpoints.FailingWorker", told={"FAILPOINT": str(order)}):
        yield


def is_free(run: Run) -> bool:
    """Its worker has noticed that the job's process is dead."""
    run.refresh_from_db()
    return run.lease_token > 0 and run.lease_expires_at is None


@pytest.mark.parametrize("place", ["begin", "begun", "answered", "ended"])
@pytest.mark.usefixtures("_worker")
def test_a_death_at_a_boundary_never_writes_twice(
    alice: User, text: Server, files: Server, toy_files: Toy, order: Path, place: str
) -> None:
    for number, fatal in enumerate(STEPS, 1):
        order.write_text(f"{place} {fatal}")
        run = start_run(user=alice, plan=five_steps())
        until(lambda: not order.exists())
        until(lambda run=run: is_free(run))  # type: ignore[misc]
        age(run)
        assert reconcile() == 1
        until(lambda run=run: run.status in ("succeeded", "awaiting_approval") or run.refresh_from_db())  # type: ignore[misc]
        asked = [step for step, status in statuses(run).items() if status == "unknown"]
        assert asked == (["w"] if fatal == "w" and place in ("begun", "answered") else [])
        assert len(writes(toy_files)) == number - (fatal == "w" and place == "begun")
        if asked:
            resolve(run=run, user=alice, step="w", action="repeat" if place == "begun" else "skip")
            until(lambda run=run: run.status == "succeeded" or run.refresh_from_db())  # type: ignore[misc]
        assert set(statuses(run).values()) == {"succeeded"}
        assert len(writes(toy_files)) == number
