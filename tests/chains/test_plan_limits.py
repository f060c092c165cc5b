"""Plans and schedules at and beyond what is allowed: answered in words, in bounded time."""

import datetime as dt
import json
from contextlib import suppress
from typing import Any

import pytest
from rest_framework.test import APIClient

from chains.schedules import moment_by
from registry.models import Server
from tests.chains.conftest import computing_for, plan, step

pytestmark = pytest.mark.django_db
QUICK_S = 5
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def told(api: APIClient, body: Any) -> list[str]:
    """The codes of what is wrong with a plan, by POST /chain/validate; the same plan is refused when it is to run."""
    with computing_for(QUICK_S):
        response = api.post("/chain/validate", {"plan": body}, format="json")
    assert response.status_code == 200, response.content
    assert len(response.content) < 2_000_000
    problems = response.json()["problems"]
    if not response.json()["valid"]:
        refused = api.post("/chain/execute", {"plan": body}, format="json")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_plan")
    return [problem["code"] for problem in problems]


def test_the_largest_plan_is_taken(api: APIClient, text: Server) -> None:
    steps = [step(f"s{n}", "text.upper", text="x" * 4_950) for n in range(50)]
    assert 250_000 < len(json.dumps(plan(*steps))) < 256_000
    assert told(api, plan(*steps)) == []


def test_every_step_may_refer_to_every_other(api: APIClient, text: Server) -> None:
    steps = [
        step(f"s{n}", "text.upper", text={"$format": "".join(f"{{s{before}#/text}}" for before in range(n)) + "."})
        for n in range(50)
    ]
    assert told(api, plan(*steps)) == []


def test_thousands_of_pointers_into_nothing_are_told(api: APIClient, text: Server) -> None:
    codes = told(api, plan(step("s1", "text.upper", text=[{"$ref": f"n{n}#/json/x"} for n in range(9_000)])))
    assert set(codes) <= {"unknown_step", "wrong_type", "bad_argument"} and "unknown_step" in codes


@pytest.mark.parametrize(
    "text_of",
    [
        "{s1.__class__.__mro__}",
        "{0.__globals__}",
        "{s1[0]}",
        "{s1#/__class__}",
        "{input#/__init__/__globals__}",
        "%(text)s {{7*7}} {% load x %} ${7*7}",
        "{" * 50_000,
        "{s1#" * 50_000,
        "{s1#/" + "/~1" * 50_000 + "}",
    ],
    ids=["attribute", "position", "index", "pointer", "input", "templates", "braces", "halves", "long"],
)
def test_a_format_string_reaches_no_python(api: APIClient, text: Server, text_of: str) -> None:
    """It is refused, or a plain text in which nothing but pointers into results means anything."""
    first, second = step("s1", "text.upper", text="a"), step("s2", "text.upper", text={"$format": text_of})
    told(api, plan(first, second, outputs={"o": {"$format": text_of}}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout_s", 1e308),
        ("timeout_s", int("9" * 4_000)),
        ("retries", int("9" * 4_000)),
        ("retries", -1),
        ("id", "x" * 100_000),
        ("id", "__class__"),
        ("needs", ["s1"] * 10_000),
        ("server", "x" * 100_000),
        ("server", {"$ref": "s1#/text"}),
        ("tool", ["a"]),
        ("approval", "whatever"),
        ("arguments", [[[]]]),
        ("__proto__", {"x": 1}),
    ],
)
def test_a_field_that_cannot_be_is_a_problem(api: APIClient, text: Server, field: str, value: Any) -> None:
    assert told(api, plan(step("s1", "text.upper", text="a") | {field: value})) != [] or field == "id"


@pytest.mark.parametrize(
    "inputs", [{"$ref": "#"}, {"pattern": "(a+)+$"}, {"type": "nonsense"}, {"allOf": [{}] * 10_000}]
)
def test_a_hostile_schema_of_inputs_is_bounded(api: APIClient, text: Server, inputs: dict[str, Any]) -> None:
    body = plan(step("s1", "text.upper", text={"$input": "/a"})) | {"inputs": {"properties": {"a": inputs}}}
    told(api, body)
    with computing_for(QUICK_S):
        response = api.post("/chain/execute", {"plan": body, "inputs": {"a": "a" * 40 + "!"}}, format="json")
    assert response.status_code < 500


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@reboot",
        "@every 1s",
        "60 * * * *",
        "*/0 * * * *",
        "0 0 31 2 *",
        "0 0 30 2 *",
        "-1 * * * *",
        "0-99999999 * * * *",
        "*/99999999999999999999 * * * *",
        ",".join(["1"] * 100_000) + " * * * *",
        "9" * 5_000 + " * * * *",
        "\x00 * * * *",
        "٣ * * * *",
        "0 0 * * L9",
        "0 0 * * 1#9",
        "H * * * *",
        "r * * * *",
        "$(id) * * * *",
    ],
)
def test_an_absurd_cron_expression_is_refused_at_once_or_says_when(cron: str) -> None:
    with computing_for(2), suppress(ValueError):
        assert moment_by(cron, NOW) > NOW
