"""What people do with plans, runs and templates. Each verb owns its transaction."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from chains import approvals, artifacts, journal
from chains.dispatch import dispatch
from chains.events import PLAN_READY, RUN_STARTED, STEP_FINISHED, TOOL_CALL_RESULT, publish
from chains.leases import LostLease
from chains.models import Run, SpentKey, Template, ToolRun
from chains.parameters import with_parameters
from chains.plan import (
    Plan,
    PlanError,
    Toolbox,
    check,
    errors,
    input_problems,
    layers,
    missing_inputs,
    parse,
    with_defaults,
)
from chains.refusals import Conflict, InputError
from chains.template_rows import keep_template, tool_hashes
from registry.connectors import CallResult
from registry.quotas import TooManyRuns, is_full


def start_run(
    *,
    user: User,
    plan: dict[str, Any] | None,
    inputs: Mapping[str, Any] | None = None,
    approval: str = "",
    template: Template | None = None,
    kind: str = Run.Kind.CHAIN,
    conversation_id: Any = None,
    idempotency_key: str | None = None,
) -> Run:
    """Acknowledge a run and have it carried out; without a plan (kind chat) it is planned first.

    The same idempotency_key with the same request returns the first run. Raises PlanError, InputError, Conflict or
    TooManyRuns.
    """
    key, asked = idempotency_key or None, _request_hash(plan, inputs, approval, template, kind)
    if key and (first := Run.objects.owned_by(user).filter(idempotency_key=key).first()):
        return _same_request(first, asked)
    if key and SpentKey.objects.filter(owner=user, key=key).exists():  # after the run: it moves from there to here
        raise Conflict("run_removed", "The run of this Idempotency-Key is over and was removed; nothing was started.")
    given = dict(inputs or {})
    data = plan if plan is not None or template is None else template.plan
    checked = None
    if data is not None:
        checked = checked_plan(data, user=user, tool_hashes=template.tool_hashes if template else None)
        given = _checked_inputs(checked, given)
    run = Run(owner=user, kind=kind, approval=approval, template=template, conversation_id=conversation_id)
    run.inputs, run.plan, run.idempotency_key, run.request_hash = given, data, key, asked
    try:
        return _create(run, checked)
    except IntegrityError:
        if template is not None and not Template.objects.filter(pk=template.pk).exists():
            raise Conflict(
                "template_removed", "This template was deleted in this moment; nothing was started."
            ) from None
        if key is None:
            raise
        return _same_request(Run.objects.owned_by(user).get(idempotency_key=key), asked)


@transaction.atomic
def _create(run: Run, plan: Plan | None) -> Run:
    _check_room(run.owner)
    run.save(force_insert=True)
    events = [(RUN_STARTED, _started(run))]
    if plan is not None:
        _add_steps(run, plan)
        events.append((PLAN_READY, _plan_ready(plan)))
    run.last_seq = publish(run.pk, events)
    dispatch(run)
    return run


def _check_room(user: User) -> None:
    """So many may wait for a place at most. Raises TooManyRuns."""
    if is_full(user, "runs", Run.objects.owned_by(user).going()):
        raise TooManyRuns(f"{settings.QUOTAS['runs']:,} runs of yours are under way: let some end, or cancel some.")


def _same_request(first: Run, asked: str) -> Run:
    if first.request_hash != asked:
        raise Conflict("idempotency_conflict", "This Idempotency-Key was used before for another request.")
    return first


def _request_hash(
    plan: Any, inputs: Mapping[str, Any] | None, approval: str, template: Template | None, kind: str
) -> str:
    asked = [plan, dict(inputs or {}), approval, str(template.pk) if template else None, kind]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def checked_plan(
    data: Any, *, user: User, tool_hashes: Mapping[str, str] | None = None, toolbox: Toolbox | None = None
) -> Plan:
    """The plan, read and validated for this user. Raises PlanError."""
    plan, problems = check(data, user=user, tool_hashes=tool_hashes, toolbox=toolbox)
    if plan is None or errors(problems):
        raise PlanError(errors(problems))
    return plan


def _checked_inputs(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    complete = with_defaults(plan, inputs)
    if problems := [*input_problems(plan, complete), *missing_inputs(plan, complete)]:
        raise InputError(problems)
    return complete


def _add_steps(
    run: Run, plan: Plan, only: Collection[str] | None = None, *, toolbox: Toolbox | None = None
) -> list[ToolRun]:
    """Journal rows for the plan's steps in the run's attempt."""
    toolbox = toolbox or Toolbox.of(plan.steps, run.owner)
    return ToolRun.objects.bulk_create(
        ToolRun(
            run=run,
            step=step.id,
            position=step.index,
            server=toolbox.servers.get(step.server),
            server_slug=toolbox.servers[step.server].slug if step.server in toolbox.servers else step.server,
            tool=step.tool,
            arguments=step.arguments,
            attempt=run.attempt,
        )
        for step in plan.steps
        if only is None or step.id in only
    )


def _started(run: Run) -> dict[str, Any]:
    return {"kind": run.kind, "attempt": run.attempt, "inputs": run.inputs}


def _plan_ready(plan: Plan) -> dict[str, Any]:
    return {"plan": plan.data, "layers": [[step.id for step in layer] for layer in layers(plan)]}


def set_plan(*, run: Run, plan: dict[str, Any], lease_token: int, toolbox: Toolbox | None = None) -> None:
    """Give a planned run its plan, or one that goes on from it: the lease is given back and the first step's job
    queued. Steps that the run has tried, by their ids, are not begun anew. `toolbox`: where it was loaded this moment.

    Raises PlanError (nothing has changed then) or LostLease.
    """
    toolbox = toolbox or Toolbox.of(parse(plan).steps, run.owner)
    checked = checked_plan(plan, user=run.owner, toolbox=toolbox)
    tried = {row.step for row in run.current_steps()} if run.plan is not None else set()
    with transaction.atomic(savepoint=False):
        held = Run.objects.unfinished().filter(pk=run.pk, lease_token=lease_token)
        if not held.update(plan=plan, status=Run.Status.RUNNING, lease_expires_at=None):
            raise LostLease(f"run {run.pk}, token {lease_token}")
        run.plan, run.status, run.lease_expires_at = plan, Run.Status.RUNNING, None
        added = _add_steps(run, checked, {step.id for step in checked.steps} - tried, toolbox=toolbox)
        publish(run.pk, [(PLAN_READY, _plan_ready(checked))], lease_token=lease_token)
        dispatch(run, added or None)


def finish_run(*, run: Run, status: str, outputs: Any = None, error: Any = None, lease_token: int) -> None:
    """The last word on a run: its status, RUN_FINISHED or RUN_ERROR, its outputs kept as a result. Raises LostLease."""
    with transaction.atomic(savepoint=False):
        journal.finish(run, status, outputs=outputs, error=error, lease_token=lease_token)


def approve(
    *,
    run: Run,
    user: User,
    approval_hash: str,
    step: str | None = None,
    arguments: dict[str, Any] | None = None,
    plan: bool = False,
) -> Run:
    """Let one waiting call run as it was shown: that of the step named, else the first with this hash.

    Two steps that make the same call have the same hash; each takes a word of its own. With `arguments` the call is
    made with these instead. With `plan` everything that waits is approved, and what will be asked later as far as it is
    known now. Raises Conflict or InputError.
    """
    with transaction.atomic():
        run = _locked(run)
        rows = [row for row in _waiting(run, step) if row.approval_hash == approval_hash]
        if not rows:
            message = "What waits has changed since you looked at it; look at the arguments again, then approve."
            raise Conflict("approval_changed", message)
        if arguments is not None and any(row.arguments != arguments for row in rows):
            _edit(run, rows, arguments)
        rows = _approve_ahead(run, _waiting(run, None)) if plan else rows[:1]
        for row in rows:
            row.approved_hash, row.approved_by, row.approved_at = row.approval_hash, user, timezone.now()
            row.status = ToolRun.Status.PENDING
        ToolRun.objects.bulk_update(rows, APPROVAL_FIELDS)
        _go_on(run)
    return run


APPROVAL_FIELDS = [
    "status",
    "arguments",
    "approval_hash",
    "approved_hash",
    "approved_by",
    "approved_at",
    "edited_arguments",
]


def _edit(run: Run, rows: list[ToolRun], arguments: dict[str, Any]) -> None:
    """Put other arguments in the place of those that wait."""
    if len(rows) != 1:
        raise Conflict("which_step", "Arguments are changed for one step; name it.")
    (row,) = rows
    row.approval_hash, problems = approvals.edited(run, row, arguments)
    if problems:
        raise InputError(problems)
    row.edited_arguments, row.arguments = arguments, artifacts.shown(arguments)


def _approve_ahead(run: Run, waiting: list[ToolRun]) -> list[ToolRun]:
    """What waits, and with its hash set what has not begun and is known."""
    ahead = list(approvals.known_ahead(run, run.current_steps()))
    for row, approval_hash in ahead:
        row.approval_hash = approval_hash
    return [*waiting, *(row for row, _ in ahead)]


def reject(*, run: Run, user: User, step: str | None = None) -> Run:
    """Refuse waiting steps: they and what depends on them do not run, and the run fails. Raises Conflict."""
    error = {"code": "rejected", "message": f"{user.get_username()} did not approve this step."}
    with transaction.atomic():
        run = _locked(run)
        rows = _waiting(run, step)
        for row in rows:
            row.status, row.error, row.finished_at = ToolRun.Status.CANCELLED, error, timezone.now()
        ToolRun.objects.bulk_update(rows, ["status", "error", "finished_at"])
        publish(run.pk, [(STEP_FINISHED, journal.finished_event(row)) for row in rows])
        _go_on(run)
    return run


class Resolution(models.TextChoices):
    """What a person says about a call that may have happened."""

    REPEAT = "repeat"
    SKIP = "skip"
    STOP = "stop"


def resolve(*, run: Run, user: User, step: str, action: str, result: Any = None) -> Run:
    """Go on after a call of which the end is not known: call again, take `result` as what it gave, or stop the run.

    Raises Conflict.
    """
    with transaction.atomic():
        run = _locked(run)
        row = next((row for row in run.current_steps() if row.step == step), None)
        if row is None or row.status != ToolRun.Status.UNKNOWN or run.is_finished:
            raise Conflict("not_unknown", f"Nobody asks what became of step {step}.")
        if action == Resolution.STOP:
            return cancel(run=run)
        if action == Resolution.REPEAT:
            row.status, row.error, row.finished_at, row.duration_ms = ToolRun.Status.PENDING, None, None, None
            row.approved_hash, row.approved_by, row.approved_at = row.approval_hash, user, timezone.now()
        else:
            journal.close(row, ToolRun.Status.SUCCEEDED, result=_told_result(result))
            told = (TOOL_CALL_RESULT, {"step": step, "result": row.result, "given_by": user.get_username()})
            publish(run.pk, [told, (STEP_FINISHED, journal.finished_event(row))])
        row.save()
        _go_on(run)
    return run


def _told_result(value: Any) -> dict[str, Any]:
    """A step's result in the words of a person; text that is JSON is also given as JSON."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return artifacts.result_of(CallResult([{"type": "text", "text": text}], None, False))


