"""A worker beside the test, for what the web process asks and waits for."""

import threading
from collections.abc import Iterator

import django_rq
import pytest
from asgiref.sync import SyncToAsync
from django.db import connections
from rq import SimpleWorker
from rq.timeouts import TimerDeathPenalty


class ThreadWorker(SimpleWorker):
    """A worker beside the test, in a thread: no signals."""

    death_penalty_class = TimerDeathPenalty

    def _install_signal_handlers(self) -> None:
        pass


@pytest.fixture
def probe_worker() -> Iterator[ThreadWorker]:
    queue = django_rq.get_queue("probes")
    worker = ThreadWorker([queue], connection=queue.connection)

    def work() -> None:
        worker.work(logging_level="WARNING")
        connections.close_all()
        SyncToAsync.single_thread_executor.submit(connections.close_all).result()

    thread = threading.Thread(target=work)
    thread.start()
    while not worker.all_keys(connection=queue.connection, queue=queue):
        assert thread.is_alive()
    yield worker
    worker._stop_requested = True
    queue.enqueue("time.time")  # wakes it, so that it sees the request
    thread.join(20)
    assert not thread.is_alive()
