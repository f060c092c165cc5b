"""Ask for the vectors of new texts, once what was written can be read by a worker."""

import django_rq
from django.db import transaction

EMBED_JOB = "registry.jobs.embed_tools"


def embed_on_commit() -> None:
    transaction.on_commit(_enqueue)


def _enqueue() -> None:
    django_rq.get_queue("catalogue").enqueue(EMBED_JOB)
