"""Templates that run by themselves."""

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from chains.models import Run, Schedule, Template
from chains.schedules import next_after, next_times, set_schedule, start, start_due
from chains.services import save_template
from registry.models import Server, Tool
from registry.services import authorise
from tests.chains.conftest import plan, step

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2030, 1, 10, 12, 0, tzinfo=dt.UTC)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
def template(alice: User) -> Template:
    server = Server.objects.create(slug="toy", name="toy", url="https://toy.example/mcp", transport="sse", owner=alice)
    Tool.objects.create(server=server, name="say", input_schema={"type": "object"}, schema_hash="a", content_hash="a")
    authorise(user=alice, server=server, approval={"default": "auto"})
    data = plan(step("s1", "toy.say", words={"$input": "/city"}), inputs=CITY)
    return save_template(user=alice, name="Weather", plan=data)


def scheduled(template: Template, **inputs: Any) -> Schedule:
    """Due since a minute ago."""
    made = set_schedule(template=template, every=1, unit="day", at=dt.time(7, 30), inputs=inputs)
    Schedule.objects.update(next_at=timezone.now() - dt.timedelta(minutes=1))
    return made


@pytest.mark.parametrize(
    ("every", "unit", "at", "expected"),
    [
        (1, "day", dt.time(18, 30), dt.datetime(2030, 1, 10, 18, 30)),
        (1, "day", dt.time(12, 0), dt.datetime(2030, 1, 11, 12, 0)),
        (7, "day", dt.time(7, 0), dt.datetime(2030, 1, 17, 7, 0)),
        (1, "hour", dt.time(0, 15), dt.datetime(2030, 1, 10, 12, 15)),
        (6, "hour", dt.time(0, 0), dt.datetime(2030, 1, 10, 18, 0)),
        (5, "hour", dt.time(0, 30), dt.datetime(2030, 1, 10, 15, 30)),
    ],
)
def test_the_next_time_is_the_first_one_after_now(every: int, unit: str, at: dt.time, expected: dt.datetime) -> None:
    assert next_after(Schedule(every=every, unit=unit, at=at), NOON) == expected.replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 7 * * mon-fri", [(11, 7, 30), (14, 7, 30), (15, 7, 30)]),
        ("*/20 12 * * *", [(10, 12, 20), (10, 12, 40), (11, 12, 0)]),
        ("0 9 * * sun#2", [(13, 9, 0)]),
    ],
)
def test_a_cron_expression_says_when(cron: str, expected: list[tuple[int, int, int]]) -> None:
    times = next_times(Schedule(unit="cron", cron=cron), NOON, len(expected))
    assert times == [dt.datetime(2030, 1, day, hour, minute, tzinfo=dt.UTC) for day, hour, minute in expected]


@pytest.mark.parametrize("cron", ["", "soon", "61 * * * *", "* * * * * *", "0 0 31 2 *", "R 9 * * *", "H(0-3) * * * *"])
def test_an_expression_that_says_nothing_is_refused_where_it_is_typed(
    web: Client, template: Template, cron: str
) -> None:
    typed = {"unit": "cron", "cron": cron, "input-city": "Rome"}
    refused = web.post(f"/templates/{template.pk}/schedule", typed)
    assert (refused.status_code, Schedule.objects.count()) == (400, 0)
    assert "errorlist" in refused.content.decode()
    assert "note bad" in web.post(f"/templates/{template.pk}/schedule/times", typed).content.decode()


def test_the_next_times_are_told_while_one_types_and_kept(web: Client, template: Template) -> None:
    typed = {"unit": "cron", "cron": "0 9 1 1 *", "input-city": "Rome"}
    told = web.post(f"/templates/{template.pk}/schedule/times", typed).content.decode()
    assert told.count("1 January") == 3
    web.post(f"/templates/{template.pk}/schedule", typed)
    assert (Schedule.objects.get().cron, Schedule.objects.get().next_at.hour) == ("0 9 1 1 *", 9)
    assert "By “0 9 1 1 *”" in web.get(f"/templates/{template.pk}").content.decode()
    Schedule.objects.update(next_at=timezone.now() - dt.timedelta(minutes=1))
    assert (start_due(), Schedule.objects.get().next_at > timezone.now()) == (1, True)


def test_what_is_due_runs_once_with_its_inputs(template: Template) -> None:
    scheduled(template, city="Oslo")
    assert (start_due(), start_due()) == (1, 0)
    run = Run.objects.get()
    assert (run.template, run.inputs, run.owner) == (template, {"city": "Oslo"}, template.owner)
    assert (Schedule.objects.get().last_run, Schedule.objects.get().next_at > timezone.now()) == (run, True)


def test_two_workers_that_see_the_same_start_one_run(template: Template) -> None:
    scheduled(template, city="Oslo")
    seen_by_both = Schedule.objects.select_related("template__owner").get()
    assert [start(seen_by_both) for _ in range(2)] == [True, False]
    assert Run.objects.count() == 1


def test_what_cannot_be_started_says_why_and_is_tried_again_next_time(web: Client, template: Template) -> None:
    scheduled(template, city="Oslo")
    Tool.objects.update(schema_hash="b")
    assert start_due() == 0
    assert "changed" in Schedule.objects.get().error
    assert Schedule.objects.get().next_at > timezone.now()
    assert "could not be started" in web.get(f"/templates/{template.pk}").content.decode()


def test_the_page_sets_changes_and_ends_a_schedule(web: Client, template: Template) -> None:
    there = f"/templates/{template.pk}/schedule"
    web.post(there, {"every": "2", "unit": "hour", "at": "00:10", "input-city": "Rome"})
    assert (Schedule.objects.get().every, Schedule.objects.get().inputs) == (2, {"city": "Rome"})
    page = web.get(f"/templates/{template.pk}").content.decode()
    assert "Every 2 hours" in page
    assert 'value="Rome"' in web.get(there).content.decode()
    refused = web.post(there, {"every": "0", "unit": "hour", "at": "00:10", "input-city": "Rome"})
    assert (refused.status_code, Schedule.objects.get().every) == (400, 2)
    web.post(there, {"stop": "1"})
    assert not Schedule.objects.exists()


def test_only_the_owner_schedules(web: Client, bob: User, template: Template) -> None:
    web.force_login(bob)
    assert web.post(f"/templates/{template.pk}/schedule", {"every": "1"}).status_code == 404
