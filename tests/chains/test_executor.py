"""What happens to a run, seen from outside: real workers' code, real servers."""

import time

import pytest
from django.contrib.auth.models import User

from chains import services
from chains.events import publish
from chains.models import Result, Run, ToolRun
from chains.services import start_run
from registry.models import Connection, Server
from registry.services import accept_tools
from tests.chains.conftest import driven, event_types, plan, statuses, step, until
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
    assert run.results.get().kind == Result.Kind.OUTPUT


def test_events_tell_a_step_in_order(alice: User, text: Server, worker: WorkerByHand) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
    worker.run("runs")
    assert event_types(run) == [
        "RUN_STARTED",
        "PLAN_READY",
        "STEP_STARTED",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_RESULT",
        "STEP_FINISHED",
        "RUN_FINISHED",
    ]


def test_steps_that_do_not_need_each_other_run_at_the_same_time(
    alice: User, text: Server, worker: WorkerByHand
) -> None:
    slow = [step(f"s{n}", "text.slow", seconds=0.6) for n in range(4)]
    last = step("last", "text.upper", text={"$ref": "s0#/text"}) | {"needs": ["s1", "s2", "s3"]}
    run = start_run(user=alice, plan=plan(*slow, last))
    worker.run("runs")
    rows = {row.step: row for row in run.current_steps()}
    together = [rows[f"s{n}"] for n in range(4)]
    assert set(statuses(run).values()) == {"succeeded"}
    assert max(row.started_at for row in together) < min(row.finished_at for row in together)
    assert rows["last"].started_at >= max(row.finished_at for row in together)


def test_a_slow_tool_tells_how_far_it_is(alice: User, text: Server, worker: WorkerByHand) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "text.slow", seconds=1.5)))
    worker.run("runs")
    told = [event.data for event in run.events.filter(type="TOOL_CALL_PROGRESS")]
    assert 5 <= len(told) <= 10
    assert told[0] == {"step": "s1", "progress": 1, "total": 10, "message": "step 1 of 10"}


def test_a_failed_step_skips_what_needs_it_and_nothing_else(alice: User, text: Server, worker: WorkerByHand) -> None:
    needs_bad = step("after", "text.upper", text={"$ref": "bad#/text"})
    then = step("then", "text.upper", text={"$ref": "after#/text"})
    steps = [step("bad", "text.fail", message="on purpose"), needs_bad, then, step("free", "text.slow", seconds=0.3)]
    run = start_run(user=alice, plan=plan(*steps))
    worker.run("runs")
    assert statuses(run) == {"bad": "failed", "after": "skipped", "then": "skipped", "free": "succeeded"}
    assert (run.status, run.error["code"], run.error["step"]) == (Run.Status.FAILED, "tool_error", "bad")
    assert "on purpose" in run.error["message"]
    assert event_types(run)[-1] == "RUN_ERROR"


def test_a_step_that_takes_too_long_fails_in_time(alice: User, text: Server, worker: WorkerByHand) -> None:
    slow = step("s1", "text.slow", seconds=30) | {"timeout_s": 0.5, "retries": 0}
    run = start_run(user=alice, plan=plan(slow))
    began = time.monotonic()
    worker.run("runs")
    assert time.monotonic() - began < 10
    assert statuses(run) == {"s1": "failed"}
    assert run.error["code"] == "timeout"


def test_a_server_that_is_gone_fails_the_step_with_what_to_do(alice: User, text: Server, worker: WorkerByHand) -> None:
    Server.objects.filter(pk=text.pk).update(url="http://127.0.0.1:9/mcp")
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a") | {"retries": 1}))
    worker.run("runs")
    assert statuses(run) == {"s1": "failed"}
    assert run.error["code"] == "unreachable"
    assert "retry" in run.error["message"].lower()


def test_a_running_call_is_cancelled_within_two_seconds(alice: User, text: Server) -> None:
    steps = [step("s1", "text.slow", seconds=30), step("s2", "text.upper", text={"$ref": "s1#/text"})]
    run = start_run(user=alice, plan=plan(*steps))
    with driven(run):
        until(lambda: statuses(run)["s1"] == "running")
        asked = time.monotonic()
        services.cancel(run=run)
        until(lambda: statuses(run) and run.is_finished)
        assert time.monotonic() - asked < 2
    assert statuses(run) == {"s1": "cancelled", "s2": "cancelled"}
    assert (run.status, event_types(run)[-1]) == (Run.Status.CANCELLED, "RUN_FINISHED")


