"""`make eval`: how many plans of the connected model are right, and how many without decomposition.

It needs a model (OPENAI_API_KEY, OPENAI_BASE_URL …, docs/models.md) and the demo servers. Every plan is made by the
product itself and waits for approval, so nothing runs.
"""

import argparse
import datetime
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bench.__main__ import BOOK
from bench.machine import machine
from bench.questions import QUESTIONS, Question, is_right
from tests.stack import Stack, running_stack

PLANNED_S = 900  # a small model on a busy machine takes its time
READY_S = 300
OVER = ("awaiting_approval", "succeeded", "failed", "cancelled")
TOOLS_READY = ("time", "fetch", "filesystem", "everything", "memory", "git")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.evaluation")
    parser.add_argument("--append", action="store_true", help=f"add the result to {BOOK.name}")
    parser.add_argument("--only", choices=["with", "without"], help="with or without decomposition; default: both")
    parser.add_argument(
        "--kind", choices=sorted({question.kind for question in QUESTIONS}), help="only these questions"
    )
    parser.add_argument("--limit", type=int, default=len(QUESTIONS), help="so many questions")
    options = parser.parse_args()
    asked = [question for question in QUESTIONS if options.kind in (None, question.kind)][: options.limit]
    ways = [way for way in ("with", "without") if options.only in (None, way)]
    found = [evaluate(way, asked) for way in ways]
    text = "\n".join(["| decomposition | model | right | by kind |", "| --- | --- | --- | --- |", *found])
    print(text)
    if options.append:
        heading = f"## Plans, {datetime.date.today().isoformat()}"
        BOOK.write_text(f"{BOOK.read_text()}\n{heading}\n\n{machine()}. `make eval`.\n\n{text}\n")


def evaluate(way: str, asked: Sequence[Question]) -> str:
    """One row of the table."""
    with running_stack(CHAT_DECOMPOSE="1" if way == "with" else "0") as stack:
        wait_for_tools(stack)
        outcomes = [(question, *judged(stack, question)) for question in asked]
    model = next((model for *_, model in outcomes if model), "offline planner")
    right = sum(is_good for _, is_good, _ in outcomes)
    kinds = {question.kind: [good for other, good, _ in outcomes if other.kind == question.kind] for question in asked}
    by_kind = ", ".join(f"{kind} {sum(goods)}/{len(goods)}" for kind, goods in kinds.items())
    return f"| {way} | {model} | {right} of {len(asked)} | {by_kind} |"


def wait_for_tools(stack: Stack) -> None:
    deadline = time.monotonic() + READY_S
    while names := set(TOOLS_READY) - set(ready(stack)):
        if time.monotonic() > deadline:
            raise RuntimeError(f"These demo servers never came: {', '.join(sorted(names))}.")
        time.sleep(1)


def ready(stack: Stack) -> Iterator[str]:
    _, listed = stack.call("GET", "/registry?limit=50", token=stack.token)
    yield from (server["slug"] for server in listed["results"] if server["health"] == "ok" and server["connected"])


def judged(stack: Stack, question: Question) -> tuple[bool, str]:
    """Was the plan right, and which model made it?"""
    started = time.monotonic()
    sent = {"user_msg": question.text, "approval": "ask"}
    status, accepted = stack.call("POST", "/chat", sent, token=stack.token)
    if status != 202:
        raise RuntimeError(f"The message was not accepted: {accepted}")
    run, message = planned(stack, accepted["conversation_id"])
    planning: dict[str, Any] = message["planning"] or {}
    missing = " ".join(planning.get("missing", []))
    is_good = is_right(question, run["plan"], planning.get("form"), missing)
    took_s = time.monotonic() - started
    print(f"{'right' if is_good else 'WRONG'} {took_s:5.1f} s  {question.kind}: {question.text}", flush=True)
    if not is_good:
        print(f"        plan {run['plan']}, form {planning.get('form')}, missing {missing!r}", flush=True)
    stack.call("POST", f"/chain/runs/{run['id']}/cancel", {}, token=stack.token)
    return is_good, str(planning.get("model") or "")


def planned(stack: Stack, conversation_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run, once it is planned, and the question."""
    deadline = time.monotonic() + PLANNED_S
    while time.monotonic() < deadline:
        _, shown = stack.call("GET", f"/chat/{conversation_id}", token=stack.token)
        if shown["runs"][0]["status"] in OVER:
            return shown["runs"][0], shown["messages"][0]
        time.sleep(0.5)
    raise RuntimeError("The message was never planned.")


if __name__ == "__main__":
    main()
