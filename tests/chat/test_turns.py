"""A message becomes a plan, runs on real servers and is answered, with a model that speaks the real protocol."""

import pytest
from django.contrib.auth.models import User

from chains.models import Result, Run
from registry.models import Server
from tests.chat.conftest import Say, draft, step
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)

UPPER_THEN_WRITE = (
    step("s1", "text.upper", text="hello"),
    step("s2", "files.write_file", path="hello.txt", content={"ref": "s1#/text"}),
)


def test_a_planned_turn_runs_its_steps_and_streams_the_answer(
    say: Say, model: Toy, text: Server, files: Server, toy_files: Toy
) -> None:
    model.script([draft(*UPPER_THEN_WRITE), {"text": "I wrote HELLO into hello.txt."}])
    turn = say("Write hello in capitals into hello.txt")
    assert turn.run.status == "succeeded"
    assert (toy_files.root / "hello.txt").read_text() == "HELLO"
    assert turn.run.plan["steps"][1]["arguments"]["content"] == {"$ref": "s1#/text"}
    assert turn.answer.content == turn.told == "I wrote HELLO into hello.txt."
