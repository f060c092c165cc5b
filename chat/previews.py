"""A plan that is shown as it will run, changed where its reader wants it, and approved once before anything runs."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from chains import approvals
from chains.events import publish
from chains.leases import renew
from chains.models import Run
from chains.plan import PlanError, Problem
from chains.services import Conflict, set_plan
from chat.models import Message

PLAN_PREVIEW = "PLAN_PREVIEW"  # {plan}: the run waits until somebody approves it


@transaction.atomic(savepoint=False)
def wait_for_approval(*, run: Run, question: Message, plan: dict[str, Any], lease_token: int) -> None:
    """Keep the plan beside its question until `approve_plan`. Raises LostLease."""
    renew(run.pk, lease_token)
    question.planning = (question.planning or {}) | {"preview": plan}
    question.save(update_fields=["planning"])
    publish(run.pk, [(PLAN_PREVIEW, {"plan": plan})], lease_token=lease_token)
    Run.objects.filter(pk=run.pk).update(status=Run.Status.AWAITING_APPROVAL, lease_expires_at=None)


@transaction.atomic
def approve_plan(*, run: Run, user: User, arguments: Mapping[str, dict[str, Any]]) -> Run:
    """Run the plan that was shown, with these arguments, by step, in the place of the planned ones.

    Every call whose arguments are known by now is approved with it. Raises PlanError (nothing has changed then) or
    Conflict.
    """
    run = Run.objects.select_for_update().get(pk=run.pk)
    question = Message.objects.filter(run=run, role=Message.Role.USER).first()
    plan = (question.planning or {}).get("preview") if question else None
    if question is None or plan is None or run.status != Run.Status.AWAITING_APPROVAL:
        raise Conflict("not_waiting", "This run has no plan that waits for you.")
    changed = _with_arguments(plan, arguments)
    question.planning = {name: value for name, value in (question.planning or {}).items() if name != "preview"}
    question.save(update_fields=["planning"])
    set_plan(run=run, plan=changed, lease_token=run.lease_token)
    run.refresh_from_db()
    approvals.approve_known(run, user)
    return run


def _with_arguments(plan: dict[str, Any], arguments: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    changed = deepcopy(plan)
    steps = {step["id"]: step for step in changed["steps"]}
    if unknown := [name for name in arguments if name not in steps]:
        raise PlanError([Problem("/steps", "unknown_step", f"The plan has no step {unknown[0]}.")])
    for name, given in arguments.items():
        steps[name]["arguments"] = given
    return changed
