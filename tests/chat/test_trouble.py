"""Models that are down, slow, cut off or talk nonsense, people who press Stop, workers that die."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from pytest_django.fixtures import Settings

from chains import leases
from chains.models import Run
from chains.services import cancel
from chat import jobs, services
from chat.models import Message
from registry.models import Server
from tests.chains.conftest import somebody_waits_for_a_lock, until
from tests.chat.conftest import NOTHING_MORE, Say, Turn, draft, step
from tests.conftest import WorkerByHand
from tests.toys import Toy

pytestmark = pytest.mark.django_db(transaction=True)

A_PLAN = draft(step("s1", "text.upper", text="a"))
UPPER = "Turn “a” into capital letters with upper"


def test_when_the_model_is_down_the_offline_planner_takes_over_and_says_so(
    say: Say, model: Toy, settings: Settings, text: Server
) -> None:
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    turn = say(UPPER)
    assert turn.run.status == "succeeded"
    assert turn.result("s1")["text"] == "A"
    assert turn.answer.provider == "offline"
    assert "could not be reached" in turn.answer.note


def test_a_refused_key_is_named_and_the_turn_goes_on_without_the_model(say: Say, model: Toy, text: Server) -> None:
    model.script([{"status": 401, "message": "Incorrect API key provided"}])
    turn = say(UPPER)
    assert "refused the API key" in turn.answer.note
    assert turn.run.status == "succeeded"


def test_a_busy_model_is_asked_again_when_it_says(say: Say, model: Toy, text: Server) -> None:
    model.script([{"status": 429, "retry_after": 0.1}, A_PLAN, {"text": "It is A."}])
    turn = say(UPPER)
    assert (turn.answer.content, turn.answer.provider) == ("It is A.", "openai")


def test_an_answer_that_breaks_off_is_begun_anew(say: Say, model: Toy, text: Server) -> None:
    broken = {"text": "It is something long that will not be finished", "break_after": 3, "chunk_delay_s": 0.06}
    model.script([A_PLAN, broken, {"text": "It is A."}])
    turn = say(UPPER)
    assert turn.types.count("TEXT_MESSAGE_START") == 2
    assert turn.types.count("TEXT_MESSAGE_END") == 1
    assert turn.told == turn.answer.content == "It is A."


def test_an_answer_that_keeps_breaking_off_becomes_the_results_themselves(say: Say, model: Toy, text: Server) -> None:
    broken = {"text": "It is something long that will not be finished", "break_after": 3}
    model.script([A_PLAN, broken, broken])
    turn = say(UPPER)
    assert turn.run.status == "succeeded"
    assert "text.upper" in turn.answer.content
    assert "could not be reached, or the connection broke off" in turn.answer.note
    assert turn.told == turn.answer.content


def test_a_model_that_says_nothing_is_no_answer(say: Say, model: Toy, text: Server) -> None:
    model.script([A_PLAN, {"text": ""}, {"text": ""}])
    turn = say(UPPER)
    assert "text.upper" in turn.answer.content
    assert turn.answer.provider == "offline"


def test_text_that_no_database_stores_is_cleaned(say: Say, model: Toy, text: Server) -> None:
    model.script([draft(step("s1", "text.upper", text="a\x00b")), {"text": "A\x00B"}])
    turn = say(UPPER)
    assert (turn.result("s1")["text"], turn.answer.content) == ("AB", "AB")


def test_a_failed_run_is_explained_even_without_a_model(say: Say, model: Toy, text: Server) -> None:
    model.script([draft(step("s1", "text.fail", message="out of paper")), NOTHING_MORE, {"status": 400}])
    turn = say("Fail")
    assert turn.run.status == "failed"
    assert "out of paper" in turn.answer.content
    assert "try the run again" in turn.answer.content


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """`meanwhile(action)` does something from elsewhere while the test goes on."""
    threads: list[threading.Thread] = []

    def start(action: Callable[[], Any]) -> None:
        def act() -> None:
            action()
            connection.close()

        threads.append(threading.Thread(target=act))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(20)


def when(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 15
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return value


def test_stop_keeps_what_was_said_and_cancels_the_run(
    say: Say, model: Toy, text: Server, meanwhile: Callable[[Callable[[], Any]], None]
) -> None:
    slow = {"text": "one two three four five six seven eight nine ten", "chunk_delay_s": 0.5, "chunk_characters": 4}
    model.script([A_PLAN, slow])
    said = Run.objects.filter(events__type="TEXT_MESSAGE_CONTENT")
    meanwhile(lambda: cancel(run=when(said.first)))
    turn = say(UPPER)
    assert (turn.run.status, turn.answer.status) == ("cancelled", "stopped")
    assert turn.answer.content == turn.told
    assert turn.answer.content.startswith("one")
    assert "ten" not in turn.answer.content
    when(lambda: model.get("/left") == 1)  # the model stopped writing too


def test_stop_is_heard_while_the_model_thinks(
    say: Say, model: Toy, text: Server, meanwhile: Callable[[Callable[[], Any]], None]
) -> None:
    model.script([A_PLAN | {"delay_s": 15}])
    started = time.monotonic()
    meanwhile(lambda: cancel(run=when(Run.objects.filter(status="planning").first)))
    turn = say(UPPER)
    assert turn.run.status == "cancelled"
    assert time.monotonic() - started < 10
    when(lambda: model.get("/left") == 1)  # the model stopped thinking too, and is not asked again
    assert len(model.requests()) == 1
    assert not Message.objects.filter(run=turn.run, role="assistant").exists()


def test_a_half_written_answer_of_a_dead_worker_is_written_anew(
    say: Say, model: Toy, text: Server, alice: User, worker: WorkerByHand
) -> None:
    model.script([A_PLAN, {"text": "It is A."}])
    _, question, run = services.send_message(user=alice, user_msg=UPPER)
    worker.run("chat")
    worker.run("runs")
    claimed = leases.claim(run.pk)
    assert claimed is not None
    token = claimed.lease_token
    dead = services.start_answer(
        run=run, question=question, provider="openai", model="scripted", note="", lease_token=token
    )
    services.add_to_answer(answer=dead, delta="It is", lease_token=token)
    leases.release(run.pk, token)
    worker.run("chat")
    turn = Turn(Run.objects.get(pk=run.pk))
    assert turn.run.status == "succeeded"
    assert turn.told == turn.answer.content == "It is A."


def test_an_answer_and_its_run_end_together_or_not_at_all(
    model: Toy, text: Server, alice: User, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise OperationalError("the database went away")

    model.script([A_PLAN, {"text": "It is A."}, {"text": "It is A."}])
    _, _, run = services.send_message(user=alice, user_msg=UPPER)
    worker.run("chat")
    worker.run("runs")
    with monkeypatch.context() as patched:
        patched.setattr(services, "finish_run", broken)
        with pytest.raises(OperationalError):
            jobs.answer_turn(str(run.pk))
    turn = Turn(Run.objects.get(pk=run.pk))
    assert (turn.run.status, turn.answer.status) == ("running", "streaming")
    assert turn.types[-1] == "TEXT_MESSAGE_CONTENT"
    leases.release(run.pk, turn.run.lease_token)
    jobs.answer_turn(str(run.pk))
    turn = Turn(Run.objects.get(pk=run.pk))
    assert (turn.run.status, turn.answer.status, turn.answer.content) == ("succeeded", "done", "It is A.")
    assert turn.types[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]


def test_a_retried_run_is_answered_again(say: Say, model: Toy, text: Server, api: Any, worker: WorkerByHand) -> None:
    fails = draft(step("s1", "text.fail", message="no"))
    model.script([fails, NOTHING_MORE, {"text": "It failed."}, NOTHING_MORE, {"text": "Again it failed."}])
    turn = say("Fail")
    assert turn.answer.content == "It failed."
    assert api.post(f"/chain/runs/{turn.run.pk}/retry", {}, format="json").status_code < 300
    for queue in ("runs", "chat"):
        worker.run(queue)
    assert turn.answer.content == turn.told == "Again it failed."


def test_a_conversation_can_be_deleted_while_its_answer_is_written(alice: User) -> None:
    conversation, question, run = services.send_message(user=alice, user_msg="Hello")
    claimed = leases.claim(run.pk)
    assert claimed is not None

    def delete() -> None:
        services.delete_conversation(conversation=conversation)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            services.start_answer(
                run=run, question=question, provider="", model="", note="", lease_token=claimed.lease_token
            )
            deleting = pool.submit(delete)
            until(somebody_waits_for_a_lock)
        deleting.result(10)
    assert not Run.objects.exists() and not Message.objects.exists()
    with pytest.raises(leases.LostLease):
        services.start_answer(
            run=run, question=question, provider="", model="", note="", lease_token=claimed.lease_token
        )


def test_a_stop_that_came_while_the_plan_was_made_runs_no_step(
    model: Toy, text: Server, alice: User, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: Any, **options: Any) -> Any:
        planning = plan(*args, **options)
        cancel(run=run)
        return planning

    plan = jobs.planner.plan
    model.script([A_PLAN])
    _, _, run = services.send_message(user=alice, user_msg=UPPER)
    monkeypatch.setattr(jobs.planner, "plan", stopped)
    worker.run("chat")
    run.refresh_from_db()
    assert (run.status, run.tool_runs.count()) == ("cancelled", 0)
