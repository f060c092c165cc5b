"""An OpenAPI service through the whole product, and on its page."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.cache import cache

from chains.services import start_run
from registry.connectors.openapi import memory
from registry.models import HealthCheck, Server, Tool
from registry.probes import probe
from registry.services import authorise, record_probe
from tests.stack import Stack
from tests.toys import Toy

PATIENCE_S = 60


@pytest.fixture(scope="module")
def service(toy: Callable[..., Toy]) -> Toy:
    return toy("openapi_service")


def finished(stack: Stack, run_id: str, token: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (run := stack.call("GET", f"/chain/runs/{run_id}", token=token)[1])["finished_at"] is None:
        assert time.monotonic() < deadline, run
        time.sleep(0.1)
    return run


def test_from_an_address_to_a_chain_that_calls_it(stack, service):
    token = stack.token
    status, server = stack.call("POST", "/registry", {"name": "Toy service", "openapi_url": service.url}, token)
    assert (status, server["transport"], server["auth_type"]) == (201, "openapi", "none")
    base = f"/registry/{server['id']}"
    _, found = stack.call("POST", f"{base}/healthcheck", {}, token)
    assert (found["health"], found["tool_count"], found["model_count"]) == ("ok", 37, 2), found["detail"]
    assert stack.call("GET", base, token=token)[1]["auth_type"] == "bearer"
    credentials = {"X-API-Key": "k1"}
    allowed = {"tools": ["with_header", "json_flat"], "approval": {"default": "auto"}, "credentials": credentials}
    assert stack.call("PUT", f"{base}/connection", allowed, token)[0] == 200
    steps = [
        {"id": "s1", "server": server["slug"], "tool": "with_header", "arguments": {}},
        {
            "id": "s2",
            "server": server["slug"],
            "tool": "json_flat",
            "arguments": {"name": {"$ref": "s1#/json/headers/x-api-key"}, "kind": "dog"},
        },
    ]
    _, started = stack.call("POST", "/chain/execute", {"plan": {"version": 1, "steps": steps}}, token)
    run = finished(stack, started["run_id"], token)
    assert run["status"] == "succeeded", run["error"]
    assert run["steps"][1]["result"]["json"]["body"] == '{"name": "k1", "kind": "dog"}'


@pytest.fixture
def tested(db: None, service: Toy) -> Server:
    """A public server whose connection somebody tested."""
    server = Server.objects.create(
        slug="toy", name="Toy", transport="openapi", openapi_url=service.url, visibility="public"
    )
    record_probe(server=server, outcome=async_to_sync(probe)(server, {}))
    return server


@pytest.mark.parametrize(
    ("said", "kept"), [({}, "It echoes."), ({"description": "Mine."}, "Mine."), ({"source": "docker"}, "")]
)
def test_its_document_describes_it_where_nobody_else_did(service, db, said, kept):
    server = Server.objects.create(slug="toy", name="Toy", transport="openapi", openapi_url=service.url, **said)
    record_probe(server=server, outcome=async_to_sync(probe)(server, {}))
    server = Server.objects.defer(None).get()
    assert (server.description, "echoes" in server.search_text) == (kept, kept == "It echoes.")


def test_pages_speak_of_documents_and_servers_each_in_their_words(web, db):
    told = {"openapi": "Not an OpenAPI document", "sse": "Not an MCP server"}
    for transport, words in told.items():
        server = Server.objects.create(
            slug=transport, name=transport, transport=transport, source="test", visibility="public", health="not_mcp"
        )
        HealthCheck.objects.create(server=server, health="not_mcp")
        assert words in web.get(f"/servers/{transport}").content.decode()


def test_its_page_asks_for_what_its_document_names(web, tested):
    page = web.get("/servers/toy").content.decode()
    assert all(name in page for name in ("X-API-Key", "Ask the keeper.", "Sent as sid in the cookie."))
    assert "OpenAPI 3.1.0" in page


@pytest.fixture
def moved(alice: User, toy: Callable[..., Toy]) -> Toy:
    """A service alice authorised, whose document names another address since; what was seen of it is forgotten."""
    own = toy("openapi_service")
    server = Server.objects.create(
        slug="own", name="Own", transport="openapi", openapi_url=own.url, visibility="public"
    )
    record_probe(server=server, outcome=async_to_sync(probe)(server, {}))
    authorise(user=alice, server=server, approval={"default": "auto"})
    own.post("/version", "server")
    memory._known.clear()
    cache.clear()
    return own


@pytest.mark.django_db(transaction=True)
def test_a_trial_of_a_tool_that_moved_is_refused(api, moved, probe_worker):
    answer = api.post("/registry/own/tools/linked/call", {"arguments": {}, "confirm": True})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["fields"]) == (502, "changed_tool", {"sent": False})
    assert moved.get("/served")["calls"] == 0


@pytest.mark.django_db(transaction=True)
def test_a_chain_calls_no_tool_that_moved(alice, moved, worker):
    steps = [{"id": "s1", "server": "own", "tool": "linked", "arguments": {}}]
    run = start_run(user=alice, plan={"version": 1, "steps": steps})
    worker.run("runs")
    step = run.tool_runs.get()
    assert (step.status, step.error["code"]) == ("failed", "changed_tool")
    assert moved.get("/served")["calls"] == 0


def test_a_document_that_changed_shows_what_is_new_and_what_is_gone(toy, db):
    own = toy("openapi_service")
    server = Server.objects.create(slug="own", name="Own", transport="openapi", openapi_url=own.url)
    record_probe(server=server, outcome=async_to_sync(probe)(server, {}))
    own.post("/version", 2)
    check = record_probe(server=server, outcome=async_to_sync(probe)(server, {}))
    assert check.changes == {"added": ["moved"], "removed": ["get_item"], "changed": []}
    assert Tool.objects.present().filter(server=server, name="get_item").count() == 0