def _waiting(run: Run, step: str | None) -> list[ToolRun]:
    rows = [row for row in run.current_steps() if row.status == ToolRun.Status.AWAITING_APPROVAL]
    rows = [row for row in rows if step is None or row.step == step]
    if not rows or run.is_finished:
        raise Conflict("not_waiting", f"{f'Step {step}' if step else 'This run'} does not wait for an approval.")
    return rows


def _go_on(run: Run) -> None:
    """A parked run is taken up again; one that is being driven notices by itself."""
    if run.status == Run.Status.AWAITING_APPROVAL:
        run.status = Run.Status.RUNNING
        run.save(update_fields=["status"])
        dispatch(run)


def cancel(*, run: Run) -> Run:
    """Stop a run: at once where nobody drives it, else its driver stops within two seconds. Raises Conflict."""
    with transaction.atomic():
        run = _locked(run)
        if run.is_finished:
            raise Conflict("already_finished", f"This run is over: {run.status}.")
        run.cancel_requested_at = run.cancel_requested_at or timezone.now()
        if not run.is_driven:
            run.lease_token += 1  # whoever may still wake up is fenced off
        run.save(update_fields=["cancel_requested_at", "lease_token"])
        if not run.is_driven:
            journal.end_cancelled(run, run.lease_token)
            run.refresh_from_db()
    return run


