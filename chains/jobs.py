"""Background work: jobs take ids and may run twice."""

import logging

from asgiref.sync import async_to_sync
from django.db import close_old_connections

from chains import executor, files, freezing, keeping, schedules
from chains.dispatch import dispatch_waiting, redispatch_abandoned

logger = logging.getLogger(__name__)


def drive_run(run_id: str) -> None:
    """Carry a run on, on queue `runs`. Its database work stays on this thread; MCP has a loop of its own."""
    close_old_connections()
    run = async_to_sync(executor.drive)(run_id)
    if run is not None:
        dispatch_waiting(run.owner_id, after=run.pk)


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
