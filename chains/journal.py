"""What a run's driver writes down: a row before each call and after it, with the events that tell of it.

Every verb takes the driver's lease token and raises LostLease, having written nothing, for a driver that was replaced.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from chains import artifacts, events
from chains.dispatch import dispatch
from chains.events import publish
from chains.files import Stored, keep_files
from chains.leases import LostLease
from chains.models import Run, ToolRun
from chains.plan import Plan, Toolbox

Status = ToolRun.Status
UNKNOWN = {
    "code": "step_unknown",
    "message": "The worker stopped while this was being called, so it may have happened.",
}

DEADLY = {"code": "worker_died", "message": "The worker stopped every time it called this; it is not tried again."}
MAX_STARTS = 3


class CancelRequested(Exception):
    """Somebody asked for the run to stop."""


def standing(run: Run, plan: Plan) -> tuple[dict[str, ToolRun], Toolbox]:
    """Where the run stands, by step, and what its owner has authorised."""
    return {row.step: row for row in run.current_steps()}, toolbox_of(plan, run.owner)


def toolbox_of(plan: Plan, user: User) -> Toolbox:
    return Toolbox.of(plan.steps, user)


def settle_interrupted(run: Run, rows: Iterable[ToolRun], repeatable: set[str]) -> None:
    """Steps that were being called when the last driver died: only those that are safe to repeat run again."""
    interrupted = [row for row in rows if row.status == Status.RUNNING]
    starts = _starts(run)
    for row in interrupted:
        if row.step not in repeatable:
            close(row, Status.UNKNOWN, error=UNKNOWN)  # a person says what becomes of it
        elif starts[row.step, row.attempt] >= MAX_STARTS:
            close(row, Status.FAILED, error=DEADLY)
        else:
            row.status = Status.PENDING
    ended = [row for row in interrupted if row.status != Status.PENDING]
    told = [(events.STEP_FINISHED, finished_event(row)) for row in ended]
    told += [(events.APPROVAL_REQUIRED, asked(row, "unknown")) for row in ended if row.status == Status.UNKNOWN]
    write(run, interrupted, told)


def asked(row: ToolRun, reason: str) -> dict[str, Any]:
    """What a person is asked: `reason` is "approval" before a call, "unknown" after one that may have happened."""
    call = {"step": row.step, "server": row.server_slug, "tool": row.tool}
    return call | {"arguments": row.arguments, "approval_hash": row.approval_hash, "reason": reason}


def _starts(run: Run) -> "Counter[tuple[str, int]]":
    """How often each step was started, by its name and attempt."""
    return Counter(run.events.filter(type=events.STEP_STARTED).values_list("data__step", "data__attempt"))


def close(row: ToolRun, status: str, *, result: Any = None, error: Mapping[str, Any] | None = None) -> None:
    """Set what an ended step's row says; the caller writes it."""
    row.status, row.finished_at, row.error = status, timezone.now(), dict(error) if error else None
    row.result = row.result if result is None else result
    if row.started_at:
        row.duration_ms = max(0, round((row.finished_at - row.started_at).total_seconds() * 1000))


ROW_FIELDS = ["status", "arguments", "approval_hash", "approved_hash", "result", "error"]
ROW_FIELDS += ["started_at", "finished_at", "duration_ms"]