def retry(*, run: Run) -> Run:
    """Take up a failed or cancelled run from its first unfinished step, as a new attempt. Raises Conflict or
    TooManyRuns."""
    with transaction.atomic():
        _check_room(run.owner)
        run = _locked(run)
        if run.status not in (Run.Status.FAILED, Run.Status.CANCELLED):
            raise Conflict("not_finished", f"Only a failed or cancelled run can be tried again; it is {run.status}.")
        run.attempt += 1
        run.status, run.finished_at, run.cancel_requested_at = Run.Status.QUEUED, None, None
        run.error = run.outputs = run.lease_expires_at = None
        run.save()
        if run.plan is not None:
            unfinished = {row.step for row in run.current_steps() if row.status != ToolRun.Status.SUCCEEDED}
            _add_steps(run, parse(run.plan), unfinished)
        publish(run.pk, [(RUN_STARTED, _started(run))])
        dispatch(run)
    return run


def _locked(run: Run) -> Run:
    return Run.objects.select_for_update().get(pk=run.pk)


def save_template(
    *,
    user: User,
    name: str,
    plan: Any = None,
    run: Run | None = None,
    description: str = "",
    parameters: Collection[str] = (),
) -> Template:
    """Keep a plan, or the plan of a run, to run it again; the fixed arguments named become inputs. Raises PlanError or
    QuotaReached."""
    data = plan if run is None else run.plan
    data = with_parameters(data, parameters, user=user) if parameters else data
    checked = checked_plan(data, user=user)
    hashes = tool_hashes(checked, user=user)
    return keep_template(owner=user, name=name, description=description, plan=data, tool_hashes=hashes)


