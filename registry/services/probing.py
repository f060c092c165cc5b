"""Ask workers for tests of many connections, and see whether somebody waits for one of their own."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction

from registry import queues
from registry.models import Server
from registry.schedule import claim_due

QUEUE = "probes"
PROBE_JOB = "registry.jobs.probe_server"
BATCH_JOB = "registry.jobs.probe_batch"
BATCH_SIZE = 150
WAITING_JOBS = 6  # with more, no further servers are claimed: what is claimed should be tested soon
BATCH_TIMEOUT_S = 300
NICE = 5  # nobody waits for a batch
MADE_WAY_S = 5  # how long a batch that made way counts: in that time its worker takes what waits
ASKED = "probe-"  # how the id of a job begins that somebody waits for


def probe_on_commit(server_ids: Iterable[Any]) -> None:
    """One job a server, as its owner, once the transaction commits."""
    ids = [str(server_id) for server_id in server_ids]
    transaction.on_commit(lambda: probe_each(ids))


def enqueue_due() -> int:
    """Claim servers that are due and enqueue their tests, as far as the queue has room. How many?"""
    room = WAITING_JOBS - len(queues.queue(QUEUE))
    return enqueue_claimed(claim_due(room * BATCH_SIZE)) if room > 0 else 0


def enqueue_claimed(servers: Sequence[Server]) -> int:
    """Those reached by an address in batches; starting a command is work enough for one job."""
    commands = [str(server.pk) for server in servers if server.transport == Server.Transport.STDIO]
    others = [str(server.pk) for server in servers if server.transport != Server.Transport.STDIO]
    transaction.on_commit(lambda: probe_each(commands))
    transaction.on_commit(lambda: _enqueue_batches(others))
    return len(servers)


def probe_each(ids: Sequence[str]) -> None:
    """One job a server, as its owner, at once."""
    queue = queues.queue(QUEUE)
    queue.enqueue_many([queue.prepare_data(PROBE_JOB, args=(server_id,)) for server_id in ids])


def _enqueue_batches(ids: Sequence[str]) -> None:
    queue = queues.queue(QUEUE)
    for start in range(0, len(ids), BATCH_SIZE):
        batch = list(ids[start : start + BATCH_SIZE])
        meta = {"nice": NICE}
        queue.enqueue(BATCH_JOB, batch, job_timeout=BATCH_TIMEOUT_S, result_ttl=0, failure_ttl=3600, meta=meta)


def must_make_way() -> bool:
    """Does somebody wait for a test, at the front of the queue, for which no other batch has made way yet?"""
    queue = queues.queue(QUEUE)
    waiting = [job_id for job_id in queue.get_job_ids(0, 1) if job_id.startswith(ASKED)]
    return any(queue.connection.set(f"way:{job_id}", 1, nx=True, ex=MADE_WAY_S) for job_id in waiting)
