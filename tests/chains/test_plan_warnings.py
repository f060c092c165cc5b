"""What is doubtful about a plan is said, and does not keep it from running."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from chains.models import ToolRun
from chains.plan.pointers import dangling
from chains.services import start_run
from registry.models import Server
from tests.chains.conftest import plan, step

pytestmark = pytest.mark.django_db


def told(api: APIClient, pointer: str) -> Any:
    second = step("s2", "text.upper", text={"$ref": f"s1#/json{pointer}"})
    return api.post("/chain/validate", {"plan": plan(step("s1", "text.upper", text="a"), second)}, format="json").json()


def test_a_pointer_that_led_nowhere_lately_is_a_warning(api: APIClient, alice: User, text: Server) -> None:
    text.tools.update(output_schema=None)
    assert told(api, "/city") == {"valid": True, "problems": []}
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
    run.tool_runs.update(status=ToolRun.Status.SUCCEEDED, result={"json": {"town": "Oslo"}})
    found = told(api, "/city")
    assert found["valid"]
    assert [(each["code"], each["severity"]) for each in found["problems"]] == [("unseen_reference", "warning")]
    assert told(api, "/town")["problems"] == []


def test_what_others_were_given_is_not_looked_at(bob_api: APIClient, bob: User, alice: User, text: Server) -> None:
    text.tools.update(output_schema=None)
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
    run.tool_runs.update(status=ToolRun.Status.SUCCEEDED, result={"json": {"secret": 1}})
    assert "secret" not in str(told(bob_api, "/city"))
    assert "unseen_reference" not in str(told(bob_api, "/city"))


ROW: dict[str, Any] = {"properties": {"id": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "tokens", "lost"),
    [
        (ROW, ["id"], None),
        (ROW, ["name"], "name"),
        (ROW, ["id", "deeper"], "deeper"),
        (ROW | {"additionalProperties": True}, ["name"], None),
        ({"type": "array", "items": ROW}, ["0", "id"], None),
        ({"type": "array", "items": ROW}, ["id"], "id"),
        ({"$ref": "#/$defs/row", "$defs": {"row": ROW}}, ["name"], "name"),
        ({"anyOf": [ROW, {"type": "null"}]}, ["id"], None),
        ({"anyOf": [ROW, {"type": "null"}]}, ["name"], "name"),
        ({"$ref": "#"}, ["name"], None),
        ({"type": "object"}, ["name"], None),
        (None, ["name"], None),
    ],
)
def test_a_pointer_is_followed_through_a_schema(schema: Any, tokens: list[str], lost: str | None) -> None:
    assert dangling(schema, tokens) == lost
