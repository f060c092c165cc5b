from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from chains.models import Run, Template
from registry.models import Connection, Server
from tests.chains.conftest import plan, step
from tests.conftest import WorkerByHand

pytestmark = pytest.mark.django_db(transaction=True)
UPPER = plan(step("s1", "text.upper", text="hello"))


def execute(api: APIClient, **body: Any) -> Any:
    return api.post("/chain/execute", body)


def test_executing_a_plan_answers_at_once_and_the_run_tells_the_rest(
    api: APIClient, text: Server, worker: WorkerByHand
) -> None:
    started = execute(api, plan=UPPER)
    assert started.status_code == 202
    run_id = started.json()["run_id"]
    assert started.json() == {"run_id": run_id, "status": "queued", "stream_url": f"/chat/{run_id}/stream"}
    worker.run("runs")
    run = api.get(f"/chain/runs/{run_id}").json()
    assert run["status"] == "succeeded"
    assert run["steps"][0]["id"] == "s1"
    assert run["steps"][0]["server"] == "text"
    assert run["steps"][0]["result"]["text"] == "HELLO"
    assert run["steps"][0]["duration_ms"] >= 0
    assert run["outputs"]["s1"]["text"] == "HELLO"


def test_an_invalid_plan_is_refused_with_every_problem(api: APIClient, text: Server) -> None:
    bad = plan(step("s1", "text.upper"), step("s2", "nowhere.upper", text={"$ref": "s9#/text"}))
    refused = execute(api, plan=bad)
    error = refused.json()["error"]
    assert refused.status_code == 400
    assert error["code"] == "invalid_plan"
    assert [(problem["path"], problem["code"]) for problem in error["fields"]["problems"]] == [
        ("/steps/1/arguments/text", "unknown_step"),
        ("/steps/0/arguments/text", "missing_argument"),
        ("/steps/1/server", "unknown_server"),
    ]
    assert not Run.objects.exists()


def test_validating_runs_nothing(api: APIClient, text: Server) -> None:
    assert api.post("/chain/validate", {"plan": UPPER}).json() == {"valid": True, "problems": []}
    assert api.post("/chain/validate", {"plan": {}}).json()["valid"] is False
    assert not Run.objects.exists()


@pytest.mark.parametrize("body", [{}, {"plan": UPPER, "template_id": "0" * 32}, {"plan": UPPER, "approval": "never"}])
def test_an_unclear_request_is_refused(api: APIClient, text: Server, body: dict[str, Any]) -> None:
    assert execute(api, **body).status_code == 400


