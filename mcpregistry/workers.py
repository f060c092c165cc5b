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

from chains.dispatch import DRIVE_RUN, release_of_job
from mcpregistry import processes
from registry.connectors import mcp

logger = logging.getLogger(__name__)
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
        os.nice(job.meta.get("nice", 0))
        if os.getppid() == self.pid:
            super().main_work_horse(job, queue)
        os._exit(1)

    def handle_work_horse_killed(self, job: Job, *how: Any) -> None:
        """The kernel knows that it is dead: its run need not wait for the lease to run out."""
        super().handle_work_horse_killed(job, *how)
        if job.func_name == DRIVE_RUN:
            try:
                release_of_job(job.id)
            except DatabaseError:
                logger.warning("The lease of job %s is left to run out: the database does not answer.", job.id)
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
