"""The queues: a job remembers which request it came of."""

from typing import Any

from django_rq.queues import DjangoRQ
from rq.job import Job

from mcpregistry import tracing


class TracedQueue(DjangoRQ):
    def create_job(self, *args: Any, **options: Any) -> Job:
        job = super().create_job(*args, **options)
        if request := tracing.request_id.get():
            job.meta["request_id"] = request
        return job
