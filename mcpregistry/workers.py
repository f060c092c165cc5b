"""Worker processes of the queues. Imported by `rqworker` before it forks, and with it what every job needs."""

import importlib
import logging
import os
import signal
from typing import Any

from django.db import DatabaseError, close_old_connections, connections
from rq import SimpleWorker, Worker
from rq.job import Job
from rq.queue import Queue
from rq.utils import import_attribute

from chains.dispatch import DRIVE_RUN, release_of_job
from mcpregistry import processes
from registry import watchdog
from registry.connectors import mcp
from registry.services.probing import BATCH_JOB, PROBE_JOB
from registry.trials import JOB as TRIAL_JOB

logger = logging.getLogger(__name__)
# What is said, with a job's own arguments, when the watchdog ended it.
FROZEN = {
    DRIVE_RUN: "chains.jobs.drive_frozen",
    PROBE_JOB: "registry.jobs.probe_frozen",
    BATCH_JOB: "registry.jobs.batch_frozen",
    TRIAL_JOB: "registry.jobs.call_frozen",
}
JOBS_OF_QUEUE = {"runs": "chains.jobs", "probes": "registry.jobs", "chat": "chat.jobs", "catalogue": "registry.jobs"}


def preload(queues: list[Queue]) -> None:
    """Import what the jobs need before the first comes: a forked job then costs milliseconds, not seconds."""
    for queue in queues:
        importlib.import_module(JOBS_OF_QUEUE[queue.name])
    mcp.preload()


class ForkingWorker(Worker):
    """A process for each job, so that the job's time-out holds whatever a server does to it.

    The job ends with its worker: an orphan that goes on would meet the copy that is started in its place.
    """

    def work(self, *args: Any, **options: Any) -> bool:
        preload(self.queues)
        return super().work(*args, **options)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        processes.die_with_parent(signal.SIGKILL)
        watchdog.watch_this_process()
        os.nice(job.meta.get("nice", 0))
        if os.getppid() == self.pid:
            super().main_work_horse(job, queue)
        os._exit(1)

    def handle_work_horse_killed(self, job: Job, retpid: int | None, status: int | None, usage: Any) -> None:
        """The kernel knows that it is dead: its run need not wait for the lease to run out, and who waits for a
        server that kept it busy without end need not either."""
        super().handle_work_horse_killed(job, retpid, status, usage)
        is_frozen = status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == watchdog.SIGNAL
        try:
            if job.func_name == DRIVE_RUN:
                release_of_job(job.id)
            if is_frozen and (told := FROZEN.get(str(job.func_name))):
                logger.warning("Job %s was ended: it computed for %s s on end.", job.id, watchdog.FROZEN_S)
                import_attribute(told)(*job.args)
        except DatabaseError:
            logger.warning("What job %s left behind is found later: the database does not answer.", job.id)
        connections.close_all()  # the next horse must not inherit one


class KeepingWorker(SimpleWorker):
    """One process for all jobs: it keeps the embedding model, which costs seconds to load and may hang after a fork."""

    def work(self, *args: Any, **options: Any) -> bool:
        preload(self.queues)
        return super().work(*args, **options)

    def execute_job(self, job: Job, queue: Queue) -> None:
        close_old_connections()  # a connection that broke while idle
        super().execute_job(job, queue)
        close_old_connections()
