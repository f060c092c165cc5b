"""What the first queries of a process build, built before a worker forks: else each of its jobs builds it again.

Django looks into its models when they are asked for the first time, which takes longer than the queries of a step.
"""

import logging
import uuid

from django.contrib.auth.models import User
from django.db import DatabaseError, connections, transaction

from chains import journal, leases
from chains.models import Run, ToolRun
from chains.plan import Plan, parse

logger = logging.getLogger(__name__)
PLAN = {"version": 1, "steps": [{"id": "s1", "server": "rehearsal", "tool": "rehearsal", "arguments": {}}]}


def rehearse() -> None:
    """One step of a run that is taken back, as a driver begins and ends it: nobody sees it, and no connection stays."""
    try:
        with transaction.atomic():
            _one_step(parse(PLAN))
            transaction.set_rollback(True)
    except DatabaseError as error:
        logger.warning("Not rehearsed, so the first step of a run takes a little longer: %s", error)
    finally:
        connections.close_all()


def _one_step(plan: Plan) -> None:
    [owner] = User.objects.bulk_create([User(username=f"rehearsal-{uuid.uuid4().hex}")])  # nobody is told
    planned = Run.objects.create(owner=owner, plan=plan.data)
    ToolRun.objects.create(run=planned, step="s1", position=0, server_slug="rehearsal", tool="rehearsal")
    run = leases.claim(planned.pk)
    if run is None:
        return
    rows, _ = journal.standing(run, plan)
    for row in rows.values():
        journal.begin(run, row, {})
        journal.end_step(run, row, ToolRun.Status.SUCCEEDED)
    journal.finish(run, Run.Status.SUCCEEDED, lease_token=run.lease_token)
