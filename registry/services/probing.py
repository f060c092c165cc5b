"""Ask for tests of many connections, once what was written can be read by a worker."""

from collections.abc import Iterable
from typing import Any

import django_rq
from django.db import transaction

PROBE_JOB = "registry.jobs.probe_server"


def probe_on_commit(server_ids: Iterable[Any]) -> None:
    """One job a server, without anybody's credentials."""
    ids = [str(server_id) for server_id in server_ids]
    transaction.on_commit(lambda: _enqueue(ids))


def _enqueue(ids: list[str]) -> None:
    queue = django_rq.get_queue("probes")
    queue.enqueue_many([queue.prepare_data(PROBE_JOB, args=(server_id,)) for server_id in ids])
