"""The editor: its plan is JSON in a form; cards are drawn from it and read back into it."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from chains.editing import dependants, done, rename_step
from chains.models import Run, Template, ToolRun
from chains.services import save_template, update_template
from registry.models import Server, Tool
from registry.services import authorise
from tests.chains.conftest import plan, step

pytestmark = pytest.mark.django_db
SAY = {
    "type": "object",
    "properties": {"words": {"type": "string"}, "times": {"type": "integer"}, "to": {"type": "array"}},
    "required": ["words"],
}
HEARD = {"type": "object", "properties": {"who": {"type": "object", "properties": {"name": {"type": "string"}}}}}


@pytest.fixture
def toy(alice: User) -> Server:
    server = Server.objects.create(slug="toy", name="toy", url="https://toy.example/mcp", transport="sse", owner=alice)
    Tool.objects.create(server=server, name="say", input_schema=SAY, schema_hash="a", content_hash="a")
    Tool.objects.create(
        server=server, name="hear", input_schema={"type": "object"}, output_schema=HEARD, schema_hash="b",
        content_hash="b",
    )  # fmt: skip
    authorise(user=alice, server=server, approval={"default": "auto"})
    return server


@pytest.fixture
def edit(web: Client, toy: Server) -> Callable[..., str]:
    """Post the editor's form as a browser would, `do` pressed; the page that comes back."""

    def press(data: Any, do: str = "look", **typed: Any) -> str:
        text = json.dumps(data, indent=2)
        answer = web.post("/templates/new", {"name": "New", "shown": text, "plan": text, "do": do} | typed)
        assert answer.status_code in (200, 302)
        return answer.content.decode() if answer.status_code == 200 else answer.headers["Location"]

    return press


def shown(page: str) -> Any:
    found = re.search(r'name="shown" value="([^"]*)"', page)
    assert found
    return json.loads(html.unescape(found[1]))


