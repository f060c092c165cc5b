"""A write that may have happened: the run waits, and a person says how it goes on."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from chains.models import Run, ToolRun
from chains.services import start_run
from registry.models import Server
from tests.chains.conftest import plan, statuses, step
from tests.conftest import WorkerByHand
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(alice: User, text: Server, files: Server, worker: WorkerByHand) -> Run:
    """Its driver died during the write; another has found that out."""
    writes = step("w", "files.write_file", path="a", content="b")
    then = step("u", "text.upper", text={"$ref": "w#/text"})
    run = start_run(user=alice, plan=plan(writes, then))
    run.tool_runs.filter(step="w").update(status=ToolRun.Status.RUNNING)
    worker.run("runs")
    assert statuses(run) == {"w": "unknown", "u": "pending"}
    return run


def resolve(api: APIClient, run: Run, **body: Any) -> Any:
    return api.post(f"/chain/runs/{run.pk}/resolve", {"step": "w", **body}, format="json")


def writes(toy_files: Toy) -> list[str]:
    log = toy_files.root / ".writes"
    return log.read_text().split() if log.exists() else []


def test_the_run_pauses_and_asks_why(run: Run, toy_files: Toy) -> None:
    asked = run.events.get(type="APPROVAL_REQUIRED").data
    assert (asked["step"], asked["reason"], asked["arguments"]) == ("w", "unknown", {"path": "a", "content": "b"})
    assert run.status == Run.Status.AWAITING_APPROVAL
    assert writes(toy_files) == []


def test_repeat_calls_again_once(api: APIClient, run: Run, toy_files: Toy, worker: WorkerByHand) -> None:
    assert resolve(api, run, action="repeat").status_code == 200
    worker.run("runs")
    assert statuses(run) == {"w": "succeeded", "u": "succeeded"}
    assert (run.status, writes(toy_files)) == (Run.Status.SUCCEEDED, ["a"])


def test_skip_goes_on_with_the_given_result(api: APIClient, run: Run, toy_files: Toy, worker: WorkerByHand) -> None:
    assert resolve(api, run, action="skip", result="it was there").status_code == 200
    worker.run("runs")
    assert run.current_steps()[1].result["text"] == "IT WAS THERE"
    assert writes(toy_files) == []


def test_stop_ends_the_run(api: APIClient, run: Run, toy_files: Toy, worker: WorkerByHand) -> None:
    assert resolve(api, run, action="stop").json()["status"] == "cancelled"
    worker.run("runs")
    assert statuses(run) == {"w": "unknown", "u": "cancelled"}
    assert writes(toy_files) == []


def test_what_is_not_asked_is_not_answered(api: APIClient, bob_api: APIClient, run: Run) -> None:
    assert resolve(api, run, step="u", action="repeat").status_code == 409
    assert resolve(api, run, action="forget").status_code == 400
    assert resolve(api, run, action="skip", result="x" * 17_000).status_code == 400
    assert resolve(bob_api, run, action="stop").status_code == 404
    assert resolve(api, run, action="repeat").status_code == 200
    assert resolve(api, run, action="repeat").status_code == 409


def test_the_page_asks_and_hears_the_answer(web: Client, run: Run, worker: WorkerByHand) -> None:
    page = web.get(f"/runs/{run.pk}").content.decode()
    for words in ("It happened, go on", "It did not, call again", "Stop the run"):
        assert words in page
    answered = web.post(f"/runs/{run.pk}/resolve", {"step": "w", "action": "skip", "result": "seen"})
    assert answered.status_code == 302
    worker.run("runs")
    assert statuses(run) == {"w": "succeeded", "u": "succeeded"}
    assert "It happened, go on" not in web.get(f"/runs/{run.pk}").content.decode()
