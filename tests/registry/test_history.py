"""A server's page shows how it did lately: a chart drawn on the server, the same as a table, how often it answered."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from registry.history import HEIGHT, LEAST_HEIGHT, SHOWN_CHECKS, history_of
from registry.models import HealthCheck, Server
from tests.registry.test_search import make_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Server:
    return make_server("io.example/clock", "Time of day")


def check(server: Server, health: str, latency_ms: int | None = None, *, days: float = 0, **columns: object) -> None:
    at = timezone.now() - timedelta(days=days)
    HealthCheck.objects.create(server=server, health=health, latency_ms=latency_ms, checked_at=at, **columns)


def test_a_bar_is_the_higher_the_slower_and_a_failure_reaches_the_top(clock: Server) -> None:
    check(clock, "unreachable", days=3)
    check(clock, "ok", 2000, days=2)
    check(clock, "needs_auth", 20, days=1.5)
    check(clock, "ok", 1)
    failed, slow, quick, quickest = (bar.height for bar in history_of(clock).bars)
    assert failed == HEIGHT > slow > quick > quickest == LEAST_HEIGHT
    assert [bar.tone for bar in history_of(clock).bars] == ["bad", "ok", "wait", "ok"]
    assert [uptime.percent for uptime in history_of(clock).uptimes] == ["100", "75.0"]


def test_the_page_draws_the_last_ones_and_says_the_same_in_words(clock: Server, web: Client) -> None:
    for number in range(SHOWN_CHECKS + 5):
        check(clock, "timeout" if number == 1 else "ok", 120, days=number / 10)
    html = web.get(f"/servers/{clock.slug}").content.decode()
    assert len(re.findall(r"<rect [^>]*height=", html)) == SHOWN_CHECKS
    assert f"1 of {SHOWN_CHECKS} failed" in html
    assert "usually 120 ms" in html
    assert "answered 90.0 % in 24 hours" in html


def test_tests_with_somebodys_own_credentials_are_not_shown(clock: Server, bob: User) -> None:
    check(clock, "ok", 5, user=bob)
    assert history_of(clock).bars == []