def text_of(page: str) -> str:
    found = re.search(r'<textarea class="code"\s+id="plan-text".*?>(.*?)</textarea>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


def fields(index: int, name: str, **more: str) -> dict[str, str]:
    return {f"s{index}-id": name} | {key.replace("_", "-"): value for key, value in more.items()}


def test_steps_are_added_moved_and_removed_by_buttons(edit: Callable[..., str]) -> None:
    data = shown(edit({"version": 1, "steps": []}, "add:toy/hear"))
    data = shown(edit(data, "add:toy/say"))
    assert [(item["id"], item["tool"]) for item in data["steps"]] == [("s1", "hear"), ("s2", "say")]
    assert [item["id"] for item in shown(edit(data, "up:1"))["steps"]] == ["s2", "s1"]
    assert [item["id"] for item in shown(edit(data, "remove:0"))["steps"]] == ["s2"]


def test_a_literal_keeps_the_type_of_the_tools_schema(edit: Callable[..., str]) -> None:
    data = plan(step("s1", "toy.say"))
    typed = fields(0, "s1", a0_0_kind="value", a0_0_value="hi", a0_2_kind="value", a0_2_value="3")
    typed |= {"a0-1-kind": "value", "a0-1-value": '["bob"]'}  # Postgres keeps properties by length of their names
    assert shown(edit(data, **typed))["steps"][0]["arguments"] == {"words": "hi", "times": 3, "to": ["bob"]}


def test_the_picker_offers_earlier_results_by_their_schema_and_inputs_and_no_circles(edit: Callable[..., str]) -> None:
    inputs = {"type": "object", "properties": {"city": {"type": "string"}}}
    later = step("s3", "toy.say", words={"$ref": "s2#/text"})
    page = edit(plan(step("s1", "toy.hear"), step("s2", "toy.say"), later, inputs=inputs))
    second = page[page.index('id="edit-1"') : page.index('id="edit-2"')]
    offered = re.findall(r'<option value="((?:step|input) [^"]*)"', second)
    expected = ["step s1#/text", "step s1#/json", "step s1#/json/who", "step s1#/json/who/name", "input /city"]
    assert offered[:5] == expected
    assert not any("s3#" in each for each in offered)


def test_the_picker_offers_what_a_tool_gave_lately_where_it_declares_nothing(
    edit: Callable[..., str], alice: User, bob: User, toy: Server
) -> None:
    gave(alice, toy, {"town": {"name": "Oslo"}, "days": [{"low": 1}]})
    gave(bob, toy, {"secret": 1})
    page = edit(plan(step("s1", "toy.say", words="a"), step("s2", "toy.say", words="b")))
    second = page[page.index('id="edit-1"') :]
    offered = re.findall(r'<option value="step s1#(/[^"]*)"[^>]*>([^<]*)</option>', second)
    lately = [pointer for pointer, words in offered if "as lately" in words]
    assert set(lately) == {"/json/town", "/json/town/name", "/json/days", "/json/days/0"}
    assert "secret" not in page
    picked = fields(0, "s1", a0_0_kind="value", a0_0_value="a") | fields(1, "s2", a1_0_kind="step s1#/json/town/name")
    assert shown(edit(shown(page), **picked))["steps"][1]["arguments"] == {"words": {"$ref": "s1#/json/town/name"}}


def gave(user: User, server: Server, value: Any) -> None:
    run = Run.objects.create(owner=user, plan={})
    ToolRun.objects.create(
        run=run, step="s", position=0, server=server, tool="say", status="succeeded", result={"json": value}
    )


def test_a_picked_reference_becomes_one_and_the_step_is_drawn_after_the_other(edit: Callable[..., str]) -> None:
    data = plan(step("s1", "toy.hear"), step("s2", "toy.say"))
    typed = fields(0, "s1") | fields(1, "s2", a1_0_kind="step s1#/json/who/name")
    page = edit(data, **typed)
    assert shown(page)["steps"][1]["arguments"] == {"words": {"$ref": "s1#/json/who/name"}}
    assert 'data-needs="s1"' in page
    assert page.count('class="layer"') == 2
    assert edit(data).count('class="layer"') == 1


def test_settings_are_read_and_empty_ones_left_out(edit: Callable[..., str]) -> None:
    data = plan(step("s1", "toy.say", words="a"), step("s2", "toy.say", words="b") | {"timeout_s": 5})
    typed = fields(0, "s1", a0_0_kind="value", a0_0_value="a", s0_retries="0", s0_approval="ask")
    typed |= fields(1, "s2", a1_0_kind="value", a1_0_value="b", s1_timeout_s="", s1_needs="s1")
    typed = {key.replace("timeout-s", "timeout_s"): value for key, value in typed.items()}
    first, second = shown(edit(data, **typed))["steps"]
    assert (first["retries"], first["approval"]) == (0, "ask")
    assert (second["needs"], "timeout_s" in second) == (["s1"], False)


def test_a_renamed_step_takes_its_references_along() -> None:
    words = {"$format": "{s1#/text} and {s10#/text}"}
    data = plan(step("s1", "toy.hear"), step("s2", "toy.say", words=words, to=[{"$ref": "s1#/json"}]), outputs={})
    data["steps"][1]["needs"] = ["s1"]
    second = rename_step(data, 0, "first")["steps"][1]
    assert second["arguments"] == {
        "words": {"$format": "{first#/text} and {s10#/text}"},
        "to": [{"$ref": "first#/json"}],
    }
    assert second["needs"] == ["first"]


def test_what_depends_on_a_step_is_found_through_others() -> None:
    steps = plan(
        step("a", "t.x"), step("b", "t.x", v={"$format": "{a#/text}"}), step("c", "t.x") | {"needs": ["b"]},
        step("d", "t.x"),
    )["steps"]  # fmt: skip
    assert dependants(steps, 0) == {"a", "b", "c"}


def test_inputs_and_outputs_are_added_filled_in_and_removed(edit: Callable[..., str]) -> None:
    data = done(done(plan(step("s1", "toy.hear")), "add-input"), "add-output")
    typed = {"i0-name": "count", "i0-type": "integer", "i0-default": "3", "i0-required": "on"}
    typed |= {"o0-name": "heard", "o0-kind": "step s1#/json"}
    found = shown(edit(data, **typed))
    assert found["inputs"]["properties"] == {"count": {"type": "integer", "default": 3}}
    assert (found["inputs"]["required"], found["outputs"]) == (["count"], {"heard": {"$ref": "s1#/json"}})
    assert "inputs" not in shown(edit(data, "remove-input:0"))
    assert "outputs" not in shown(edit(data, "remove-output:0"))


def test_problems_stand_at_their_step_and_the_card_is_marked(edit: Callable[..., str]) -> None:
    page = edit(plan(step("s1", "toy.say", words="a"), step("s2", "toy.say", words=5)))
    first, second = page.split('id="said-1"')
    assert "/steps/1/arguments/words" in second.split("</div>")[0]
    assert "/steps/1/arguments/words" not in first
    assert re.search(r'data-step="s2"\s+data-state="failed"', page)


@pytest.mark.parametrize("wrong", [{"retries": 99}, {"needs": ["s2"]}, {"needs": ["nobody"]}, {"id": "s2"}])
def test_a_plan_that_cannot_run_is_still_drawn(edit: Callable[..., str], wrong: dict[str, Any]) -> None:
    second = step("s2", "toy.say", words={"$ref": "s1#/text"})
    page = edit(plan(step("s1", "toy.hear") | wrong, second))
    assert len(re.findall(r'data-state="(?:failed|pending)"', page)) == 2
    assert "cannot be drawn" not in page
    assert "it from running" in page


def test_text_changed_in_the_json_view_wins_and_the_cards_follow(edit: Callable[..., str]) -> None:
    data, other = plan(step("s1", "toy.say", words="a")), plan(step("s9", "toy.hear"))
    typed = fields(0, "s1", a0_0_kind="value", a0_0_value="b")
    page = edit(data, plan=json.dumps(other), **typed)
    assert shown(page) == other
    assert 'value="s9"' in page
    assert json.loads(text_of(edit(data, **typed)))["steps"][0]["arguments"] == {"words": "b"}


def test_bad_json_is_kept_as_typed_is_not_saved_and_can_be_left(edit: Callable[..., str]) -> None:
    data, typed = plan(step("s1", "toy.say", words="a")), '{"version": 1, "steps": [</textarea>'
    page = edit(data, "save", plan=typed)
    assert text_of(page) == typed
    assert shown(page) == data
    assert not Template.objects.exists()
    taken = edit(data, "cards", plan=typed, **fields(0, "s1", a0_0_kind="value", a0_0_value="a"))
    assert json.loads(text_of(taken)) == data


def test_an_argument_that_is_no_json_stays_as_typed_and_is_not_saved(edit: Callable[..., str]) -> None:
    typed = fields(0, "s1", a0_0_kind="value", a0_0_value="a", a0_1_kind="value", a0_1_value='["half')
    page = edit(plan(step("s1", "toy.say", words="a")), "save", **typed)
    assert "[&quot;half</textarea>" in page
    assert "This is not JSON" in page
    assert not Template.objects.exists()


@pytest.mark.parametrize("data", [{}, {"steps": 5}, {"steps": [5, {"id": 7}, {"arguments": []}]}, {"inputs": []}])
def test_a_plan_that_is_wrong_in_any_way_is_shown_not_lost(edit: Callable[..., str], data: Any) -> None:
    assert shown(edit({"version": 1, "steps": []}, plan=json.dumps(data))) == data


def test_saving_makes_a_template_and_later_a_version(edit: Callable[..., str], web: Client) -> None:
    there = edit(plan(step("s1", "toy.hear")), "save")
    template = Template.objects.get()
    assert there == f"/templates/{template.pk}"
    text = json.dumps(plan(step("s1", "toy.say", words="a")))
    web.post(f"/templates/{template.pk}/edit", {"name": "Other", "shown": "", "plan": text, "do": "save"})
    template.refresh_from_db()
    assert (template.version, template.name, template.former.count()) == (2, "Other", 1)


def test_htmx_gets_only_the_editor_and_is_sent_on_after_saving(web: Client, toy: Server) -> None:
    text = json.dumps(plan(step("s1", "toy.hear")))
    headers = {"HX-Request": "true"}
    form = {"name": "New", "shown": text, "plan": text}
    page = web.post("/templates/new", form | {"do": "add:toy/say"}, headers=headers).content.decode()
    assert "<html" not in page
    saved = web.post("/templates/new", form | {"do": "save"}, headers=headers)
    assert saved.headers["HX-Redirect"] == f"/templates/{Template.objects.get().pk}"


def test_tools_are_searched_among_those_the_user_authorised(web: Client, toy: Server, bob: User) -> None:
    assert 'value="add:toy/hear"' in web.get("/templates/tools?q=").content.decode()
    web.force_login(bob)
    assert "add:toy" not in web.get("/templates/tools?q=").content.decode()


def test_an_owner_edits_and_others_do_not_see_it(web: Client, alice: User, bob: User, toy: Server) -> None:
    template = save_template(user=alice, name="Mine", plan=plan(step("s1", "toy.hear")))
    assert web.get(f"/templates/{template.pk}/edit").status_code == 200
    web.force_login(bob)
    assert web.get(f"/templates/{template.pk}/edit").status_code == 404


def test_a_tool_that_changed_is_told_in_the_editor_and_saving_accepts_it(web: Client, alice: User, toy: Server) -> None:
    template = save_template(user=alice, name="Mine", plan=plan(step("s1", "toy.hear")))
    Template.objects.update(tool_hashes={"toy/hear": "as it was"})
    assert "changed since this template was saved" in web.get(f"/templates/{template.pk}/edit").content.decode()
    text = json.dumps(template.plan)
    web.post(f"/templates/{template.pk}/edit", {"name": "Mine", "shown": text, "plan": text, "do": "save"})
    template.refresh_from_db()
    assert template.tool_hashes == {"toy/hear": "b"}


def test_the_largest_plan_fits_in_one_form(edit: Callable[..., str]) -> None:
    data = plan(*[step(f"s{number}", "toy.say", words="a") for number in range(50)])
    typed = {f"a{step}-{place}-{part}": "" for step in range(50) for place in range(15) for part in ("kind", "value")}
    assert len(shown(edit(data, **typed))["steps"]) == 50


# Saving over what somebody else saved, and tools that are not what they were


def overtaken(web: Client, alice: User, **form: str) -> tuple[Template, Any]:
    """A template opened at version 1, of which another version was saved before this one is."""
    template = save_template(user=alice, name="Ours", plan=plan(step("s1", "toy.hear")))
    update_template(template=template, plan=plan(step("s1", "toy.say", words="theirs")))
    mine = json.dumps(plan(step("s1", "toy.say", words="mine")))
    form = {"name": "Ours", "base": "1", "shown": mine, "plan": mine, "do": "save"} | form
    answer = web.post(f"/templates/{template.pk}/edit", form)
    template.refresh_from_db()
    return template, answer


def test_saving_over_a_newer_version_warns_shows_both_and_keeps_what_was_typed(
    web: Client, alice: User, toy: Server
) -> None:
    template, answer = overtaken(web, alice)
    page = answer.content.decode()
    assert (template.version, template.plan["steps"][0]["arguments"]) == (2, {"words": "theirs"})
    assert "Version 2 was saved while you edited version 1" in page
    assert "&quot;theirs&quot;" in page[page.index("From version 2 to yours") :]
    assert shown(page)["steps"][0]["arguments"] == {"words": "mine"}


def test_a_person_who_was_told_saves_over_it_and_the_other_version_stays(web: Client, alice: User, toy: Server) -> None:
    template, answer = overtaken(web, alice, do="overwrite:2")
    assert answer.status_code == 302
    assert (template.version, template.plan["steps"][0]["arguments"]) == (3, {"words": "mine"})
    assert template.former.get(version=2).plan["steps"][0]["arguments"] == {"words": "theirs"}
    assert "was saved while" in overtaken(web, alice, do="overwrite:1")[1].content.decode()


def test_saving_what_is_there_already_is_no_conflict(web: Client, alice: User, toy: Server) -> None:
    theirs = json.dumps(plan(step("s1", "toy.say", words="theirs")))
    template, answer = overtaken(web, alice, shown=theirs, plan=theirs)
    assert (answer.status_code, template.version) == (302, 2)


def test_the_api_refuses_a_plan_made_from_another_version(api: APIClient, alice: User, toy: Server) -> None:
    template = save_template(user=alice, name="Ours", plan=plan(step("s1", "toy.hear")))
    there, changed = f"/chain/templates/{template.pk}", plan(step("s1", "toy.say", words="a"))
    assert api.patch(there, {"plan": changed, "version": 1}).json()["version"] == 2
    late = api.patch(there, {"plan": plan(step("s1", "toy.hear")), "version": 1})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "template_changed")


