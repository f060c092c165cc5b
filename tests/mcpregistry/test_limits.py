"""How often somebody may write, search and try to sign in."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client, RequestFactory
from redis import Redis
from rest_framework.test import APIClient

from mcpregistry.limits import COUNT, kind_of
from tests.mcpregistry.addresses import example_of, routes

pytestmark = pytest.mark.django_db
Limits = Callable[..., None]


@pytest.fixture
def limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Limits:
    """`limits(write=2)`; the minute does not change while a test runs."""
    monkeypatch.setattr("mcpregistry.limits.time.time", lambda: 1_000_000_020.0)

    def limit(**per_minute: int) -> None:
        settings.RATE_LIMITS = {"sign_in": 0, "write": 0, "search": 0} | per_minute

    return limit


def test_who_writes_too_often_is_told_when_to_come_back(api: APIClient, limits: Limits) -> None:
    limits(write=2)
    statuses = [api.post("/chain/validate", {"plan": {}}).status_code for _ in range(3)]
    refused = api.post("/chain/validate", {"plan": {}})
    assert statuses == [200, 200, 429]
    assert refused.json()["error"]["code"] == "throttled"
    assert 0 < int(refused.headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    "path", ["/registry/search?q=x", "/registry/tools/search?q=x", "/registry?q=x", "/results?q=x"]
)
def test_searches_are_counted_by_token(path: str, api: APIClient, bob_api: APIClient, limits: Limits) -> None:
    limits(search=1)
    assert [api.get(path).status_code for _ in range(2)] == [200, 429]
    assert bob_api.get(path).status_code == 200


def test_many_accounts_behind_one_address_share_its_limit(api: APIClient, bob_api: APIClient, limits: Limits) -> None:
    limits(write=1)
    for number in range(4):
        api.post("/chain/validate", {}, headers={"Authorization": f"Token made-up-{number}"})
    assert bob_api.post("/chain/validate", {"plan": {}}).status_code == 200
    assert bob_api.post("/chain/validate", {"plan": {}}, REMOTE_ADDR="10.0.0.9").status_code == 429
    other = APIClient(headers={"Authorization": "Token another"})
    assert other.post("/chain/validate", {}).status_code == 429
    assert (
        other.post("/chain/validate", {}, headers={"Authorization": "Token 2"}, REMOTE_ADDR="9.9.9.9").status_code
        == 401
    )


def test_passwords_are_not_tried_for_long(client: Client, limits: Limits) -> None:
    limits(sign_in=2)
    tries: list[Any] = [client.post("/accounts/login/", {"login": "alice", "password": "guess"}) for _ in range(3)]
    assert [each.status_code for each in tries] == [200, 200, 429]
    assert "Too many attempts" in tries[-1].content.decode()
    assert client.post("/admin/login/", {"username": "alice", "password": "guess"}).status_code == 429
    assert client.get("/signin/MQ/nonsense").status_code == 429
    assert client.get("/accounts/login/").status_code == 200


def test_a_client_cannot_claim_another_address(client: Client, limits: Limits, settings: Any) -> None:
    limits(sign_in=1)
    tried = [client.get("/signin/MQ/x", headers={"X-Forwarded-For": f"9.9.9.{each}"}).status_code for each in (1, 2)]
    assert tried == [302, 429]
    settings.PROXIES = 1
    claims = ("1.1.1.1, 8.8.8.8", "2.2.2.2, 8.8.8.8", "2.2.2.2, 8.8.4.4")
    tried = [client.get("/signin/MQ/x", headers={"X-Forwarded-For": claim}).status_code for claim in claims]
    assert tried == [302, 429, 302]


def test_reading_is_not_counted_and_the_usual_limits_are_wide(api: APIClient, settings: Any) -> None:
    assert settings.RATE_LIMITS["search"] >= 100 * 60
    settings.RATE_LIMITS = {"sign_in": 1, "write": 1, "search": 1}
    assert {api.get("/registry").status_code for _ in range(5)} == {200}


def test_every_count_has_an_end(api: APIClient, limits: Limits, redis: "Redis[bytes]") -> None:
    limits(write=5)
    for _ in range(3):
        api.post("/chain/validate", {"plan": {}})
    counts = {key: (int(redis.get(key) or 0), redis.ttl(key)) for key in redis.keys("limit:write:*")}
    assert [count for count, _ in counts.values()] == [3, 3]  # by address and by token
    assert all(0 < ends_in <= 60 for _, ends_in in counts.values())


def test_without_redis_nobody_is_turned_away(api: APIClient, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    limits(write=1)
    gone = Redis(unix_socket_path="/nowhere/redis.sock").register_script(COUNT)
    monkeypatch.setattr("mcpregistry.limits.counters", lambda: gone)
    assert {api.post("/chain/validate", {"plan": {}}).status_code for _ in range(3)} == {200}


@pytest.mark.parametrize("who", ["somebody", "nobody"])
def test_no_address_takes_more_writes_than_the_limit(who: str, limits: Limits, web: Client, client: Client) -> None:
    """Whatever is behind it: the limit stands before every view."""
    limits(write=-1, sign_in=-1)  # not one
    asking = web if who == "somebody" else client
    for route in sorted(set(routes())):
        is_short = who == "somebody" or route.startswith("admin/")
        for method in ("post",) if is_short else ("post", "put", "patch", "delete"):
            refused = getattr(asking, method)(example_of(route), headers={"Accept": "application/json"})
            assert refused.status_code == 429, f"{method} {route}: {refused.status_code}"
            assert int(refused.headers["Retry-After"]) > 0


def test_signing_in_is_counted_as_that_wherever_it_is_done() -> None:
    factory = RequestFactory()
    for route in sorted(set(routes())):
        if route.startswith(("accounts/", "signin/")):
            request = factory.post(example_of(route))
            request.user = AnonymousUser()
            assert kind_of(request) == "sign_in", route


@pytest.mark.parametrize("name", ["q", "search"])
def test_words_to_look_for_make_a_search_of_any_reading(name: str) -> None:
    factory = RequestFactory()
    for route in sorted(set(routes())):
        if not route.startswith("signin/"):
            assert kind_of(factory.get(example_of(route), {name: "x"})) == "search", route
    assert kind_of(factory.get("/runs")) == ""
