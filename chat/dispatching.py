"""Which job a chat's run needs next. Apart from chat.jobs: every process needs this, only a chat worker the models."""

from collections.abc import Iterable, Sequence

from chains.dispatch import DISPATCH, DRIVE_RUN, enqueue
from chains.models import Run, ToolRun

PLAN_TURN = "chat.jobs.plan_turn"
ANSWER_TURN = "chat.jobs.answer_turn"


def dispatch_chat(run: Run, steps: Sequence[ToolRun] | None) -> None:
    """A chat's run needs a plan, then its steps run, then an answer."""
    if run.plan is None:
        enqueue("chat", PLAN_TURN, run)
    elif has_unfinished_steps(run.current_steps() if steps is None else steps):
        enqueue("runs", DRIVE_RUN, run)
    else:
        enqueue("chat", ANSWER_TURN, run)


def register() -> None:
    DISPATCH[Run.Kind.CHAT] = dispatch_chat


def has_unfinished_steps(steps: Iterable[ToolRun]) -> bool:
    return any(step.status not in ToolRun.FINISHED or step.status in ToolRun.ASKING for step in steps)


def steps_of_plan(run: Run) -> list[ToolRun]:
    """The steps of the run's plan as it is now: what a revision dropped is not among them."""
    planned = {step["id"] for step in (run.plan or {}).get("steps", [])}
    return [step for step in run.current_steps() if step.step in planned]