def test_the_same_idempotency_key_starts_one_run(api: APIClient, text: Server) -> None:
    first, second = (api.post("/chain/execute", {"plan": UPPER}, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.json()["run_id"] == second.json()["run_id"]
    assert second.status_code == 202
    other = api.post("/chain/execute", {"plan": UPPER, "approval": "ask"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert Run.objects.count() == 1


def test_another_user_finds_nothing_of_mine(api: APIClient, bob_api: APIClient, text: Server) -> None:
    run_id = execute(api, plan=UPPER).json()["run_id"]
    template_id = api.post("/chain/templates", {"name": "Mine", "run_id": run_id}).json()["id"]
    paths = [f"/chain/runs/{run_id}", f"/chain/templates/{template_id}"]
    posts = [f"/chain/runs/{run_id}/{verb}" for verb in ("cancel", "retry", "reject")]
    assert [bob_api.get(path).status_code for path in paths] == [404, 404]
    assert [bob_api.post(path).status_code for path in posts] == [404, 404, 404]
    assert bob_api.post("/chain/execute", {"template_id": template_id}).status_code == 404
    assert bob_api.post("/chain/templates", {"name": "Theirs", "run_id": run_id}).status_code == 404
    assert bob_api.get("/chain/runs").json()["count"] == 0


def test_runs_are_listed_newest_first_and_filtered(api: APIClient, text: Server) -> None:
    runs = [execute(api, plan=UPPER).json()["run_id"] for _ in range(3)]
    api.post(f"/chain/runs/{runs[0]}/cancel")
    listed = api.get("/chain/runs", {"status": "queued", "limit": 1}).json()
    assert (listed["count"], listed["results"][0]["id"]) == (2, runs[2])
    assert "result" not in listed["results"][0]["steps"][0]
    assert api.get(listed["next"]).json()["results"][0]["id"] == runs[1]
    assert api.get("/chain/runs", {"status": "nonsense"}).status_code == 400


def test_a_list_of_runs_costs_the_same_queries_however_long(
    api: APIClient, text: Server, django_assert_max_num_queries: Any
) -> None:
    for _ in range(6):
        execute(api, plan=UPPER)
    with django_assert_max_num_queries(6):
        assert len(api.get("/chain/runs").json()["results"]) == 6


def test_a_template_is_saved_from_a_run_changed_and_run_with_inputs(
    api: APIClient, text: Server, worker: WorkerByHand
) -> None:
    inputs = {"type": "object", "properties": {"said": {"type": "string"}, "n": {"default": 2}}, "required": ["said"]}
    shout = plan(step("s1", "text.upper", text={"$format": "{input#/said} {input#/n}"}), inputs=inputs)
    run_id = execute(api, plan=shout, inputs={"said": "a"}).json()["run_id"]
    template = api.post("/chain/templates", {"name": "Shout", "run_id": run_id}).json()
    assert (template["version"], template["plan"]) == (1, shout)
    assert template["tool_hashes"] == {"text/upper": "upper as first seen"}
    named = shout | {"outputs": {"said": {"$input": "/said"}, "s1": {"$ref": "s1#"}}}
    changed = api.patch(f"/chain/templates/{template['id']}", {"name": "Shout it", "plan": named}).json()
    assert (changed["name"], changed["version"]) == ("Shout it", 2)
    refused = execute(api, template_id=template["id"], inputs={"said": 5})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_inputs")
    assert list(refused.json()["error"]["fields"]) == ["said"]
    again = execute(api, template_id=template["id"], inputs={"said": "b"}).json()["run_id"]
    worker.run("runs")
    assert api.get(f"/chain/runs/{again}").json()["outputs"]["s1"]["text"] == "B 2"
    assert api.get("/chain/runs", {"template": template["id"]}).json()["count"] == 1
    assert api.delete(f"/chain/templates/{template['id']}").status_code == 204
    assert not Template.objects.exists()


def test_a_template_does_not_run_when_its_tool_has_changed(api: APIClient, text: Server) -> None:
    template = api.post("/chain/templates", {"name": "Shout", "plan": UPPER}).json()
    text.tools.filter(name="upper").update(schema_hash="another definition")
    refused = execute(api, template_id=template["id"])
    assert [problem["code"] for problem in refused.json()["error"]["fields"]["problems"]] == ["changed_tool"]


def test_a_tool_must_be_authorised(api: APIClient, alice: User, text: Server) -> None:
    Connection.objects.filter(user=alice).update(all_tools=False, tools=["reverse"])
    problems = execute(api, plan=UPPER).json()["error"]["fields"]["problems"]
    assert [(problem["path"], problem["code"]) for problem in problems] == [("/steps/0/tool", "not_authorised")]


def test_what_is_over_cannot_be_cancelled_and_what_goes_on_not_retried(api: APIClient, text: Server) -> None:
    run_id = execute(api, plan=UPPER).json()["run_id"]
    assert api.post(f"/chain/runs/{run_id}/retry").json()["error"]["code"] == "not_finished"
    assert api.post(f"/chain/runs/{run_id}/cancel").json()["status"] == "cancelled"
    again = api.post(f"/chain/runs/{run_id}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_finished")


def test_nobody_gets_in_without_a_token(text: Server) -> None:
    paths = ["/chain/runs", "/chain/templates", "/results"]
    assert {APIClient().get(path).status_code for path in paths} == {401}


def test_an_approval_needs_the_hash_of_what_waits(api: APIClient, text: Server, worker: WorkerByHand) -> None:
    run_id = execute(api, plan=UPPER, approval="ask").json()["run_id"]
    path = f"/chain/runs/{run_id}/approve"
    assert api.post(path, {"approval_hash": "x"}).json()["error"]["code"] == "not_waiting"
    worker.run("runs")
    waiting = api.get(f"/chain/runs/{run_id}").json()
    assert (waiting["status"], waiting["steps"][0]["status"]) == ("awaiting_approval", "awaiting_approval")
    assert api.post(path, {}).status_code == 400
    stale = api.post(path, {"step": "s1", "approval_hash": "x"})
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "approval_changed")
    approved = api.post(path, {"step": "s1", "approval_hash": waiting["steps"][0]["approval_hash"]})
    assert (approved.status_code, approved.json()["status"]) == (200, "running")
    worker.run("runs")
    assert api.get(f"/chain/runs/{run_id}").json()["status"] == "succeeded"


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_numbers_no_database_can_keep_are_refused(api: APIClient, number: str) -> None:
    body = f'{{"plan": {{"version": 1, "steps": [], "inputs": {{"n": {number}}}}}}}'
    assert api.post("/chain/validate", body, content_type="application/json").status_code == 400