def test_a_run_that_nobody_drives_is_cancelled_at_once(alice: User, text: Server, worker: WorkerByHand) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
    assert services.cancel(run=run).status == Run.Status.CANCELLED
    worker.run("runs")
    assert statuses(run) == {"s1": "cancelled"}
    assert event_types(run)[-1] == "RUN_FINISHED"


def test_a_step_waits_for_its_approval_while_others_go_on(
    alice: User, text: Server, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    Connection.objects.filter(server=files).update(approval_default="")
    steps = [step("ask", "files.write_file", path="a.txt", content="hello"), step("free", "text.upper", text="a")]
    run = start_run(user=alice, plan=plan(*steps), approval="auto")
    worker.run("runs")
    assert statuses(run) == {"ask": "awaiting_approval", "free": "succeeded"}
    assert run.status == Run.Status.AWAITING_APPROVAL
    asked = run.events.get(type="APPROVAL_REQUIRED").data
    assert asked["arguments"] == {"path": "a.txt", "content": "hello"}
    with pytest.raises(services.Conflict):
        services.approve(run=run, user=alice, approval_hash="something else")
    assert not (toy_files.root / "a.txt").exists()
    services.approve(run=run, user=alice, approval_hash=asked["approval_hash"])
    worker.run("runs")
    assert statuses(run) == {"ask": "succeeded", "free": "succeeded"}
    assert (toy_files.root / "a.txt").read_text() == "hello"
    assert run.tool_runs.get(step="ask").approved_by == alice


def test_an_approval_is_for_the_tool_as_it_was_shown(alice: User, files: Server, worker: WorkerByHand) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "files.write_file", path="a", content="b")), approval="ask")
    worker.run("runs")
    shown = run.tool_runs.get().approval_hash
    files.tools.filter(name="write_file").update(schema_hash="another definition")
    accept_tools(user=alice, server=files, seen={"write_file": "another definition"})
    services.approve(run=run, user=alice, approval_hash=shown)
    worker.run("runs")
    assert statuses(run) == {"s1": "awaiting_approval"}
    assert run.tool_runs.get().approval_hash != shown


def test_an_approval_reaches_a_run_that_is_still_working(alice: User, text: Server, files: Server) -> None:
    asks = step("ask", "files.write_file", path="a", content="b") | {"approval": "ask"}
    run = start_run(user=alice, plan=plan(asks, step("slow", "text.slow", seconds=2)))
    with driven(run):
        until(lambda: statuses(run)["ask"] == "awaiting_approval")
        services.approve(run=run, user=alice, approval_hash=run.tool_runs.get(step="ask").approval_hash)
        until(lambda: statuses(run)["ask"] == "succeeded")
        assert statuses(run)["slow"] == "running"
    assert statuses(run) == {"ask": "succeeded", "slow": "succeeded"}


def test_a_rejected_step_does_not_run(alice: User, files: Server, toy_files: Toy, worker: WorkerByHand) -> None:
    asks = step("s1", "files.write_file", path="a", content="b") | {"approval": "ask"}
    after = step("s2", "files.read_file", path={"$ref": "s1#/text"})
    run = start_run(user=alice, plan=plan(asks, after))
    worker.run("runs")
    services.reject(run=run, user=alice)
    worker.run("runs")
    assert statuses(run) == {"s1": "cancelled", "s2": "skipped"}
    assert (run.status, run.error["code"]) == (Run.Status.FAILED, "rejected")
    assert not (toy_files.root / "a").exists()


def test_retry_goes_on_from_the_first_unfinished_step(
    alice: User, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    written = step("s1", "files.write_file", path="a", content="b")
    read = step("s2", "files.read_file", path="missing") | {"needs": ["s1"]}
    run = start_run(user=alice, plan=plan(written, read))
    worker.run("runs")
    assert statuses(run) == {"s1": "succeeded", "s2": "failed"}
    (toy_files.root / "missing").write_text("here")
    services.retry(run=run)
    worker.run("runs")
    assert statuses(run) == {"s1": "succeeded", "s2": "succeeded"}
    assert (toy_files.root / ".writes").read_text() == "a\n"
    assert [(row.step, row.attempt) for row in run.current_steps()] == [("s1", 1), ("s2", 2)]


def test_a_run_dispatched_twice_is_driven_once(alice: User, files: Server, toy_files: Toy) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "files.write_file", path="a", content="b")))
    with driven(run), driven(run):
        until(lambda: statuses(run)["s1"] == "succeeded")
    assert (toy_files.root / ".writes").read_text() == "a\n"
    assert event_types(run).count("RUN_FINISHED") == 1


