"""Trying a tool: a worker calls it once, for whoever authorised it, and nothing that may change something unasked."""

import asyncio
from typing import Any

import django_rq
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from rest_framework.test import APIClient
from rq import SimpleWorker

from registry import trials, waiting
from registry.connectors import CallResult
from registry.models import Server, Tool
from registry.probes import probe
from registry.services import authorise, record_probe
from registry.tool_forms import ToolForm
from registry.trial_results import MAX_SHOWN_BYTES, answered, failed
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)
HTMX = {"HX-Request": "true", "Accept": "text/html"}


def known(toy: Toy, **fields: Any) -> Server:
    """The toy with its tools, public."""
    told = {"slug": "toy", "name": "Toy", "transport": "streamable_http", "visibility": "public"}
    server = Server.objects.create(url=toy.url, **(told | fields))
    record_probe(server=server, outcome=asyncio.run(probe(server, {})), user=None)
    return server


def connected(toy: Toy, user: User, **fields: Any) -> Server:
    server = known(toy)
    authorise(user=user, server=server, **fields)
    return server


def call(api: APIClient, tool: str, arguments: Any = None, **rest: Any) -> Any:
    return api.post(f"/registry/toy/tools/{tool}/call", {"arguments": arguments or {}, **rest})


def test_a_tool_that_only_reads_is_called_at_once(
    api: APIClient, alice: User, toy_text: Toy, probe_worker: Any
) -> None:
    connected(toy_text, alice)
    response = call(api, "upper", {"text": "quiet"})
    answer = response.json()
    assert response.status_code == 200, answer
    assert answer["content"] == [{"type": "text", "text": "QUIET"}]
    assert (answer["is_error"], answer["truncated"], answer["duration_ms"] >= 0) == (False, False, True)
    assert call(api, "count_words", {"text": "one two"}).json()["structured"] == {"words": 2, "characters": 7}


def test_what_a_tool_reports_as_an_error_is_an_answer(
    api: APIClient, alice: User, toy_text: Toy, probe_worker: Any
) -> None:
    connected(toy_text, alice)
    answer = call(api, "fail", {"message": "no luck"}).json()
    assert answer["is_error"]
    assert "no luck" in answer["content"][0]["text"]


def test_only_what_was_authorised_is_called(api: APIClient, alice: User, toy_text: Toy) -> None:
    server = known(toy_text)
    assert call(api, "upper").status_code == 403
    authorise(user=alice, server=server, tools=["reverse"])
    response = call(api, "upper")
    assert (response.status_code, "authorise" in response.json()["error"]["message"]) == (403, True)
    assert call(api, "nonsense").status_code == 404
    assert len(django_rq.get_queue("probes")) == 0


def test_a_tool_that_may_change_something_wants_its_arguments_confirmed(
    api: APIClient, alice: User, toy_files: Toy, probe_worker: Any
) -> None:
    connected(toy_files, alice, approval={"default": "auto"})
    arguments = {"path": "a.txt", "content": "hello"}
    refused = call(api, "write_file", arguments)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "confirmation_required")
    assert refused.json()["error"]["fields"] == {"arguments": arguments}
    assert not (toy_files.root / "a.txt").exists()
    assert call(api, "write_file", arguments, confirm=True).status_code == 200
    assert (toy_files.root / "a.txt").read_text() == "hello"


@pytest.mark.parametrize("policy", ["ask", "never"])
def test_ones_own_policy_wants_to_be_confirmed_too(api: APIClient, alice: User, toy_text: Toy, policy: str) -> None:
    connected(toy_text, alice, approval={"tools": {"upper": policy}})
    assert call(api, "upper", {"text": "x"}).status_code == 409


@pytest.mark.parametrize("body", [{"arguments": []}, {"arguments": {"text": "x" * 300_000}}, {"arguments": "x"}])
def test_arguments_that_cannot_be_are_refused(api: APIClient, alice: User, toy_text: Toy, body: Any) -> None:
    connected(toy_text, alice)
    response = api.post("/registry/toy/tools/upper/call", body)
    assert (response.status_code, list(response.json())) == (400, ["error"])


