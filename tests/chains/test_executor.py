import pytest
from django.contrib.auth.models import User

from chains.models import Run
from chains.services import start_run
from registry.models import Server
from tests.chains.conftest import event_types, plan, statuses, step
from tests.conftest import WorkerByHand
from tests.toys import Toy

WORDS = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
pytestmark = pytest.mark.django_db(transaction=True)


def test_three_steps_pass_their_results_on_with_their_types(
    alice: User, text: Server, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    counted = step("count", "text.count_words", text={"$input": "/words"})
    values = {"n": {"$ref": "count#/json/words"}, "said": {"$ref": "count#/text"}}
    rendered = step("render", "text.render", template="{n:03d} words", values=values)
    written = step("write", "files.write_file", path="n.txt", content={"$format": "{render#/text}: {input#/words}"})
    run = start_run(user=alice, plan=plan(counted, rendered, written, inputs=WORDS), inputs={"words": "one two"})
    worker.run("runs")
    assert statuses(run) == {"count": "succeeded", "render": "succeeded", "write": "succeeded"}
    assert (toy_files.root / "n.txt").read_text() == "002 words: one two"
    assert run.status == Run.Status.SUCCEEDED
    assert list(run.outputs) == ["write"]
    assert event_types(run)[-3:] == ["TOOL_CALL_RESULT", "STEP_FINISHED", "RUN_FINISHED"]
