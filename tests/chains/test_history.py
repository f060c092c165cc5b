"""Runs that were: found again, put in order, and two of them compared."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from chains.comparison import compared
from chains.models import Run, RunEvent, Template, ToolRun
from tests.chains.conftest import plan, step

pytestmark = pytest.mark.django_db
NOON = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)
PLAN = plan(step("s1", "toy.say", words="hello"))


def ran(owner: User, *, days: int = 0, took_s: float = 1, status: str = "succeeded", **fields: Any) -> Run:
    """A run that began `days` after NOON."""
    began = NOON + timedelta(days=days)
    ended = None if status == "running" else began + timedelta(seconds=took_s)
    fields = {"plan": PLAN, "created_at": began, "started_at": began, "finished_at": ended, "status": status} | fields
    run = Run.objects.create(owner=owner, **fields)
    ToolRun.objects.create(run=run, step="s1", position=0, server_slug="toy", tool="say", status="succeeded")
    return run


def listed(api: APIClient, **query: str) -> list[str]:
    return [each["id"] for each in api.get("/chain/runs", query).json()["results"]]


def ids(*runs: Run) -> list[str]:
    return [str(run.pk) for run in runs]


def test_runs_are_found_by_words_in_template_tools_inputs_and_error(api: APIClient, alice: User, bob: User) -> None:
    template = Template.objects.create(owner=alice, name="Weather report", plan=PLAN)
    named, given = ran(alice, template=template), ran(alice, days=1, inputs={"city": "Tromsø"})
    failed = ran(alice, days=2, status="failed", error={"code": "timeout", "message": "The server was too slow."})
    called = ran(alice, days=3)
    called.tool_runs.update(tool="translate")
    ran(bob, inputs={"city": "Tromsø"})
    assert listed(api, q="weather") == ids(named)
    assert listed(api, q="tromsø") == ids(given)
    assert listed(api, q="too slow") == ids(failed)
    assert listed(api, q="TRANS toy") == ids(called)
    assert listed(api, q="100%") == []


def test_runs_are_chosen_by_time_and_a_day_named_as_the_end_is_taken_in(api: APIClient, alice: User) -> None:
    _, second, third = (ran(alice, days=days) for days in range(3))
    assert listed(api, since="2030-05-02", until="2030-05-03") == ids(third, second)
    assert listed(api, since="2030-05-02T00:00:00Z", until="2030-05-03T12:00:00Z") == ids(second)


@pytest.mark.parametrize("query", [{"since": "soon"}, {"until": "9999-12-31"}, {"sort": "best"}, {"template": "x"}])
def test_a_filter_that_makes_no_sense_is_refused_and_the_page_says_so(
    api: APIClient, web: Client, query: dict[str, str]
) -> None:
    assert api.get("/chain/runs", query).status_code == 400
    assert "note bad" in web.get("/runs", query).content.decode()


def test_runs_in_order_of_how_long_they_took_page_by_page(api: APIClient, alice: User) -> None:
    quick, slow, middle = (ran(alice, days=day, took_s=took) for day, took in enumerate((0.5, 90_000, 3)))
    alike = ran(alice, took_s=3)
    ran(alice, status="running")
    found: list[str] = []
    there = "/chain/runs?sort=shortest&limit=1"
    while there:
        answer = api.get(there).json()
        found += [each["id"] for each in answer["results"]]
        there = answer["next"]
    assert found[0] == str(quick.pk)
    assert set(found[1:3]) == set(ids(middle, alike))
    assert found[3:] == ids(slow)
    assert listed(api, sort="longest")[0] == str(slow.pk)
    assert api.get(f"/chain/runs/{slow.pk}").json()["duration_ms"] == 90_000_000


def test_the_page_lists_filters_and_offers_to_compare_runs_of_one_template(web: Client, alice: User) -> None:
    template = Template.objects.create(owner=alice, name="Weather", plan=PLAN)
    for days in (0, 1):
        ran(alice, days=days, template=template, took_s=2.5)
    ran(alice, days=2, inputs={"who": "nobody else"})
    every, narrowed = (web.get("/runs", query).content.decode() for query in ({}, {"template": str(template.pk)}))
    assert ("nobody else" in every, "nobody else" in narrowed) == (True, False)
    assert (every.count('name="run"'), narrowed.count('name="run"')) == (0, 2)
    assert "2.5 s" in narrowed
    assert "<html" not in web.get("/runs", headers={"HX-Request": "true"}).content.decode()
    assert "No run fits" in web.get("/runs", {"status": "failed"}).content.decode()


def test_a_page_of_runs_costs_the_same_queries_however_long(
    web: Client, alice: User, django_assert_max_num_queries: Any
) -> None:
    for days in range(6):
        ran(alice, days=days, template=Template.objects.create(owner=alice, name=f"T{days}", plan=PLAN))
    with django_assert_max_num_queries(9):
        assert web.get("/runs").content.decode().count("<h3>") == 6


def two_runs(alice: User) -> tuple[Run, Run]:
    left, right = ran(alice, inputs={"city": "Oslo"}), ran(alice, days=1, inputs={"city": "Rome"}, took_s=4)
    left.tool_runs.update(duration_ms=100, arguments={"words": "a"}, result={"json": {"b": 1, "a": [1]}, "text": "x"})
    right.tool_runs.update(duration_ms=350, arguments={"words": "b"}, result={"json": {"a": [1, 2], "b": 1}})
    ToolRun.objects.create(run=right, step="s2", position=1, server_slug="toy", tool="hear", status="failed")
    return left, right


def test_what_differs_between_two_runs_is_told_step_by_step(alice: User) -> None:
    comparison = compared(*two_runs(alice))
    first, second = comparison.steps
    assert [(each.name, each.before, each.after) for each in comparison.inputs] == [("city", '"Oslo"', '"Rome"')]
    assert [(each.name, each.before, each.after) for each in first.arguments] == [("words", '"a"', '"b"')]
    assert (first.slower_ms, comparison.slower_ms) == (250, 3000)
    changed = [(old.line.strip(), new.line.strip()) for old, new in first.result if old.is_different]
    assert changed == [("1", "1,"), ("", "2")]
    assert (second.left, second.differs, comparison.different_steps) == (None, True, 2)


def test_runs_that_did_the_same_are_the_same(alice: User) -> None:
    assert compared(ran(alice), ran(alice, days=1)).is_same


def test_the_page_shows_two_runs_the_earlier_one_first(web: Client, alice: User, bob: User) -> None:
    left, right = two_runs(alice)
    right.tool_runs.update(tool="<b>hear</b>", error={"message": "<b>no</b>"})
    html = web.get("/runs/compare", {"run": [str(right.pk), str(left.pk)]}).content.decode()
    assert html.index(str(left.pk)) < html.index(str(right.pk))
    assert "250 ms longer" in html
    assert "<b>" not in html
    assert web.get("/runs/compare", {"run": [str(left.pk)]}).status_code == 302
    assert web.get("/runs/compare", {"run": [str(left.pk), str(ran(bob).pk)]}).status_code == 404
    assert web.get("/runs/compare?run=nonsense&run=").url == "/runs"


def test_the_events_of_a_run_are_a_list_in_their_order_for_its_owner(
    api: APIClient, bob_api: APIClient, alice: User
) -> None:
    run = ran(alice)
    for seq in (2, 1, 3):
        RunEvent.objects.create(run=run, seq=seq, type="STEP_STARTED", data={"step": f"s{seq}"})
    first = api.get(f"/chain/runs/{run.pk}/events?limit=2").json()
    assert [(each["seq"], each["data"]["step"]) for each in first["results"]] == [(1, "s1"), (2, "s2")]
    assert [each["seq"] for each in api.get(first["next"]).json()["results"]] == [3]
    assert bob_api.get(f"/chain/runs/{run.pk}/events").status_code == 404


def test_an_ended_run_can_be_drawn_as_it_was_before_it_began(web: Client, alice: User) -> None:
    run = ran(alice, outputs={"said": "hello there"})
    run.tool_runs.update(result={"text": "hello there"})
    html = web.get(f"/runs/{run.pk}?at=start", headers={"HX-Request": "true"}).content.decode()
    assert 'data-state="pending"' in html
    assert "hello there" not in html
    assert "hello there" in web.get(f"/runs/{run.pk}").content.decode()
