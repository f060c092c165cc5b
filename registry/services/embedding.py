"""Ask for the vectors of new texts, once what was written can be read by a worker."""

from django.db import transaction

from registry import queues

EMBED_JOB = "registry.jobs.embed_tools"


def embed_on_commit() -> None:
    transaction.on_commit(enqueue_embedding)


def enqueue_embedding() -> None:
    """One that waits last in the queue already will see what was written now."""
    queue = queues.queue("catalogue")
    if not any(job.func_name == EMBED_JOB for job in queue.get_jobs(-1, 1)):
        queue.enqueue(EMBED_JOB)
