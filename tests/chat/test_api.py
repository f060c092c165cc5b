"""POST /chat and the conversations, as a client of the API sees them."""

import uuid
from typing import Any

import django_rq
import pytest
from rest_framework.test import APIClient

from chains.models import Run
from chat.models import Conversation, Message
from registry.models import Server
from tests.chat.conftest import Say, draft, step
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)


def post(api: APIClient, **fields: Any) -> Any:
    return api.post("/chat", fields, format="json")


def test_a_message_is_acknowledged_at_once_and_its_planning_queued(api: APIClient) -> None:
    sent = post(api, user_msg="Hello there")
    assert sent.status_code == 202
    run = Run.objects.get(pk=sent.data["run_id"])
    message = Message.objects.get(pk=sent.data["message_id"])
    assert sent.data["stream_url"] == f"/chat/{run.pk}/stream"
    assert (run.kind, run.status, run.plan) == ("chat", "queued", None)
    assert (str(message.conversation_id), message.content, message.run) == (
        (sent.data["conversation_id"], "Hello there", run)
    )
    assert [event.type for event in run.events.all()] == ["RUN_STARTED"]
    assert django_rq.get_queue("chat").count == 1


def test_a_conversation_goes_on(api: APIClient) -> None:
    first = post(api, user_msg="One")
    second = post(api, user_msg="Two", conversation_id=first.data["conversation_id"])
    assert second.data["conversation_id"] == first.data["conversation_id"]
    assert Conversation.objects.get().messages.count() == 2


def test_the_wish_to_be_asked_goes_with_the_run(api: APIClient) -> None:
    sent = post(api, user_msg="One", approval="ask")
    assert Run.objects.get(pk=sent.data["run_id"]).approval == "ask"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user_msg": ""},
        {"user_msg": "  \n "},
        {"user_msg": None},
        {"user_msg": ["a"]},
        {"user_msg": "ä" * 16_001},
        {"user_msg": "a", "approval": "never"},
        {"user_msg": "a", "conversation_id": "not-an-id"},
        {"user_msg": "a\x00b"},
    ],
)
def test_what_cannot_be_said_is_refused_with_a_reason(api: APIClient, fields: dict[str, Any]) -> None:
    refused = post(api, **fields)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"]
    assert not Run.objects.exists()


def test_somebody_elses_conversation_does_not_exist(api: APIClient, bob_api: APIClient) -> None:
    bobs = post(bob_api, user_msg="Hi").data["conversation_id"]
    for conversation_id in (bobs, str(uuid.uuid4())):
        refused = post(api, user_msg="Hi", conversation_id=conversation_id)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")
        assert api.get(f"/chat/{conversation_id}").status_code == 404
        assert api.delete(f"/chat/{conversation_id}").status_code == 404
    assert Conversation.objects.count() == 1


def test_conversations_are_listed_by_their_newest_message(api: APIClient, bob_api: APIClient) -> None:
    post(bob_api, user_msg="not yours")
    older = post(api, user_msg="first").data["conversation_id"]
    post(api, user_msg="second")
    post(api, user_msg="again", conversation_id=older)
    listed = api.get("/chat", {"limit": 1}).json()
    assert ([row["title"] for row in listed["results"]], listed["count"]) == (["first"], 2)
    assert [row["title"] for row in api.get(listed["next"]).json()["results"]] == ["second"]


def test_a_conversation_shows_its_messages_and_runs(api: APIClient, say: Say, model: Toy, text: Server) -> None:
    model.script([draft(step("s1", "text.upper", text="a")), {"text": "It is A."}])
    turn = say("Capitals of a")
    shown = api.get(f"/chat/{turn.run.conversation_id}").json()
    assert [(row["role"], row["content"]) for row in shown["messages"]] == [
        ("user", "Capitals of a"),
        ("assistant", "It is A."),
    ]
    assert shown["runs"][0]["steps"][0]["result"]["text"] == "A"


def test_deleting_a_conversation_deletes_its_runs(api: APIClient) -> None:
    sent = post(api, user_msg="Hi").data
    assert api.delete(f"/chat/{sent['conversation_id']}").status_code == 204
    assert not Run.objects.exists()
    assert not Message.objects.exists()


def test_nobody_talks_without_signing_in() -> None:
    assert post(APIClient(), user_msg="Hi").status_code == 401


@pytest.mark.parametrize("name", ["pinned", "preview"])
@pytest.mark.parametrize("value", [0, "true", None])
def test_a_switch_of_a_conversation_is_true_or_false(api: APIClient, name: str, value: Any) -> None:
    sent = post(api, user_msg="One")
    address = f"/chat/{sent.data['conversation_id']}"
    assert api.patch(address, {name: value}, format="json").status_code == 400
    assert api.patch(address, {name: True}, format="json").data[name] is True


def test_the_title_of_a_conversation_is_a_text(api: APIClient) -> None:
    address = f"/chat/{post(api, user_msg='One').data['conversation_id']}"
    for title in (0, False, None, ["Two"]):
        assert api.patch(address, {"title": title}, format="json").status_code == 400
    assert api.patch(address, {"title": "Two"}, format="json").data["title"] == "Two"