def test_a_revoked_tool_is_not_called(alice: User, text: Server, worker: WorkerByHand) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
    Connection.objects.all().delete()
    worker.run("runs")
    assert statuses(run) == {"s1": "failed"}
    assert run.error["code"] == "not_authorised"


def test_arguments_that_turn_out_wrong_are_not_sent(alice: User, text: Server, worker: WorkerByHand) -> None:
    wrong = step("s2", "text.slow", seconds={"$ref": "s1#/json"})
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text='"many"'), wrong))
    worker.run("runs")
    assert statuses(run) == {"s1": "succeeded", "s2": "failed"}
    assert run.error["code"] == "invalid_arguments"


def test_a_large_result_is_a_file_and_still_whole_for_the_next_step(
    alice: User, text: Server, worker: WorkerByHand
) -> None:
    long = "word " * 5_000
    steps = [step("s1", "text.upper", text=long), step("s2", "text.count_words", text={"$ref": "s1#/text"})]
    run = start_run(
        user=alice, plan=plan(*steps, outputs={"all": {"$ref": "s1#/text"}, "n": {"$ref": "s2#/json/words"}})
    )
    worker.run("runs")
    first, second = run.current_steps()
    assert second.result["json"] == {"words": 5_000, "characters": len(long)}
    assert len(first.result["text"]) < 3_000
    kept = Result.objects.get(pk=first.result["files"][0]["id"])
    assert kept.file.read() == long.upper().encode()
    run.refresh_from_db()
    assert run.outputs["n"] == 5_000
    assert run.outputs["all"]["file"]["size_bytes"] == len(long)


def test_an_interrupted_write_is_not_repeated_but_a_read_is(
    alice: User, text: Server, files: Server, toy_files: Toy, worker: WorkerByHand
) -> None:
    writes = step("w", "files.write_file", path="a", content="b")
    run = start_run(user=alice, plan=plan(writes, step("r", "text.upper", text="a")))
    run.tool_runs.update(status=ToolRun.Status.RUNNING)
    worker.run("runs")
    assert statuses(run) == {"w": "unknown", "r": "succeeded"}
    assert run.status == Run.Status.AWAITING_APPROVAL
    assert not (toy_files.root / "a").exists()


def test_a_step_that_kills_its_worker_every_time_is_given_up(alice: User, text: Server, worker: WorkerByHand) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a")))
    publish(run.pk, [("STEP_STARTED", {"step": "s1", "attempt": 1})] * 3)
    run.tool_runs.update(status=ToolRun.Status.RUNNING)
    worker.run("runs")
    assert statuses(run) == {"s1": "failed"}
    assert run.error["code"] == "worker_died"


def test_a_mistake_of_ours_ends_the_run_and_says_so(
    alice: User, text: Server, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chains.artifacts.result_of", lambda called: 1 / 0)
    then = step("s2", "text.upper", text={"$ref": "s1#/text"})
    run = start_run(user=alice, plan=plan(step("s1", "text.upper", text="a"), then))
    worker.run("runs")
    assert statuses(run) == {"s1": "unknown", "s2": "skipped"}
    assert (run.status, run.error["code"]) == (Run.Status.FAILED, "internal")


def test_long_arguments_are_sent_whole_and_shown_short(alice: User, text: Server, worker: WorkerByHand) -> None:
    long = "word " * 10_000
    run = start_run(user=alice, plan=plan(step("s1", "text.count_words", text=long)))
    worker.run("runs")
    row = run.tool_runs.get()
    assert row.result["json"]["words"] == 10_000
    assert len(row.arguments["text"]) < 3_000


def test_an_optional_input_that_is_used_must_be_given(alice: User, text: Server) -> None:
    said = {"type": "object", "properties": {"said": {"type": "string"}}}
    shout = plan(step("s1", "text.upper", text={"$input": "/said"}), inputs=said)
    with pytest.raises(services.InputError, match="said"):
        start_run(user=alice, plan=shout)
