"""Background work: jobs take ids and may run twice."""

import logging

from asgiref.sync import async_to_sync
from django.db import close_old_connections

from chains import executor, files, freezing, keeping, schedules
from chains.dispatch import dispatch_waiting, redispatch_abandoned
from chains.models import Run

logger = logging.getLogger(__name__)


def drive_run(run_id: str) -> None:
    """Carry a run on, on queue `runs`. Its database work stays on this thread; MCP has a loop of its own."""
    close_old_connections()
    async_to_sync(executor.drive)(run_id)
    make_room(run_id)


def make_room(run_id: str) -> None:
    """The run is driven no longer: what waits for its place is queued. At the end of every job that drives runs."""
    owner_id = Run.objects.filter(pk=run_id).values_list("owner_id", flat=True).first()
    if owner_id is not None:
        dispatch_waiting(owner_id)


def drive_frozen(run_id: str) -> None:
    """In the worker, after the process of such a job was ended by the watchdog."""
    freezing.give_up_call(run_id)


def reconcile() -> int:
    """Queue again what was acknowledged and forgotten: a worker died, or Redis lost its queues. And put into the file
    storage what it did not take at first."""
    files.move_held()
    return redispatch_abandoned()


def start_scheduled() -> int:
    """Start the templates whose time has come."""
    return schedules.start_due()


def tidy_runs() -> None:
    """Compact old events and remove old runs, as far as the settings say so."""
    compacted, removed = keeping.tidy()
    if compacted or removed:
        logger.info("Old runs: %d compacted, %d removed.", compacted, removed)
