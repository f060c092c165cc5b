"""/metrics tells how the registry stands, to whoever may know, and adds up what all web processes counted."""

import os

import pytest
from django.contrib.auth.models import User
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings
from redis import RedisError

from chains.models import Run
from mcpregistry import metrics
from mcpregistry.metrics import requests, standing
from mcpregistry.metrics.standing import Standing
from registry.models import Server
from registry.queues import queue
from tests.conftest import client_of

pytestmark = pytest.mark.django_db

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def token(settings: Settings) -> str:
    settings.METRICS_TOKEN = "only-for-metrics"
    return settings.METRICS_TOKEN


def scraped(client: Client, token: str) -> Samples:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"mcpr_{name}", frozenset(labels.items())


def test_strangers_and_wrong_tokens_see_nothing(client: Client, token: str, alice: User) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": "Token x"}):
        answer = client.get("/metrics", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_authenticated")
    assert client_of(alice).get("/metrics").status_code == 401


def test_without_a_token_set_only_staff_sees_them(client: Client, settings: Settings, staff: User) -> None:
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401
    assert client_of(staff).get("/metrics").status_code == 200
    client.force_login(staff)
    assert client.get("/metrics").status_code == 200


def test_requests_are_counted_by_view_and_never_by_address(client: Client, token: str) -> None:
    before = scraped(client, token)
    client.get("/signin/secret-uid/secret-token")
    client.get("/no/such/address")
    client.get("/livez")
    after = scraped(client, token)

    def more(**labels: str) -> float:
        name = key("requests_total", **labels)
        return after[name] - before.get(name, 0)

    assert more(view="livez", method="GET", status="200") == 1
    assert more(view="none", method="GET", status="404") == 1
    assert after[key("request_duration_seconds_count", view="livez")] >= 1
    assert not any("secret" in str(name) for name in after)


def test_what_another_web_process_counted_is_added(client: Client, token: str) -> None:
    name = key("requests_total", view="elsewhere", method="GET", status="200")
    before = scraped(client, token).get(name, 0)
    requests.requests_total.labels("elsewhere", "GET", 200).inc()
    child = os.fork()
    if child == 0:
        requests.requests_total.labels("elsewhere", "GET", 200).inc(2)
        os._exit(0)
    os.waitpid(child, 0)
    assert scraped(client, token)[name] == before + 3
    metrics.forget_the_dead()
    assert scraped(client, token)[name] == before + 1


@pytest.fixture
def run(alice: User) -> Run:
    return Run.objects.create(owner=alice, kind=Run.Kind.CHAIN)


@pytest.mark.django_db(transaction=True)  # jobs are enqueued on commit
def test_queues_runs_and_servers_as_they_stand(client: Client, token: str, run: Run, alice: User) -> None:
    Server.objects.create(
        slug="one", name="one", transport="streamable_http", url="https://one.example", owner=alice, health="timeout"
    )
    queue("runs").enqueue("chains.jobs.reconcile")
    found = scraped(client, token)
    assert found[key("queue_jobs", queue="runs")] == 1
    assert 0 < found[key("queue_oldest_job_age_seconds", queue="runs")] < 60
    assert found[key("queue_workers", queue="chat")] == 0
    assert found[key("runs", kind="chain", status="queued")] == 1
    assert found[key("run_oldest_queued_age_seconds")] > 0
    assert found[key("servers", health="timeout")] == 1
    assert found[key("embedding_backlog", table="search_documents")] == 1
    assert found[key("database_connections", state="active")] >= 1
    assert found[key("up", part="database")] == found[key("up", part="redis")] == 1


def test_steps_of_runs_that_ended_lately(client: Client, token: str, run: Run) -> None:
    for position, milliseconds in enumerate((100, 200, 300)):
        run.tool_runs.create(
            step=f"s{position}", position=position, server_slug="x", tool="y", status="succeeded",
            duration_ms=milliseconds,
        )  # fmt: skip
    run.status, run.finished_at = Run.Status.SUCCEEDED, run.created_at
    run.save()
    found = scraped(client, token)
    assert found[key("steps_ended", status="succeeded")] == 3
    assert found[key("step_duration_seconds", status="succeeded", quantile="0.5")] == 0.2
    assert found[key("runs_ended", kind="chain", status="succeeded")] == 1


def test_a_redis_that_is_away_takes_only_its_own_figures_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(name: str) -> None:
        raise RedisError("Connection refused")

    monkeypatch.setattr(standing, "queue_named", away)
    found = {family.name: family.samples for family in Standing().collect()}
    assert {sample.labels["part"]: sample.value for sample in found["mcpr_up"]} == {"redis": 0, "database": 1}
    assert "mcpr_servers" in found