def test_in_the_place_of_a_tool_that_is_gone_one_like_it_is_offered(edit: Callable[..., str], toy: Server) -> None:
    data = plan(step("s1", "toy.says", words="a"))
    assert 'value="swap:0/say"' in edit(data)
    changed = shown(edit(data, "swap:0/say"))
    assert changed["steps"] == [{"id": "s1", "server": "toy", "tool": "say", "arguments": {"words": "a"}}]
    assert "It can run" in edit(changed)


def test_what_was_given_as_an_argument_that_is_gone_is_carried_to_the_one_that_is_wanted(
    edit: Callable[..., str], toy: Server
) -> None:
    toy.tools.filter(name="say").update(input_schema=SAY | {"additionalProperties": False})
    data = plan(step("s1", "toy.say", text="hello", times=2))
    page = edit(data)
    button = re.search(r'value="(carry:0/[^"]*)">Give it as words', page)
    assert button
    typed = {"a0-0-kind": "value", "a0-0-value": ""} | fields(0, "s1", a0_2_kind="value", a0_2_value="2")
    typed |= {"a0-3-kind": "value", "a0-3-value": "hello"}
    assert shown(edit(data, html.unescape(button[1]), **typed))["steps"][0]["arguments"]["words"] == "hello"


@pytest.mark.parametrize(
    "deed", ["swap:9/say", "swap:0/", "carry:0/[]", "carry:0/{", 'carry:7/["a","b"]', "carry:0/[1,2]"]
)
def test_a_deed_that_makes_no_sense_changes_nothing(deed: str) -> None:
    data = plan(step("s1", "toy.say", words="a"))
    assert done(data, deed) == data


def test_the_editor_says_in_a_word_whether_the_plan_can_run(edit: Callable[..., str]) -> None:
    for data, verdict in (
        (plan(), "No steps yet"),
        (plan(step("s1", "toy.say")), "1 problem keeps it from running"),
        (plan(step("s1", "toy.say", words="a")), "It can run"),
    ):
        assert f'id="verdict" aria-live="polite">{verdict}<' in edit(data)
