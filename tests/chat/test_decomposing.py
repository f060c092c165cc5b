"""A long message is taken apart before tools are searched, so that each part finds its own."""

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from registry.models import Server
from tests.chat.conftest import Say, connected, draft, step
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)

TWO_DEEDS = "Turn the word hello around letter by letter, then keep it in hello.txt"
PLAN = draft(step("s1", "text.reverse", text="hello"))
QUESTIONS = {"json": {"questions": ["reverse a text", "write a file"]}}


@pytest.fixture
def many(alice: User, toy_many: Toy, text: Server, files: Server) -> Server:
    return connected(alice, toy_many, "many")


def test_the_model_splits_a_message_and_each_part_finds_its_tool(say: Say, model: Toy, many: Server) -> None:
    model.script([QUESTIONS, PLAN, {"text": "olleh"}])
    turn = say(TWO_DEEDS)
    assert turn.question.planning["queries"] == ["reverse a text", "write a file"]
    assert {"text.reverse", "files.write_file"} <= set(turn.question.planning["tools"])
    assert len(turn.question.planning["tools"]) == 12
    assert turn.question.model_calls == 2


def test_a_short_question_costs_no_call_for_that(say: Say, model: Toy, many: Server) -> None:
    model.script([PLAN, {"text": "olleh"}])
    assert say("Turn hello around").question.model_calls == 1


def test_who_has_few_tools_is_shown_them_all(say: Say, model: Toy, text: Server, files: Server) -> None:
    model.script([PLAN, {"text": "olleh"}])
    assert say(TWO_DEEDS).question.model_calls == 1


def test_it_can_be_switched_off(say: Say, model: Toy, many: Server, settings: Settings) -> None:
    settings.CHAT_DECOMPOSE = False
    model.script([PLAN, {"text": "olleh"}])
    turn = say(TWO_DEEDS)
    assert turn.question.model_calls == 1
    assert len(turn.question.planning["queries"]) == 2


def test_questions_that_cannot_be_read_leave_the_clauses(say: Say, model: Toy, many: Server) -> None:
    model.script([{"text": "Well, first of all"}, PLAN, {"text": "olleh"}])
    turn = say(TWO_DEEDS)
    assert turn.run.status == "succeeded"
    assert turn.question.planning["queries"][1].startswith("keep it in hello.txt")