def update_template(
    *,
    template: Template,
    name: str | None = None,
    description: str | None = None,
    plan: Any = None,
    version: int | None = None,
) -> Template:
    """Change what is given. A plan is validated and accepts its tools as they are now; where it differs from the one
    that is there, that one is kept as a former version. `version`: the one a new plan was made from; where there is
    another by now that is Conflict("template_changed"). Raises PlanError."""
    checked = None if plan is None else checked_plan(plan, user=template.owner)
    with transaction.atomic():
        template = Template.objects.select_for_update().get(pk=template.pk)
        if checked is not None:
            if version not in (None, template.version) and checked.data != template.plan:
                message = f"Version {template.version} was saved since version {version} was read; look at it first."
                raise Conflict("template_changed", message)
            _give_plan(template, checked)
        template.name = template.name if name is None else name
        template.description = template.description if description is None else description
        template.save()
    return template


def _give_plan(template: Template, plan: Plan) -> None:
    """Set on the locked row, unsaved."""
    template.tool_hashes = tool_hashes(plan, user=template.owner)
    if plan.data == template.plan:
        return
    template.former.create(
        version=template.version, plan=template.plan, saved_at=template.plan_saved_at, saved_by=template.owner
    )
    template.plan, template.version, template.plan_saved_at = plan.data, template.version + 1, timezone.now()
