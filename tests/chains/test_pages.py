"""Pages of runs, templates and results, and how a run is drawn."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from chains.drawing import drawing_of, drawing_of_plan
from chains.models import Result, Run, RunEvent, Template, ToolRun
from chains.services import save_template
from registry.models import Server, Tool
from registry.services import accept_tools, authorise
from tests.chains.conftest import plan, step

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true", "Accept": "text/html"}
HOSTILE = "<img src=x onerror=alert(1)>"
CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}


@pytest.fixture
def toy(alice: User) -> Server:
    """A server with one tool that takes anything."""
    server = Server.objects.create(slug="toy", name="toy", url="https://toy.example/mcp", transport="sse", owner=alice)
    Tool.objects.create(server=server, name="say", input_schema={"type": "object"}, schema_hash="a", content_hash="a")
    authorise(user=alice, server=server, approval={"default": "auto"})
    return server


def made_run(user: User, data: Any, status: str = "running", **rows: str) -> Run:
    """A run with a journal row for each step, in the state given by its name (`s1="succeeded"`)."""
    run = Run.objects.create(owner=user, plan=data, status=status, last_seq=9)
    for position, item in enumerate(data["steps"]):
        state = rows.get(item["id"], "pending")
        ToolRun.objects.create(
            run=run, step=item["id"], position=position, server_slug="toy", tool="say", arguments=item["arguments"],
            status=state, approval_hash="abc" if state == "awaiting_approval" else "",
        )  # fmt: skip
    return run


def html_of(web: Client, path: str, **headers: str) -> str:
    response = web.get(path, headers={"Accept": "text/html"} | headers)
    assert response.status_code == 200
    return response.content.decode()


def two_steps() -> dict[str, Any]:
    second = step("s2", "toy.say", words={"$ref": "s1#/json/name"}, note={"$format": "{s1#/text}, {input#/city}!"})
    return plan(step("s1", "toy.say", words="hello"), second)


def test_columns_are_steps_that_may_run_side_by_side() -> None:
    data = plan(step("a", "t.x"), step("b", "t.x"), step("c", "t.x", v={"$ref": "a#/text"}) | {"needs": ["b"]})
    columns = [[card.step for card in column] for column in drawing_of_plan(data).columns]
    assert columns == [["a", "b"], ["c"]]
    assert drawing_of_plan(data).columns[1][0].needs == "b a"


def test_references_are_shown_by_name() -> None:
    words, note = drawing_of_plan(two_steps()).cards[1].arguments
    assert [(segment.text, segment.is_reference) for segment in words.segments] == [("← s1 name", True)]
    assert [segment.text for segment in note.segments] == ["← s1 text", ", ", "← city", "!"]


@pytest.mark.parametrize("data", [None, [], {"version": 1, "steps": "x"}, {"version": 1, "steps": [{"id": "a"}]}])
def test_a_plan_that_cannot_be_read_is_drawn_as_its_problems(data: Any) -> None:
    drawing = drawing_of_plan(data)
    assert drawing.cards == []
    assert drawing.problems


def test_of_every_step_the_newest_attempt_is_drawn(alice: User) -> None:
    run = made_run(alice, two_steps(), s1="failed")
    ToolRun.objects.create(
        run=run, step="s1", position=0, server_slug="toy", tool="say", status="succeeded", attempt=2,
        result={"text": "done now"},
    )  # fmt: skip
    card = drawing_of(run).cards[0]
    assert (card.state, card.attempt, card.output) == ("succeeded", 2, "done now")


def test_what_streamed_so_far_is_drawn_up_to_the_sequence_number_told(alice: User) -> None:
    run = made_run(alice, two_steps(), s1="running")
    for seq, message in ((8, "one"), (9, "two"), (10, "three")):
        data = {"step": "s1", "progress": seq, "total": 10, "message": message}
        RunEvent.objects.create(run=run, seq=seq, type="TOOL_CALL_PROGRESS", data=data)
    drawing = drawing_of(run)
    assert (drawing.seq, drawing.cards[0].output, drawing.cards[0].progress["progress"]) == (9, "one\ntwo", 9)


def test_a_run_is_drawn_with_few_queries_and_htmx_gets_only_the_live_part(
    web: Client, alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    run = made_run(alice, plan(*[step(f"s{number}", "toy.say") for number in range(30)]))
    with django_assert_max_num_queries(8):
        html = html_of(web, f"/runs/{run.pk}", **HTMX)
    assert "<html" not in html
    assert f'data-live="{run.pk}"' in html
    assert 'data-seq="9"' in html


def test_what_tools_and_servers_say_is_never_markup(web: Client, alice: User) -> None:
    run = made_run(alice, plan(step("s1", "toy.say", words=HOSTILE)), status="failed", s1="failed")
    run.tool_runs.update(tool=HOSTILE, error={"code": HOSTILE, "message": HOSTILE}, result={"text": HOSTILE})
    Run.objects.update(outputs={HOSTILE: HOSTILE}, error={"message": HOSTILE}, inputs={HOSTILE: HOSTILE})
    for path in (f"/runs/{run.pk}", "/runs"):
        assert HOSTILE not in html_of(web, path)


def test_what_a_model_answered_is_markdown_and_what_a_tool_gave_is_text(web: Client, alice: User) -> None:
    run = made_run(alice, plan(step("s1", "toy.say")), status="succeeded", s1="succeeded")
    Run.objects.update(outputs={"answer": f"**Good** news {HOSTILE} [x](javascript:alert(1))", "n": 3})
    assert "**Good** news" in html_of(web, f"/runs/{run.pk}")
    Run.objects.update(kind="chat")
    html = html_of(web, f"/runs/{run.pk}")
    assert "<strong>Good</strong> news" in html
    assert (HOSTILE in html, 'href="javascript' in html) == (False, False)


def test_a_waiting_step_shows_its_exact_arguments_and_is_approved(web: Client, alice: User, toy: Server) -> None:
    run = made_run(alice, two_steps(), status="awaiting_approval", s1="awaiting_approval")
    assert "&quot;words&quot;: &quot;hello&quot;" in html_of(web, f"/runs/{run.pk}")
    response = web.post(f"/runs/{run.pk}/approve", {"step": "s1", "approval_hash": "abc"}, headers=HTMX)
    assert (response.status_code, str(run.pk) in response.headers["HX-Trigger"]) == (204, True)
    assert run.tool_runs.get(step="s1").approved_by == alice


def test_approving_what_has_changed_since_is_refused_with_a_reason(web: Client, alice: User) -> None:
    run = made_run(alice, two_steps(), status="awaiting_approval", s1="awaiting_approval")
    response = web.post(f"/runs/{run.pk}/approve", {"step": "s1", "approval_hash": "old"}, headers=HTMX)
    assert response.status_code == 409
    assert "changed" in response.json()["error"]["message"]


def test_a_button_without_javascript_leads_to_the_run_and_refusals_are_messages(web: Client, alice: User) -> None:
    run = made_run(alice, two_steps(), s1="running")
    assert web.post(f"/runs/{run.pk}/cancel").url == f"/runs/{run.pk}"
    back = {"Referer": f"http://testserver/runs/{run.pk}"}
    again = web.post(f"/runs/{run.pk}/cancel", headers=back, follow=True)
    assert "This run is over" in again.content.decode()


def test_a_failed_step_says_what_to_do_next(web: Client, alice: User) -> None:
    run = made_run(alice, two_steps(), status="failed", s1="failed")
    run.tool_runs.filter(step="s1").update(error={"code": "needs_auth", "message": "The server asks for a key."})
    html = html_of(web, f"/runs/{run.pk}")
    assert "The server asks for a key." in html
    assert "enter its credentials" in html
    assert "Retry" in html


def test_runs_templates_and_results_of_others_do_not_exist(web: Client, bob: User) -> None:
    run = made_run(bob, two_steps())
    template = Template.objects.create(owner=bob, name="Theirs", plan=two_steps())
    assert web.get(f"/runs/{run.pk}").status_code == 404
    assert web.post(f"/runs/{run.pk}/cancel").status_code == 404
    assert web.get(f"/templates/{template.pk}").status_code == 404
    assert web.get(f"/runs/{uuid.uuid4()}").status_code == 404
    assert "Theirs" not in html_of(web, "/templates")


def test_a_run_is_saved_as_a_template_and_executed_from_there(web: Client, alice: User, toy: Server) -> None:
    run = made_run(alice, plan(step("s1", "toy.say", words="hello")), status="succeeded", s1="succeeded")
    saved = web.post(f"/runs/{run.pk}/template", {"name": "Greeting", "description": "Says hello"})
    template = Template.objects.get(owner=alice)
    assert saved.url == f"/templates/{template.pk}"
    started = web.post(f"/templates/{template.pk}/execute")
    assert started.url == template.runs.get().get_absolute_url()


def test_the_form_of_a_template_keeps_the_types_of_its_inputs(web: Client, alice: User, toy: Server) -> None:
    data = plan(step("s1", "toy.say", words={"$input": "/city"}), inputs=CITY)
    template = Template.objects.create(owner=alice, name="City", plan=data)
    response = web.post(f"/templates/{template.pk}/execute", {"input-city": "Tokyo", "input-days": "3"})
    assert response.status_code == 302
    assert template.runs.get().inputs == {"city": "Tokyo", "days": 3}


@pytest.mark.parametrize("typed", [{"input-days": "3"}, {"input-city": "Tokyo", "input-days": "many"}])
def test_a_wrong_input_is_told_at_its_field_and_nothing_typed_is_lost(
    web: Client, alice: User, typed: dict[str, str]
) -> None:
    template = Template.objects.create(owner=alice, name="City", plan=plan(step("s1", "toy.say"), inputs=CITY))
    response = web.post(f"/templates/{template.pk}/execute", typed)
    assert response.status_code == 400
    assert "errorlist" in response.content.decode()
    assert all(f'value="{value}"' in response.content.decode() for value in typed.values())
    assert not Run.objects.exists()


def test_a_template_that_cannot_run_any_more_says_why(web: Client, alice: User) -> None:
    template = Template.objects.create(owner=alice, name="Old", plan=plan(step("s1", "gone.say")))
    response = web.post(f"/templates/{template.pk}/execute")
    assert response.status_code == 400
    assert "It cannot run as it is." in response.content.decode()
    assert "gone" in response.content.decode()


def test_the_sidebar_runs_what_needs_no_inputs_and_asks_for_the_rest(web: Client, alice: User) -> None:
    plain = Template.objects.create(owner=alice, name="Plain", plan=plan(step("s1", "toy.say")))
    asking = Template.objects.create(owner=alice, name="Asking", plan=plan(step("s1", "toy.say"), inputs=CITY))
    html = html_of(web, "/account")
    assert f'action="/templates/{plain.pk}/execute"' in html
    assert f'href="/templates/{asking.pk}#run"' in html


def test_a_template_is_renamed_and_deleted(web: Client, alice: User) -> None:
    template = Template.objects.create(owner=alice, name="Old name", plan=plan(step("s1", "toy.say")))
    web.post(f"/templates/{template.pk}/rename", {"name": "New name"})
    assert "New name" in html_of(web, "/templates")
    web.post(f"/templates/{template.pk}/delete")
    assert not Template.objects.exists()


def test_results_are_found_by_their_words_and_the_same_address_speaks_json(web: Client, alice: User) -> None:
    Result.objects.create(owner=alice, kind="summary", title="Time in Tokyo", summary="It was late.")
    Result.objects.create(owner=alice, kind="summary", title="Weather")
    html = html_of(web, "/results?q=tokyo+late")
    assert "Time in Tokyo" in html
    assert "Weather" not in html
    assert web.get("/results").json()["count"] == 2


@pytest.mark.parametrize("path", ["/runs", "/templates", "/results"])
def test_lists_take_a_fixed_number_of_queries(
    web: Client, alice: User, path: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        run = made_run(alice, two_steps())
        Template.objects.create(owner=alice, name=f"T{number}", plan=two_steps())
        Result.objects.create(owner=alice, kind="summary", title="R", run=run)
    with django_assert_max_num_queries(9):
        html_of(web, path)


# Templates whose tools are not what they were


def kept(alice: User) -> str:
    return str(save_template(user=alice, name="Say it", plan=plan(step("s1", "toy.say", words="hi"))).pk)


def test_a_template_says_which_of_its_tools_changed_and_how(web: Client, alice: User, toy: Server) -> None:
    pk = kept(alice)
    toy.tools.update(schema_hash="b", description="Says it. Sends it on.")
    for path in ("/templates", f"/templates/{pk}"):
        assert "changed, and you have not accepted it yet" in html_of(web, path)
    html = html_of(web, f"/templates/{pk}")
    assert "Sends it on." in html[html.index('class="diff"') :]
    assert "Keep it with the tools" not in html


def test_a_template_is_kept_with_its_tools_as_they_are_now(web: Client, alice: User, toy: Server) -> None:
    pk = kept(alice)
    toy.tools.update(schema_hash="b", description="Says it. Sends it on.")
    accept_tools(user=alice, server=toy, seen={"say": "b"})
    assert "changed since this template was saved" in html_of(web, f"/templates/{pk}")
    web.post(f"/templates/{pk}/accept")
    assert "not what they were" not in html_of(web, f"/templates/{pk}")
    assert Template.objects.get().tool_hashes == {"toy/say": "b"}


def test_a_template_whose_tool_is_gone_says_so_and_is_not_kept(web: Client, alice: User, toy: Server) -> None:
    pk = kept(alice)
    toy.tools.update(removed_at=timezone.now())
    assert "is gone from its server" in html_of(web, "/templates")
    web.post(f"/templates/{pk}/accept")
    assert Template.objects.get().tool_hashes == {"toy/say": "a"}


def test_the_list_says_how_each_template_went_last(web: Client, alice: User, toy: Server) -> None:
    template = save_template(user=alice, name="Say it", plan=plan(step("s1", "toy.say", words="hi")))
    assert "last run" not in html_of(web, "/templates")
    for days, status in ((1, "failed"), (2, "succeeded")):
        run = made_run(alice, template.plan, status=status)
        Run.objects.filter(pk=run.pk).update(template=template, created_at=timezone.now() - timedelta(days=days))
    html = html_of(web, "/templates")
    assert (html.count("last run"), 'data-state="failed"' in html) == (1, True)


def test_a_list_of_templates_takes_few_queries(
    web: Client, alice: User, toy: Server, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(20):
        kept(alice)
    toy.tools.update(schema_hash="b")
    with django_assert_max_num_queries(14):
        assert html_of(web, "/templates").count("you have not accepted it yet") == 20