def test_a_server_that_is_gone_is_told_with_what_to_do(
    api: APIClient, alice: User, toy_text: Toy, probe_worker: Any
) -> None:
    server = connected(toy_text, alice)
    Server.objects.filter(pk=server.pk).update(url="http://127.0.0.1:9/mcp")
    response = call(api, "upper", {"text": "x"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["fields"]) == (502, "unreachable", {"sent": False})
    assert "Test the server's connection" in error["message"]


def test_without_a_worker_nothing_is_called_and_one_is_told(api: APIClient, alice: User, toy_text: Toy) -> None:
    connected(toy_text, alice)
    response = call(api, "upper", {"text": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "worker_unavailable")


def test_what_nobody_picked_up_is_never_called_later(
    api: APIClient, alice: User, toy_files: Toy, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(toy_files, alice)
    monkeypatch.setattr(waiting, "PICKUP_S", 0)
    monkeypatch.setattr(waiting, "LOOK_S", 0.1)
    queue = django_rq.get_queue("probes")
    SimpleWorker([queue], connection=queue.connection).register_birth()
    response = call(api, "write_file", {"path": "late.txt", "content": "x"}, confirm=True)
    assert response.status_code == 503
    worker.run("probes")
    assert not (toy_files.root / "late.txt").exists()


def test_a_job_that_runs_twice_calls_once(alice: User, toy_files: Toy) -> None:
    tool = connected(toy_files, alice).tools.get(name="write_file")
    for content in ("first", "second"):
        trials.perform("same", tool.pk, alice.pk, {"path": "once.txt", "content": content})
    assert (toy_files.root / "once.txt").read_text() == "first"


def test_what_was_revoked_meanwhile_is_not_called(bob: User, toy_text: Toy) -> None:
    tool = known(toy_text).tools.get(name="upper")
    trials.perform("stale", tool.pk, bob.pk, {"text": "x"})
    assert cache.get("trial:stale:answer")["error"]["code"] == "not_authorised"


def test_an_answer_is_cut_to_what_can_be_shown() -> None:
    image = {"type": "image", "mimeType": "image/png", "data": "aGk="}
    script = {"type": "image", "mimeType": "image/svg+xml", "data": "aGk="}
    long = {"type": "text", "text": "é" * MAX_SHOWN_BYTES}
    answer = answered(CallResult([image, script, long, long], {"a": "x" * MAX_SHOWN_BYTES}, False), 5)
    assert [block["type"] for block in answer["content"]] == ["image", "text"]
    assert len(answer["content"][1]["text"].encode()) == MAX_SHOWN_BYTES
    assert (answer["structured"], answer["truncated"]) == (None, True)


def test_a_call_that_may_have_happened_says_so() -> None:
    assert "may have carried it out" in failed("timeout", "Too slow.", sent=True)["error"]["next_step"]


def test_the_form_keeps_types_and_leaves_out_what_is_empty() -> None:
    schema = {
        "properties": {
            "city": {"$ref": "#/$defs/city"},
            "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "exact": {"type": "boolean"},
            "filters": {"type": "array", "items": {"type": "string"}},
            "note": {"type": ["string", "null"]},
        },
        "required": ["city"],
        "$defs": {"city": {"type": "string", "enum": ["Tokyo", "Oslo"]}},
    }
    typed = {"argument-city": "Oslo", "argument-days": "3", "argument-exact": "", "argument-filters": '["a"]'}
    form = ToolForm(Tool(input_schema=schema), typed)
    assert form.is_valid(), form.errors
    assert form.values == {"city": "Oslo", "days": 3, "filters": ["a"]}


@pytest.mark.parametrize(
    "schema", [None, [], {"properties": []}, {"type": "object", "additionalProperties": True},
               {"properties": {str(number): {} for number in range(100)}}],
)  # fmt: skip
def test_a_schema_that_no_form_fits_takes_one_json_object(schema: Any) -> None:
    form = ToolForm(Tool(input_schema=schema), {"argument-arguments": '{"a": [1]}'})
    assert form.is_valid()
    assert form.values == {"a": [1]}
    assert not ToolForm(Tool(input_schema=schema), {"argument-arguments": "[1]"}).is_valid()


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": 5}, "required": "a"},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"properties": {"b": {}}, "required": [{}]},
    ],
)
def test_a_broken_schema_still_makes_a_form(schema: Any) -> None:
    assert ToolForm(Tool(input_schema=schema)).as_p()


def form_of(server: Server, name: str) -> str:
    return f"/servers/toy/try/{server.tools.get(name=name).pk}"


def test_the_page_calls_and_shows_what_came_back(web: Client, alice: User, toy_text: Toy, probe_worker: Any) -> None:
    server = connected(toy_text, alice)
    address = form_of(server, "upper")
    assert 'name="argument-text"' in web.get(address, headers={"Accept": "text/html"}).content.decode()
    html = web.post(address, {"argument-text": "<b>quiet</b>"}, headers=HTMX).content.decode()
    assert "&lt;B&gt;QUIET&lt;/B&gt;" in html
    assert "<html" not in html


def test_the_page_shows_the_exact_arguments_before_it_calls(
    web: Client, alice: User, toy_files: Toy, probe_worker: Any
) -> None:
    address = form_of(connected(toy_files, alice), "write_file")
    typed = {"argument-path": "a.txt", "argument-content": "hello"}
    html = web.post(address, typed).content.decode()
    assert "with exactly these arguments" in html
    assert not (toy_files.root / "a.txt").exists()
    html = web.post(address, {"confirmed": '{"path": "a.txt", "content": "hello"}'}).content.decode()
    assert 'value="a.txt"' in html
    assert (toy_files.root / "a.txt").read_text() == "hello"


def test_the_page_says_what_is_missing_before_a_tool_can_be_tried(web: Client, toy_text: Toy) -> None:
    server = known(toy_text)
    html = web.get(form_of(server, "upper"), headers=HTMX).content.decode()
    assert "You have not authorised this tool" in html
    assert "<form" not in html
    assert web.get("/servers/toy/try/0").status_code == 404


def test_a_wrong_argument_is_told_at_its_field_and_nothing_typed_is_lost(
    web: Client, alice: User, toy_text: Toy
) -> None:
    server = connected(toy_text, alice)
    html = web.post(form_of(server, "render"), {"argument-template": "Hi", "argument-values": "{"}).content.decode()
    assert "This is not JSON" in html
    assert "Hi" in html


def test_the_page_of_a_server_offers_to_try_each_tool(web: Client, toy_text: Toy) -> None:
    server = known(toy_text)
    html = web.get("/servers/toy", headers={"Accept": "text/html"}).content.decode()
    assert html.count("<summary>Try it</summary>") == server.tools.count()
