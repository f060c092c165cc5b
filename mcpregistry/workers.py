"""Worker processes of the queues. Imported by `rqworker` before it forks, and with it what every job needs."""

import importlib
import os
import signal
from typing import Any

from django.db import close_old_connections
from rq import SimpleWorker, Worker
from rq.job import Job
from rq.queue import Queue

from mcpregistry import processes
from registry import outbound

JOBS_OF_QUEUE = {"runs": "chains.jobs", "probes": "registry.jobs", "chat": "chat.jobs", "catalogue": "registry.jobs"}


def preload(queues: list[Queue]) -> None:
    """Import what the jobs need before the first comes: a forked job then costs milliseconds, not seconds."""
    for queue in queues:
        importlib.import_module(JOBS_OF_QUEUE[queue.name])
    outbound.preload()


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


class KeepingWorker(SimpleWorker):
    """One process for all jobs: it keeps the embedding model, which costs seconds to load and may hang after a fork."""

    def work(self, *args: Any, **options: Any) -> bool:
        preload(self.queues)
        return super().work(*args, **options)

    def execute_job(self, job: Job, queue: Queue) -> None:
        close_old_connections()  # a connection that broke while idle
        super().execute_job(job, queue)
        close_old_connections()
