"""Questions asked instead of each other: edited, asked again, stopped, seen before they run."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from chains.models import Run
from chat.models import Conversation, Message
from registry.models import Server
from tests.chat.conftest import Say, Turn, carried_out, connected, draft, step
from tests.conftest import WorkerByHand
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)
UPPER = draft(step("s1", "text.upper", text="a"))


def branch(api: APIClient, turn: Turn) -> list[str]:
    shown = api.get(f"/chat/{turn.run.conversation_id}").json()
    by_id = {row["id"]: row for row in shown["messages"]}
    return [by_id[pk]["content"] for pk in shown["branch"]]


def test_an_edited_question_stands_beside_the_first_and_both_stay(api: APIClient, say: Say, web: Client) -> None:
    first = say("Hello")
    say("And now?", conversation_id=str(first.run.conversation_id))
    edited = api.post(f"/chat/messages/{first.question.pk}/edit", {"user_msg": "Good day"}, format="json")
    assert edited.status_code == 202
    assert branch(api, first) == ["Good day"]
    html = web.get(f"/?conversation={first.run.conversation_id}").content.decode()
    assert "2 / 2" in html
    assert "And now?" not in html.split('id="turns"')[1]
    old = web.get(f"/?conversation={first.run.conversation_id}&at={first.question.pk}").content.decode()
    assert "1 / 2" in old
    assert "And now?" in old.split('id="turns"')[1]


def test_a_question_goes_on_from_the_branch_that_is_named(api: APIClient, say: Say) -> None:
    first = say("Hello")
    conversation = str(first.run.conversation_id)
    api.post(f"/chat/messages/{first.question.pk}/edit", {"user_msg": "Good day"}, format="json")
    turn = say("And now?", conversation_id=conversation, after=str(first.question.pk))
    assert branch(api, turn) == ["Hello", "And now?"]


def test_a_model_is_told_only_its_own_branch(
    api: APIClient, say: Say, worker: WorkerByHand, model: Toy, text: Server
) -> None:
    model.script([draft(say=""), {"text": "Blue."}])
    first = say("My colour is blue")
    model.script([draft(say=""), {"text": "Red."}])
    edited = api.post(f"/chat/messages/{first.question.pk}/edit", {"user_msg": "My colour is red"}, format="json")
    carried_out(Run.objects.get(pk=edited.data["run_id"]), worker)
    model.script([draft(say=""), {"text": "It is red."}])
    say("Which colour?", conversation_id=str(first.run.conversation_id))
    told = json.dumps(model.requests())
    assert "red" in told
    assert "blue" not in told


def test_asking_again_is_a_new_run_and_no_write_is_repeated_in_silence(
    api: APIClient, say: Say, worker: WorkerByHand, model: Toy, files: Server, toy_files: Toy
) -> None:
    write = draft(step("s1", "files.write_file", path="once.txt", content="one"))
    model.script([write, {"text": "Written."}])
    first = say("Write one into once.txt")
    (toy_files.root / "once.txt").unlink()
    model.script([write, {"text": "Written again."}])
    again = api.post(f"/chat/messages/{first.question.pk}/regenerate")
    run = carried_out(Run.objects.get(pk=again.data["run_id"]), worker)
    assert run.pk != first.run.pk
    assert run.status == "awaiting_approval"
    assert not (toy_files.root / "once.txt").exists()


def test_what_only_read_is_asked_again_without_a_word(
    api: APIClient, say: Say, worker: WorkerByHand, model: Toy, text: Server
) -> None:
    model.script([UPPER, {"text": "A."}])
    first = say("Capitals of a")
    model.script([UPPER, {"text": "Still A."}])
    again = api.post(f"/chat/messages/{first.question.pk}/regenerate")
    assert carried_out(Run.objects.get(pk=again.data["run_id"]), worker).status == "succeeded"


def test_stopping_ends_what_goes_on(api: APIClient) -> None:
    sent = api.post("/chat", {"user_msg": "Hello"}, format="json").data
    assert api.post(f"/chat/{sent['conversation_id']}/stop").status_code == 200
    assert Run.objects.get(pk=sent["run_id"]).status == "cancelled"


def previewed(say: Say, model: Toy) -> Turn:
    steps = (step("s1", "text.upper", text="a"), step("s2", "text.reverse", text={"ref": "s1#/text"}))
    model.script([draft(*steps), {"text": "Done."}])
    return say("Capitals of a, turned", preview=True)


def test_a_plan_is_shown_changed_and_approved_once(
    api: APIClient, say: Say, worker: WorkerByHand, model: Toy, alice: User, toy_text: Toy, web: Client
) -> None:
    connected(alice, toy_text, "text", approval="ask")
    turn = previewed(say, model)
    assert (turn.run.status, turn.run.plan, turn.run.tool_runs.count()) == ("awaiting_approval", None, 0)
    assert "PLAN_PREVIEW" in turn.types
    html = web.get(f"/turns/{turn.run.pk}", headers={"HX-Request": "true"}).content.decode()
    assert "Approve and run" in html
    assert html.count('name="arguments-') == 2
    approved = api.post(f"/chat/{turn.run.pk}/plan", {"arguments": {"s1": {"text": "bc"}}}, format="json")
    assert approved.status_code == 202, approved.content
    carried_out(turn.run, worker)
    assert turn.result("s1")["text"] == "BC"


def test_a_changed_plan_that_is_wrong_is_refused_and_still_waits(
    api: APIClient, say: Say, model: Toy, text: Server
) -> None:
    turn = previewed(say, model)
    wrong: list[dict[str, Any]] = [{"s1": {"words": "a"}}, {"s9": {}}]
    for arguments in wrong:
        refused = api.post(f"/chat/{turn.run.pk}/plan", {"arguments": arguments}, format="json")
        assert refused.status_code == 400, refused.content
    turn.run.refresh_from_db()
    assert (turn.run.status, turn.run.plan) == ("awaiting_approval", None)
    assert api.post(f"/chat/{turn.run.pk}/plan").status_code == 202
    assert api.post(f"/chat/{turn.run.pk}/plan").status_code == 409


def test_the_next_question_gives_up_a_plan_that_waits(say: Say, model: Toy, text: Server) -> None:
    turn = previewed(say, model)
    model.script([draft(say=""), {"text": "Hello."}])
    say("Never mind", conversation_id=str(turn.run.conversation_id))
    turn.run.refresh_from_db()
    assert turn.run.status == "cancelled"


def test_conversations_are_found_by_words_renamed_and_pinned(api: APIClient, web: Client) -> None:
    sent = api.post("/chat", {"user_msg": "Where do oak planks come from?"}, format="json").data
    api.post("/chat", {"user_msg": "Something else"}, format="json")
    assert [row["id"] for row in api.get("/chat?q=planks OAK").json()["results"]] == [str(sent["conversation_id"])]
    assert api.get("/chat?q=planks beech").json()["count"] == 0
    changed = api.patch(f"/chat/{sent['conversation_id']}", {"title": "Oak", "pinned": True}, format="json")
    assert (changed.data["title"], changed.data["pinned"]) == ("Oak", True)
    web.post(f"/conversations/{sent['conversation_id']}/change", {"pinned": "no"})
    kept = Conversation.objects.get(pk=sent["conversation_id"])
    assert (kept.title, kept.pinned) == ("Oak", False)
    assert "Something else" not in web.get("/conversations?q=planks").content.decode().split("<main")[1]


def test_a_conversation_is_exported_to_read_and_to_keep(api: APIClient, say: Say, model: Toy, text: Server) -> None:
    model.script([UPPER, {"text": "It is **A**."}])
    turn = say("Capitals of a")
    where = f"/chat/{turn.run.conversation_id}/export"
    kept = json.loads(api.get(where).content)
    assert [row["content"] for row in kept["messages"]] == ["Capitals of a", "It is **A**."]
    told = api.get(f"{where}?as=markdown")
    assert told["Content-Disposition"] == 'attachment; filename="capitals-of-a.md"'
    for part in ("# Capitals of a", "> Capitals of a", "- `text.upper`: done", "It is **A**."):
        assert part in told.content.decode()


def test_what_is_others_cannot_be_edited_stopped_or_exported(api: APIClient, bob_api: APIClient) -> None:
    bobs = bob_api.post("/chat", {"user_msg": "Hi"}, format="json").data
    message, conversation, run = bobs["message_id"], bobs["conversation_id"], bobs["run_id"]
    mine = api.post("/chat", {"user_msg": "Mine"}, format="json").data["conversation_id"]
    asked = [
        api.post(f"/chat/messages/{message}/edit", {"user_msg": "Ha"}, format="json"),
        api.post(f"/chat/messages/{message}/regenerate"),
        api.post(f"/chat/{conversation}/stop"),
        api.post(f"/chat/{run}/plan"),
        api.get(f"/chat/{conversation}/export"),
        api.post("/chat", {"user_msg": "x", "conversation_id": mine, "after": message}, format="json"),
    ]
    assert [answer.status_code for answer in asked] == [404] * len(asked)
    assert Message.objects.count() == 2


def test_commands_name_own_templates_and_servers(web: Client, text: Server) -> None:
    found = web.get("/commands").json()["results"]
    assert found == [{"label": "text", "hint": "server", "insert": "With text: "}]


def test_a_finished_plan_becomes_a_template_that_asks_for_what_was_fixed(
    api: APIClient, say: Say, model: Toy, text: Server, web: Client
) -> None:
    model.script([draft(step("s1", "text.upper", text="oak"), step("s2", "text.upper", text="elm")), {"text": "Done."}])
    turn = say("Capitals of oak and elm")
    assert web.get(f"/runs/{turn.run.pk}/template").content.decode().count('name="parameters"') == 2
    wanted = {"name": "Two", "run_id": str(turn.run.pk), "parameters": ["s1/text", "s2/text"]}
    plan = api.post("/chain/templates", wanted, format="json").json()["plan"]
    assert plan["inputs"]["properties"]["text"]["default"] == "oak"
    assert plan["steps"][1]["arguments"] == {"text": {"$input": "/s2_text"}}
    refused = api.post("/chain/templates", wanted | {"parameters": ["s9/text"]}, format="json")
    assert refused.status_code == 400