def write(run: Run, rows: Sequence[ToolRun], told: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Rows and events, together or not at all. Raises LostLease."""
    if not rows:
        return
    with transaction.atomic(savepoint=False):
        publish(run.pk, told, lease_token=run.lease_token)
        if len(rows) == 1:
            rows[0].save(update_fields=ROW_FIELDS)
        else:
            ToolRun.objects.bulk_update(rows, ROW_FIELDS)


def begin(run: Run, row: ToolRun, arguments: dict[str, Any]) -> None:
    row.status, row.arguments, row.started_at = Status.RUNNING, arguments, timezone.now()
    row.result = row.error = row.finished_at = row.duration_ms = None
    row.approved_hash = ""  # an approval is used once
    call = {"step": row.step, "server": row.server_slug, "tool": row.tool}
    told: list[tuple[str, dict[str, Any]]] = [
        (events.STEP_STARTED, call | {"attempt": row.attempt}),
        (events.TOOL_CALL_START, call),
        (events.TOOL_CALL_ARGS, {"step": row.step, "delta": json.dumps(arguments, ensure_ascii=False)}),
    ]
    write(run, [row], told)


def tell(run: Run, told: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """What running calls say."""
    publish(run.pk, told, lease_token=run.lease_token)


def ask(run: Run, row: ToolRun, arguments: dict[str, Any], approval_hash: str) -> None:
    """The step waits for somebody to approve exactly these arguments."""
    row.status, row.arguments, row.approval_hash = Status.AWAITING_APPROVAL, arguments, approval_hash
    write(run, [row], [(events.APPROVAL_REQUIRED, asked(row, "approval"))])


def end_step(
    run: Run,
    row: ToolRun,
    status: str,
    *,
    result: Any = None,
    files: Sequence[Stored] = (),
    error: Mapping[str, Any] | None = None,
) -> None:
    """A step's last word: result or error, and the files it left."""
    close(row, status, result=result, error=error)
    told: list[tuple[str, dict[str, Any]]] = [(events.STEP_FINISHED, finished_event(row))]
    if result is not None:
        told.insert(0, (events.TOOL_CALL_RESULT, {"step": row.step, "result": result}))
    with transaction.atomic():
        write(run, [row], told)
        keep_files(run, row.step, files)


def finished_event(row: ToolRun) -> dict[str, Any]:
    return {"step": row.step, "status": row.status, "duration_ms": row.duration_ms, "error": row.error}


def skip(run: Run, rows: Sequence[ToolRun], because: str) -> None:
    error = {"code": "skipped", "message": f"Step {because}, which it needs, has no result."}
    for row in rows:
        close(row, Status.SKIPPED, error=error)
    write(run, rows, [(events.STEP_FINISHED, finished_event(row)) for row in rows])


def hear_approval(row: ToolRun) -> None:
    """A person may have approved the step before it was asked about."""
    row.refresh_from_db(fields=["approved_hash", "approved_at", "edited_arguments"])


def answered_since(run: Run, rows: Sequence[ToolRun]) -> list[ToolRun]:
    """Of the waiting rows those that somebody has answered, as they are now in the database."""
    return list(ToolRun.objects.filter(pk__in=[row.pk for row in rows]).exclude(status__in=ToolRun.ASKING))


def look(run: Run) -> None:
    """Raises CancelRequested or LostLease when the driver must stop."""
    row = Run.objects.filter(pk=run.pk).values("lease_token", "cancel_requested_at").first()
    if row is None or row["lease_token"] != run.lease_token:
        raise LostLease(f"run {run.pk}, token {run.lease_token}")
    if row["cancel_requested_at"]:
        raise CancelRequested


def _held(run: Run) -> None:
    """Lock the run's row for the rest of the transaction. Raises CancelRequested or LostLease."""
    list(Run.objects.select_for_update().filter(pk=run.pk).values_list("pk"))
    look(run)


def park(run: Run, waiting: Sequence[ToolRun]) -> bool:
    """Give the run back until somebody answers; False where that has happened already."""
    with transaction.atomic():
        _held(run)
        if answered_since(run, waiting):
            return False
        Run.objects.filter(pk=run.pk).update(status=Run.Status.AWAITING_APPROVAL, lease_expires_at=None)
    return True


def hand_over(run: Run, rows: Sequence[ToolRun]) -> None:
    """This job has done its share, or a chat's run its steps: give the run back and let its next job be queued. Raises
    CancelRequested or LostLease."""
    with transaction.atomic():
        wanted = Run.objects.filter(pk=run.pk, lease_token=run.lease_token, cancel_requested_at=None)
        if not wanted.update(lease_expires_at=None):
            look(run)
        dispatch(run, rows)


def finish(run: Run, status: str, *, outputs: Any = None, error: Any = None, lease_token: int) -> None:
    """Call inside a transaction. Raises LostLease."""
    over = {"status": status, "outputs": outputs, "error": error, "finished_at": timezone.now()}
    held = Run.objects.unfinished().filter(pk=run.pk, lease_token=lease_token)
    if not held.update(**over, lease_expires_at=None):
        raise LostLease(f"run {run.pk}, token {lease_token}")
    if status == Run.Status.FAILED:
        last = (events.RUN_ERROR, {"status": status, "error": error})
    else:
        last = (events.RUN_FINISHED, {"status": status, "outputs": outputs})
    publish(run.pk, [last], lease_token=lease_token)


def succeed(run: Run, outputs: Mapping[str, Any], files: Sequence[Stored]) -> None:
    with transaction.atomic():
        artifacts.keep_outputs(run, outputs, files)
        finish(run, Run.Status.SUCCEEDED, outputs=outputs, lease_token=run.lease_token)


def fail(run: Run, error: Mapping[str, Any]) -> None:
    with transaction.atomic():
        finish(run, Run.Status.FAILED, error=dict(error), lease_token=run.lease_token)


def give_up(run: Run, error: Mapping[str, Any]) -> None:
    """The driver met something nobody foresaw: a call that was under way may have happened, the rest did not."""
    with transaction.atomic():
        rows = [row for row in run.current_steps() if row.status not in ToolRun.FINISHED]
        for row in rows:
            close(row, Status.UNKNOWN if row.status == Status.RUNNING else Status.SKIPPED, error=error)
        write(run, rows, [(events.STEP_FINISHED, finished_event(row)) for row in rows])
        finish(run, Run.Status.FAILED, error=dict(error), lease_token=run.lease_token)


def end_cancelled(run: Run, lease_token: int) -> None:
    """Every step that is not over and the run itself are cancelled."""
    with transaction.atomic():
        rows = [row for row in run.current_steps() if row.status not in ToolRun.FINISHED]
        for row in rows:
            close(row, Status.CANCELLED)
        told = [(events.STEP_FINISHED, finished_event(row)) for row in rows]
        publish(run.pk, told, lease_token=lease_token)
        ToolRun.objects.bulk_update(rows, ["status", "error", "finished_at", "duration_ms"])
        finish(run, Run.Status.CANCELLED, lease_token=lease_token)
