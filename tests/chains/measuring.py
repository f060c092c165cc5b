"""A worker whose jobs say what they took, and whose patience with servers is short. For tests only."""

import re
import resource
import time
from pathlib import Path
from typing import Any

from rq.job import Job
from rq.queue import Queue

from mcpregistry.workers import ForkingWorker
from registry import probes, watchdog
from registry.connectors import mcp

PATIENCE_S = 3.0
STARTING_S = 8.0
KIB = 1024


class MeasuringWorker(ForkingWorker):
    def work(self, *args: Any, **options: Any) -> bool:
        mcp.HTTP_CONNECT_TIMEOUT_S = probes.OTHER_TRANSPORT_TIMEOUT_S = PATIENCE_S
        mcp.CONNECT_TIMEOUT_S = {"stdio": STARTING_S}
        return super().work(*args, **options)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        self.end_horse()
        super().fork_work_horse(job, queue)

    def perform_job(self, job: Job, *rest: Any) -> bool:
        """In a process of the job's own, whose highest memory is its own too."""
        before, began = resident_bytes(), time.monotonic()
        try:
            return super().perform_job(job, *rest)
        finally:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB - before
            self.connection.hset("measured", job.id, f"{peak} {time.monotonic() - began}")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class FreezingWorker(MeasuringWorker):
    """As if a pattern of a stranger were tried on a text of a stranger: C code that never gives way."""

    def work(self, *args: Any, **options: Any) -> bool:
        watchdog.FROZEN_S = 1.0
        storable = mcp.storable

        def freezing(value: Any) -> Any:
            if "freezes" in str(value):
                re.match("(a+)+$", "a" * 60 + "!")
            return storable(value)

        mcp.storable = freezing
        return super().work(*args, **options)
