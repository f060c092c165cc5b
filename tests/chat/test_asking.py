"""What nobody gave is asked for with a form, and the turn goes on with what the form gives."""

import re
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from chains.models import Run
from registry.models import Server
from tests.chat.conftest import Say, carried_out, draft, step
from tests.conftest import WorkerByHand
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)

ASKS = draft(step("s1", "text.count_words", text={"ask": "Which text shall I count?"}), say="I count the words.")


def given(api: APIClient, run: Run, **inputs: Any) -> Any:
    return api.post(f"/chat/{run.pk}/inputs", {"inputs": inputs})


def test_an_argument_nobody_gave_is_asked_for_and_nothing_runs(say: Say, model: Toy, text: Server) -> None:
    model.script([ASKS])
    turn = say("Count the words")
    assert (turn.run.status, turn.run.plan, turn.answer.status) == ("awaiting_approval", None, "asking")
    assert "Which text shall I count?" in turn.answer.content
    (event,) = [event for event in turn.events if event.type == "INPUT_REQUIRED"]
    assert event.data["schema"]["required"] == ["text"]
    asked = event.data["schema"]["properties"]["text"]
    assert (asked["type"], asked["description"]) == ("string", "Which text shall I count?")
    assert not turn.run.tool_runs.exists()


def test_the_turn_goes_on_with_what_the_form_gives(
    say: Say, model: Toy, text: Server, api: APIClient, worker: WorkerByHand
) -> None:
    model.script([ASKS, {"text": "Two words."}])
    turn = say("Count the words")
    accepted = given(api, turn.run, text="hello world")
    assert (accepted.status_code, accepted.data["run_id"]) == (202, str(turn.run.pk))
    carried_out(turn.run, worker)
    assert (turn.run.status, turn.run.inputs) == ("succeeded", {"text": "hello world"})
    assert turn.result("s1")["json"] == {"words": 2, "characters": 11}
    assert (turn.answer.content, turn.answer.status) == ("Two words.", "done")
    assert turn.run.plan["inputs"]["required"] == ["text"]


def test_what_does_not_fit_the_form_is_refused_and_asked_for_again(
    say: Say, model: Toy, text: Server, api: APIClient
) -> None:
    model.script([ASKS])
    run = say("Count the words").run
    for inputs in ({}, {"text": 7}):
        refused = given(api, run, **inputs)
        assert refused.status_code == 400
        assert "text" in refused.json()["error"]["fields"]
    run.refresh_from_db()
    assert run.status == "awaiting_approval"


def test_a_form_is_answered_once_and_by_its_owner(
    say: Say, model: Toy, text: Server, api: APIClient, bob_api: APIClient
) -> None:
    model.script([ASKS, {"text": "One."}])
    run = say("Count the words").run
    assert given(bob_api, run, text="a").status_code == 404
    assert given(api, run, text="a").status_code == 202
    assert given(api, run, text="b").status_code == 409


def test_whoever_says_something_else_is_not_waited_for(say: Say, model: Toy, text: Server) -> None:
    model.script([ASKS, draft(step("s1", "text.count_words", text="a b")), {"text": "Two."}])
    first = say("Count the words")
    second = say("of a b", conversation_id=str(first.run.conversation_id))
    first.run.refresh_from_db()
    assert (first.run.status, second.answer.content) == ("cancelled", "Two.")


def test_a_file_the_model_made_up_is_asked_for_instead(say: Say, model: Toy, files: Server, toy_files: Toy) -> None:
    model.script([draft(step("s1", "files.write_file", path="output.txt", content="A poem"))])
    turn = say("Write a poem for me and keep it")
    assert turn.question.planning["form"]["schema"]["required"] == ["path"]
    assert turn.run.status == "awaiting_approval"
    assert len(model.requests()) == 1
    assert not (toy_files.root / "output.txt").exists()


def test_a_file_the_user_named_before_is_not_asked_for(say: Say, model: Toy, files: Server) -> None:
    model.script([draft(say=""), {"text": "Fine."}])
    first = say("We keep poems in verses.txt")
    model.script([draft(step("s1", "files.write_file", path="verses.txt", content="A poem")), {"text": "Kept."}])
    assert say("Write one", conversation_id=str(first.run.conversation_id)).run.status == "succeeded"


def test_a_second_plan_may_ask_too(say: Say, model: Toy, text: Server, api: APIClient, worker: WorkerByHand) -> None:
    asks = draft(step("s2", "text.count_words", text={"ask": "Which text instead?"}))
    model.script([draft(step("s1", "text.fail", message="no")), asks, {"text": "Two words."}])
    turn = say("Print it")
    assert turn.run.status == "awaiting_approval"
    assert turn.question.planning["form"]["schema"]["required"] == ["text"]
    assert given(api, turn.run, text="a b").status_code == 202
    assert carried_out(turn.run, worker).status == "succeeded"
    assert [each["id"] for each in turn.run.plan["steps"]] == ["s2"]


def test_a_required_argument_the_model_keeps_leaving_out_is_asked_for(say: Say, model: Toy, text: Server) -> None:
    model.script([draft(step("s1", "text.count_words"))] * 3)
    turn = say("Count the words")
    assert len(model.requests()) == 3
    assert turn.run.status == "awaiting_approval"
    assert turn.question.planning["form"]["schema"]["required"] == ["text"]
    described = turn.question.planning["form"]["schema"]["properties"]["text"]["description"]
    assert described == "the text whose words are counted"


def test_two_steps_that_lack_the_same_name_ask_twice(say: Say, model: Toy, text: Server) -> None:
    ask = {"ask": "Which text?"}
    model.script([draft(step("s1", "text.upper", text=ask), step("s2", "text.reverse", text=ask))])
    turn = say("Capitals of one text, and another one turned around")
    assert turn.question.planning["form"]["schema"]["required"] == ["text", "s2_text"]


def test_without_a_model_the_form_goes_on_too(
    say: Say, settings: Settings, files: Server, api: APIClient, worker: WorkerByHand, toy_files: Toy
) -> None:
    settings.LLM_PROVIDER = "offline"
    turn = say("Write a file")
    assert given(api, turn.run, path="a.txt", content="hello").status_code == 202
    carried_out(turn.run, worker)
    assert turn.run.status == "succeeded"
    assert (toy_files.root / "a.txt").read_text() == "hello"


def test_the_page_shows_the_form_and_takes_what_it_gives(
    say: Say, model: Toy, text: Server, web: Client, worker: WorkerByHand
) -> None:
    model.script([ASKS, {"text": "Two words."}])
    run = say("Count the words").run
    page = web.get(f"/?conversation={run.conversation_id}").content.decode()
    assert "Which text shall I count?" in page
    name = re.search(r'name="(lacking-[^"]+-text)"', page)
    assert name
    empty = web.post(f"/turns/{run.pk}/inputs", {}, headers={"HX-Request": "true"})
    assert "This field is required" in empty.content.decode()
    assert web.post(f"/turns/{run.pk}/inputs", {name[1]: "hello world"}).status_code == 302
    assert carried_out(run, worker).status == "succeeded"
    assert "lacking-" not in web.get(f"/?conversation={run.conversation_id}").content.decode()


def test_a_run_that_waits_for_a_form_can_be_stopped(say: Say, model: Toy, text: Server, api: APIClient) -> None:
    model.script([ASKS])
    run = say("Count the words").run
    assert api.post(f"/chain/runs/{run.pk}/cancel").data["status"] == "cancelled"
    assert given(api, run, text="a").status_code == 409
