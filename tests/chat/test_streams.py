"""GET /chat/{id}/stream: everything, in order, once."""

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from rest_framework.test import APIClient

from registry.models import Server
from tests.chat.conftest import Say, Turn, draft, step
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)


def get(api: APIClient, path: str, **headers: str) -> Any:
    """The answer with its stream read to the end, as the same user."""
    token = api._credentials["HTTP_AUTHORIZATION"] if api._credentials else ""

    async def read() -> Any:
        response = await AsyncClient().get(path, headers={"Authorization": token, **headers})
        response.body = b"".join([part async for part in response]) if response.streaming else response.content
        return response

    return async_to_sync(read)()


def events_in(body: bytes) -> list[dict[str, Any]]:
    blocks = [block for block in body.decode().split("\n\n") if block and not block.startswith(":")]
    found = []
    for block in blocks:
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        data = json.loads(lines["data"])
        assert (int(lines["id"]), lines["event"]) == (data["seq"], data["type"])
        found.append(data)
    return found


@pytest.fixture
def turn(say: Say, model: Toy, text: Server) -> Turn:
    model.script([draft(step("s1", "text.upper", text="a")), {"text": "It is A.", "chunk_delay_s": 0.06}])
    return say("Capitals of a")


def test_a_stream_without_a_beginning_starts_with_the_whole_run(api: APIClient, turn: Turn) -> None:
    response = get(api, f"/chat/{turn.run.pk}/stream")
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert (response.headers["Cache-Control"], response.headers["X-Accel-Buffering"]) == ("no-store", "no")
    events = events_in(response.body)
    assert events[0]["type"] == "STATE_SNAPSHOT"
    assert events[0]["snapshot"]["id"] == str(turn.run.pk)
    assert events[-1]["type"] == "RUN_FINISHED"


def test_a_viewer_that_was_cut_off_anywhere_misses_and_repeats_nothing(api: APIClient, turn: Turn) -> None:
    path = f"/chat/{turn.run.pk}/stream"
    whole = events_in(get(api, f"{path}?after=0").body)
    assert [event["type"] for event in whole] == turn.types
    for seq in (1, turn.run.last_seq // 2, turn.run.last_seq - 1):
        rest = events_in(get(api, path, **{"Last-Event-ID": str(seq)}).body)
        assert rest == whole[seq:]


def test_a_conversations_stream_is_that_of_its_newest_run(api: APIClient, say: Say, model: Toy, turn: Turn) -> None:
    model.script([{"json": {"say": "", "missing": [], "steps": []}}, {"text": "Hello."}])
    second = say("Hello", conversation_id=str(turn.run.conversation_id))
    events = events_in(get(api, f"/chat/{turn.run.conversation_id}/stream?after=0").body)
    assert {event["run_id"] for event in events} == {str(second.run.pk)}


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "٣", "9" * 30])
def test_a_number_that_is_none_is_refused(api: APIClient, turn: Turn, after: str) -> None:
    response = get(api, f"/chat/{turn.run.pk}/stream?after={after}")
    assert (response.status_code, response.headers["Content-Type"]) == (400, "application/json")


def test_a_stream_is_its_owners(bob_api: APIClient, turn: Turn) -> None:
    for identity in (turn.run.pk, turn.run.conversation_id):
        response = get(bob_api, f"/chat/{identity}/stream")
        assert (response.status_code, json.loads(response.body)["error"]["code"]) == (404, "not_found")
    assert get(APIClient(), f"/chat/{turn.run.pk}/stream").status_code == 401
