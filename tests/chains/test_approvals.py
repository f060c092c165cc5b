"""A person's word holds for one call with exactly the arguments that were approved."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from chains.jobs import drive_run
from chains.models import Run, ToolRun
from chains.services import start_run
from registry.models import Server
from tests.chains.conftest import plan, statuses, step
from tests.conftest import WorkerByHand
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)


SAID = {"type": "object", "properties": {"said": {"type": "string", "default": "first"}}}


def asking(alice: User, worker: WorkerByHand, *steps: dict[str, Any]) -> Run:
    run = start_run(user=alice, plan=plan(*steps, inputs=SAID), approval="ask")
    worker.run("runs")
    return run


def row(run: Run, name: str = "w") -> ToolRun:
    return run.tool_runs.get(step=name)


def approve(api: APIClient, run: Run, name: str = "w", **body: Any) -> Any:
    body = {"step": name, "approval_hash": row(run, name).approval_hash, **body}
    return api.post(f"/chain/runs/{run.pk}/approve", body, format="json")


WRITE = step("w", "files.write_file", path="a", content="b")


def test_other_arguments_are_approved_in_their_place(
    api: APIClient, alice: User, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, WRITE)
    shown = row(run).approval_hash
    assert approve(api, run, arguments={"path": "a", "content": "mine"}).status_code == 200
    assert row(run).approval_hash != shown
    worker.run("runs")
    assert (toy_files.root / "a").read_text() == "mine"
    assert row(run).arguments == {"path": "a", "content": "mine"}


def test_other_arguments_must_fit_the_tool(
    api: APIClient, alice: User, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, WRITE)
    refused = approve(api, run, arguments={"path": 5, "content": "mine"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_inputs")
    assert "path" in refused.json()["error"]["fields"]
    assert statuses(run) == {"w": "awaiting_approval"}


def test_an_approval_that_is_an_hour_old_asks_again(
    api: APIClient, alice: User, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, WRITE)
    approve(api, run)
    run.tool_runs.update(approved_at=timezone.now() - timedelta(minutes=61))
    worker.run("runs")
    assert statuses(run) == {"w": "awaiting_approval"}
    assert not (toy_files.root / "a").exists()
    approve(api, run)
    worker.run("runs")
    assert statuses(run) == {"w": "succeeded"}


def test_an_approval_is_used_once(api: APIClient, alice: User, text: Server, worker: WorkerByHand) -> None:
    run = asking(alice, worker, step("s", "text.upper", text="a"))
    approve(api, run, "s")
    worker.run("runs")
    assert statuses(run) == {"s": "succeeded"}
    Run.objects.filter(pk=run.pk).update(status=Run.Status.QUEUED)
    run.tool_runs.update(status=ToolRun.Status.RUNNING)  # as if its worker had died in the call, which may be repeated
    run.refresh_from_db()
    drive_run(str(run.pk))
    assert statuses(run) == {"s": "awaiting_approval"}


def test_the_whole_plan_is_approved_as_far_as_it_is_known(
    api: APIClient, alice: User, text: Server, worker: WorkerByHand
) -> None:
    first = step("w", "text.upper", text="a")
    known = step("k", "text.upper", text="b") | {"needs": ["w"]}
    bound = step("b", "text.upper", text={"$ref": "k#/text"})
    run = asking(alice, worker, first, known, bound)
    assert approve(api, run, plan=True).status_code == 200
    worker.run("runs")
    assert statuses(run) == {"w": "succeeded", "k": "succeeded", "b": "awaiting_approval"}


def test_a_hash_without_a_step_approves_only_the_call_that_was_shown(
    api: APIClient, alice: User, text: Server, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, step("a", "text.upper", text="a"), step("b", "text.upper", text="b"))
    answer = api.post(f"/chain/runs/{run.pk}/approve", {"approval_hash": row(run, "b").approval_hash})
    assert answer.status_code == 200
    worker.run("runs")
    assert statuses(run) == {"a": "awaiting_approval", "b": "succeeded"}


def test_two_steps_that_make_the_same_call_take_two_words(
    api: APIClient, alice: User, text: Server, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, step("a", "text.upper", text="same"), step("b", "text.upper", text="same"))
    word = {"approval_hash": row(run, "a").approval_hash}
    assert word["approval_hash"] == row(run, "b").approval_hash
    for expected in ({"a": "succeeded", "b": "awaiting_approval"}, {"a": "succeeded", "b": "succeeded"}):
        assert api.post(f"/chain/runs/{run.pk}/approve", word).status_code == 200
        worker.run("runs")
        assert statuses(run) == expected


def test_an_approval_sent_twice_calls_once(
    api: APIClient, alice: User, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, WRITE)
    assert [approve(api, run).status_code for _ in range(2)] == [200, 409]
    worker.run("runs")
    assert statuses(run) == {"w": "succeeded"}
    assert approve(api, run).json()["error"]["code"] == "not_waiting"
    assert run.events.filter(type="STEP_STARTED").count() == 1


def test_arguments_that_changed_after_the_hash_was_shown_are_asked_about_again(
    api: APIClient, alice: User, text: Server, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, step("w", "text.upper", text={"$input": "/said"}))
    shown = row(run).approval_hash
    Run.objects.filter(pk=run.pk).update(inputs={"said": "other"})
    assert approve(api, run).status_code == 200
    worker.run("runs")
    assert statuses(run) == {"w": "awaiting_approval"}
    assert (row(run).arguments, row(run).approval_hash != shown) == ({"text": "other"}, True)
    assert approve(api, run, approval_hash=shown).json()["error"]["code"] == "approval_changed"


def test_a_tool_that_is_defined_otherwise_since_it_was_approved_is_not_called(
    api: APIClient, alice: User, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, WRITE)
    approve(api, run)
    files.tools.filter(name="write_file").update(schema_hash="another definition")
    worker.run("runs")
    assert statuses(run)["w"] != "succeeded"
    assert not (toy_files.root / "a").exists()


def test_the_page_changes_arguments(
    web: Client, alice: User, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    run = asking(alice, worker, WRITE)
    assert "Change the arguments" in web.get(f"/runs/{run.pk}").content.decode()
    body = {"step": "w", "approval_hash": row(run).approval_hash, "arguments": '{"path": "a", "content": "mine"}'}
    web.post(f"/runs/{run.pk}/approve", body | {"arguments": "{not json"})
    assert statuses(run) == {"w": "awaiting_approval"}
    assert web.post(f"/runs/{run.pk}/approve", body).status_code == 302
    worker.run("runs")
    assert (toy_files.root / "a").read_text() == "mine"
