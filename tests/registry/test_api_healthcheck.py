"""POST /registry/{id}/healthcheck: a worker tests, the caller waits, and is told whatever happened."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import django_rq
import pytest
from django.db import connections
from django.utils import timezone
from rq import SimpleWorker

from registry import waiting
from registry.models import HealthCheck, Server

pytestmark = pytest.mark.django_db(transaction=True)


def server_at(url: str, **fields: object) -> Server:
    return Server.objects.create(
        name="Toy", slug="toy", transport="streamable_http", url=url, visibility="public", **fields
    )


def test_a_healthy_server_is_described(api, probe_worker, toy_text):
    response = api.post(f"/registry/{server_at(toy_text.url).pk}/healthcheck")
    found = response.json()
    assert (response.status_code, found["health"], found["server_name"]) == (200, "ok", "toy-text"), found
    assert (found["tool_count"], found["protocol_version"]) == (6, "2026-07-28")
    assert found["latency_ms"] >= 0
    assert "upper" in found["tools"]["added"]
    assert api.get("/registry/toy").data["health"] == "ok"


def test_a_failure_is_a_result_too(api, probe_worker, toy_notmcp):
    response = api.post(f"/registry/{server_at(toy_notmcp.url).slug}/healthcheck")
    assert (response.status_code, response.json()["health"]) == (200, "not_mcp")


def test_the_callers_own_credentials_open_the_door(api, bob_api, probe_worker, toy_auth):
    server = server_at(toy_auth.url, auth_type="bearer")
    api.put(f"/registry/{server.slug}/connection", {"credentials": {"Authorization": "sesame"}})
    assert api.post(f"/registry/{server.slug}/healthcheck").json()["health"] == "ok"
    assert bob_api.post(f"/registry/{server.slug}/healthcheck").json()["health"] == "needs_auth"


def test_two_clicks_share_one_test(api, probe_worker, toy_text):
    server = server_at(toy_text.url)

    def click(_: int) -> dict:
        try:
            return api.post(f"/registry/{server.pk}/healthcheck").json()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(click, range(2))
    assert first["health"] == second["health"] == "ok"
    assert HealthCheck.objects.count() == 1


def test_a_click_at_the_moment_a_test_ends_gets_its_result(api, alice, toy_text, probe_worker):
    server = server_at(toy_text.url)
    queue = django_rq.get_queue("probes")
    ending = queue.create_job("time.time", job_id=f"probe-{server.pk}-{alice.pk}", status="started")
    ending.started_at = ending.enqueued_at = timezone.now()
    ending.save()
    HealthCheck.objects.create(server=server, health="ok", detail="The one that was under way.")
    assert api.post("/registry/toy/healthcheck").json()["detail"] == "The one that was under way."


def test_without_a_worker_the_caller_is_told_at_once(api):
    response = api.post(f"/registry/{server_at('https://a.example/mcp').pk}/healthcheck")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "worker_unavailable")


def test_a_worker_that_died_without_a_word_is_noticed(api, redis, monkeypatch):
    monkeypatch.setattr(waiting, "PICKUP_S", 0)
    monkeypatch.setattr(waiting, "LOOK_S", 0.1)
    queue = django_rq.get_queue("probes")
    SimpleWorker([queue], connection=queue.connection).register_birth()
    response = api.post(f"/registry/{server_at('https://a.example/mcp').pk}/healthcheck")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "worker_unavailable")


def test_a_test_whose_worker_was_killed_does_not_block_the_next(api, alice, probe_worker, toy_text):
    server = server_at(toy_text.url)
    queue = django_rq.get_queue("probes")
    dead = queue.create_job("time.time", job_id=f"probe-{server.pk}-{alice.pk}", status="started")
    dead.started_at = timezone.now() - timedelta(minutes=3)
    dead.save()
    assert api.post("/registry/toy/healthcheck").json()["health"] == "ok"


def test_only_post_tests(api):
    assert api.get("/registry/toy/healthcheck").status_code == 405
