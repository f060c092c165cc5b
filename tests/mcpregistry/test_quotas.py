"""How much one user may have, and how many of their runs go on at once."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from rest_framework.test import APIClient

from chains import leases
from chains.dispatch import dispatch_waiting, redispatch_abandoned
from chains.models import Run, Schedule, Template
from chains.schedules import start_due
from chains.services import start_run
from chains.template_rows import keep_template
from chat.models import Conversation
from mcpregistry.tokens import make_token
from registry.models import Server, Team
from registry.quotas import QuotaReached

pytestmark = pytest.mark.django_db
STEP = {"id": "s1", "server": "none", "tool": "none", "arguments": {}}
PLAN = {"version": 1, "steps": [STEP]}
Rows = Callable[[User], Any]
ROWS: dict[str, Rows] = {
    "servers": Server.objects.owned_by,
    "templates": Template.objects.owned_by,
    "conversations": Conversation.objects.owned_by,
    "teams": Team.objects.led_by,
    "runs": Run.objects.owned_by,
    "tokens": lambda user: AuthToken.objects.filter(user=user, grant__isnull=False),
    "schedules": lambda user: Schedule.objects.filter(template__owner=user),
}


@pytest.fixture
def quotas(settings: Any) -> Callable[..., None]:
    def limit(**most: int) -> None:
        settings.QUOTAS = settings.QUOTAS | most

    return limit


@pytest.fixture
def template(alice: User) -> Template:
    return Template.objects.create(owner=alice, name="t", plan=PLAN)


def made(api: APIClient, kind: str, number: int) -> Any:
    """One more of this kind, over the API."""
    if kind == "servers":
        return api.post("/registry", {"name": f"s{number}", "url": f"https://example.com/{number}"})
    if kind == "templates":
        imported = {"format": "mcp-registry-template", "name": "t", "plan": PLAN}
        return api.post("/chain/templates/import", imported)
    if kind == "conversations":
        return api.post("/chat", {"user_msg": "hello"})
    return api.post("/teams", {"name": "t"})


@pytest.mark.parametrize("kind", ["servers", "templates", "conversations", "teams"])
def test_who_has_as_many_as_they_may_is_told_so(
    kind: str, alice: User, api: APIClient, bob_api: APIClient, quotas: Callable[..., None]
) -> None:
    quotas(**{kind: 2})
    statuses = [made(api, kind, number).status_code for number in range(3)]
    assert statuses[2] == 403 and set(statuses[:2]) <= {201, 202}
    refused = made(api, kind, 9).json()["error"]
    assert refused["code"] == "quota_reached"
    assert refused["message"] == f"You have 2 {kind}, and more are not allowed: delete some you no longer need."
    assert ROWS[kind](alice).count() == 2
    assert made(bob_api, kind, 0).status_code in (201, 202)


def test_pages_say_it_where_the_person_is(
    web: Client, alice: User, template: Template, quotas: Callable[..., None]
) -> None:
    quotas(templates=1, tokens=1, schedules=1, conversations=1)
    said = "and more are not allowed"
    assert said in web.post(f"/templates/{template.pk}/duplicate", follow=True).content.decode()
    make_token(user=alice, name="first")
    assert said in web.post("/account", {"name": "second"}, follow=True).content.decode()
    other = Template.objects.create(owner=alice, name="o", plan=PLAN)
    Schedule.objects.create(template=other, at="08:00", next_at=timezone.now())
    schedule = {"every": 1, "unit": "day", "at": "08:00"}
    assert said in web.post(f"/templates/{template.pk}/schedule", schedule, follow=True).content.decode()
    assert web.post(f"/templates/{other.pk}/schedule", schedule).status_code == 302
    Conversation.objects.create(owner=alice)
    told = web.post("/say", {"user_msg": "x"}, headers={"HX-Request": "true"})
    assert (told.status_code, said in told.json()["error"]["message"]) == (403, True)
    assert Template.objects.count() == 2 and Schedule.objects.count() == 1


def test_no_quota_is_as_many_as_they_like(alice: User, quotas: Callable[..., None]) -> None:
    quotas(tokens=0)
    for number in range(3):
        make_token(user=alice, name=str(number))
    assert ROWS["tokens"](alice).count() == 3


@pytest.mark.django_db(transaction=True)
def test_many_at_the_same_moment_do_not_get_past_it(alice: User, quotas: Callable[..., None]) -> None:
    quotas(templates=3, tokens=3)
    start = threading.Barrier(8)

    def make(number: int) -> None:
        start.wait(20)
        with suppress(QuotaReached):
            if number % 2:
                keep_template(owner=alice, name="t", plan=PLAN)
            else:
                make_token(user=alice, name="t")
        connections.close_all()

    threads = [threading.Thread(target=make, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (ROWS["templates"](alice).count(), ROWS["tokens"](alice).count()) == (3, 3)


def queued(user: User, count: int) -> list[Run]:
    return [Run.objects.create(owner=user, plan=PLAN, created_at=timezone.now()) for _ in range(count)]


def test_runs_beyond_those_that_may_go_on_at_once_wait_their_turn(alice: User, bob: User, settings: Any) -> None:
    settings.RUNS_AT_ONCE = 2
    first, second, third = queued(alice, 3)
    held = leases.claim(first.pk)
    assert held and leases.claim(second.pk) and leases.claim(third.pk) is None
    assert leases.claim(queued(bob, 1)[0].pk) is not None
    third.refresh_from_db()
    assert third.status == Run.Status.QUEUED
    assert leases.claim(first.pk) is None  # it is driven already
    leases.release(first.pk, held.lease_token)
    assert leases.claim(third.pk) is not None


@pytest.mark.django_db(transaction=True)  # jobs are enqueued on commit
def test_the_next_run_is_queued_as_soon_as_there_is_a_place(alice: User, settings: Any, redis: Any) -> None:
    settings.RUNS_AT_ONCE = 1
    first, second, _ = queued(alice, 3)
    held = leases.claim(first.pk)
    dispatch_waiting(alice.pk, after=first.pk)
    assert redis.llen("rq:queue:runs") == 0
    Run.objects.filter(pk=first.pk).update(status=Run.Status.SUCCEEDED, lease_expires_at=None)
    dispatch_waiting(alice.pk, after=first.pk)
    jobs = [each.decode() for each in redis.lrange("rq:queue:runs", 0, -1)]
    assert held and len(jobs) == 1 and str(second.pk) in jobs[0]


@pytest.mark.django_db(transaction=True)  # jobs are enqueued on commit
def test_who_has_many_waiting_does_not_stand_before_others(alice: User, bob: User, settings: Any, redis: Any) -> None:
    settings.RUNS_AT_ONCE = 2
    long_ago = timezone.now() - timedelta(minutes=5)
    for run in [*queued(alice, 5), *queued(bob, 1)]:
        Run.objects.filter(pk=run.pk).update(created_at=long_ago)
    assert redispatch_abandoned() == 3
    assert redispatch_abandoned() == 0
    assert redis.llen("rq:queue:runs") == 3


def test_no_more_runs_wait_than_may(
    alice: User, api: APIClient, template: Template, quotas: Callable[..., None]
) -> None:
    quotas(runs=2)
    queued(alice, 2)
    refused = api.post("/chat", {"user_msg": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_runs")
    assert refused.headers["Retry-After"] == "10"
    assert not Conversation.objects.exists()
    failed = Run.objects.create(owner=alice, plan=PLAN, status="failed")
    assert api.post(f"/chain/runs/{failed.pk}/retry").status_code == 429
    due = Schedule.objects.create(template=template, at="08:00", next_at=timezone.now())
    start_due()
    due.refresh_from_db()
    assert due.error
    Run.objects.filter(status="queued").update(status="awaiting_approval")
    assert api.post("/chat", {"user_msg": "x"}).status_code == 202


def test_asking_again_with_the_same_key_is_no_further_run(alice: User, quotas: Callable[..., None]) -> None:
    quotas(runs=1)
    first = start_run(user=alice, plan=None, kind=Run.Kind.CHAT, idempotency_key="k")
    assert start_run(user=alice, plan=None, kind=Run.Kind.CHAT, idempotency_key="k") == first
