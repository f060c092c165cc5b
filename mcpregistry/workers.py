"""Worker processes of the queues. Imported by `rqworker` before it forks, and with it what every job needs."""

import gc
import importlib
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections
from redis.exceptions import RedisError
from rq import SimpleWorker, Worker
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.timeouts import TimerDeathPenalty
from rq.utils import import_attribute

from chains import executor, waking
from chains.dispatch import DRIVE_RUN, release_of_job, run_of_job
from chains.rehearsal import rehearse as rehearse_steps
from chat import driving, telling
from mcpregistry import garbage, processes, tracing
from mcpregistry.horses import Horse, Order, Post
from registry import embeddings, watchdog
from registry.connectors.rehearsal import rehearse as rehearse_sessions
from registry.services.probing import BATCH_JOB, PROBE_JOB
from registry.trials import JOB as TRIAL_JOB

logger = logging.getLogger(__name__)
access = logging.getLogger("mcpregistry.access")
# What is said, with a job's own arguments, when the watchdog ended it.
FROZEN = {
    DRIVE_RUN: "chains.jobs.drive_frozen",
    PROBE_JOB: "registry.jobs.probe_frozen",
    BATCH_JOB: "registry.jobs.batch_frozen",
    TRIAL_JOB: "registry.jobs.call_frozen",
}
TURNS_CONNECTIONS = 8
LOADING_NICE = 10
PLACE_LOOK_S = 5.0
HAND_BACK_S = 3.0  # what whoever ended this worker waits at least
JOBS_OF_QUEUE = {"runs": "chains.jobs", "probes": "registry.jobs", "chat": "chat.jobs", "catalogue": "registry.jobs"}

HAND_OVER = signal.SIGUSR1  # to a job's process: its worker is asked to end


@contextmanager
def traced(job: Job) -> Iterator[None]:
    """Lines that the job writes name the request it came of, and its run; where wanted, one says how long it took."""
    began = time.perf_counter()
    with tracing.bound(request=job.meta.get("request_id", ""), run=run_of_job(job.id)):
        yield
        if settings.ACCESS_LOG:
            told = {"job": job.func_name, "duration_ms": round((time.perf_counter() - began) * 1000)}
            access.info("%s in %s ms", job.func_name, told["duration_ms"], extra=told)


def preload(queues: list[Queue]) -> None:
    """Import and build what the jobs need before the first comes: a forked job then costs milliseconds, not seconds."""
    garbage.collect_rarely()
    for queue in queues:
        importlib.import_module(JOBS_OF_QUEUE[queue.name])
    get_channel_layer()
    rehearse_sessions()
    if any(queue.name == "runs" for queue in queues):
        rehearse_steps()


class ForkingWorker(Worker):
    """Jobs in a process of their own (mcpregistry/horses.py): a time-out holds whatever a server does to the job.

    It ends with its worker: an orphan that goes on would meet the copy that is started in its place.
    """

    horse: Horse | None = None  # at work
    resting: Horse | None = None  # between two jobs

    def work(self, *args: Any, **options: Any) -> bool:
        preload(self.queues)
        gc.freeze()  # what is there now stays: looking through it, a horse would copy all of it
        signal.signal(HAND_OVER, lambda signum, frame: executor.hand_over_soon())  # as horses inherit it
        signal.signal(signal.SIGCHLD, lambda signum, frame: self.look_at_resting())
        try:
            return super().work(*args, **options)
        finally:
            horse, self.resting = self.horse or self.resting, None
            if horse is not None:
                horse.end()

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        execution = self.execution
        assert execution is not None
        self.horse, self.resting = self.resting, None
        if self.horse is not None and not self.horse.take(Order(job.id, execution.id, queue.name)):
            self.horse.end()
            self.horse = None
        if self.horse is None:
            self.horse = Horse.fork(partial(self.serve, job, queue, execution))
        self._horse_pid = self.horse.pid

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        assert self.horse is not None
        horse, end = self.horse, self.horse.wait()
        self.horse = None
        if end is not None:
            return end
        self.resting = horse
        self.look_at_resting()  # it may have ended a moment ago
        return horse.pid, os.EX_OK, None

    def look_at_resting(self) -> None:
        if self.resting is not None:
            self.resting.look()

    def handle_warm_shutdown_request(self) -> None:
        """A run's job begins no other step: what it has not done, another worker goes on with."""
        super().handle_warm_shutdown_request()
        if self.horse_pid:
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, HAND_OVER)

    def serve(self, job: Job, queue: Queue, execution: Execution, post: Post) -> None:
        """What a horse does: this job, then others, until it leaves or its worker ends."""
        os.setpgrp()
        processes.die_with_parent(signal.SIGKILL)
        watchdog.watch_this_process()
        self.setup_work_horse_signals()
        random.seed()
        keep_connection()
        self._is_horse = True
        while os.getppid() == self.pid:
            niceness = job.meta.get("nice", 0)
            os.nice(niceness)
            is_well = self.perform_job(job, queue, execution)
            if not post.answer(is_well=is_well and not niceness):
                return
            if (order := post.next()) is None:
                return
            job = Job.fetch(order.job_id, connection=self.connection)
            queue = next(each for each in self.queues if each.name == order.queue)
            execution = Execution.fetch(order.execution_id, order.job_id, connection=self.connection)
            self.executions = {execution.id: execution}

    def perform_job(self, job: Job, *rest: Any) -> bool:
        with traced(job):
            return super().perform_job(job, *rest)

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


class TurnLimit(TimerDeathPenalty):
    """A job's time-out for a thread: signals reach the main thread alone."""

    def new_timer(self) -> threading.Timer:
        timer: threading.Timer = super().new_timer()
        timer.daemon = True  # it must not keep a worker that ends
        return timer


class TurnsWorker(SimpleWorker):
    """Many turns of chats at once, each in a thread: a turn waits for a model nearly all of its time.

    They share the embedding model, a small pool of database connections, one writer of pieces and one sender of
    wake-ups. A worker takes a job only when it has a place for it; the others stay in the queue, for other workers.
    """

    death_penalty_class = TurnLimit

    def work(self, *args: Any, **options: Any) -> bool:
        preload(self.queues)
        share_connections(TURNS_CONNECTIONS)
        waking.keep_a_loop()
        telling.tell_together()
        embeddings.load_in_background(nice=LOADING_NICE)  # else the first turn waits for it
        self.places = threading.BoundedSemaphore(settings.CHAT_TURNS)
        return super().work(*args, **options)

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        while not self.places.acquire(timeout=PLACE_LOOK_S):
            self.heartbeat()
            if self._stop_requested:
                return None
        self.places.release()  # nobody else takes one
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def execute_job(self, job: Job, queue: Queue) -> None:
        self.places.acquire()
        execution = self.prepare_execution(job)
        turn = threading.Thread(target=self._perform, args=(job, queue, execution), name=job.id, daemon=True)
        turn.start()

    def _perform(self, job: Job, queue: Queue, execution: Execution) -> None:
        try:
            with traced(job):
                self.perform_job(job, queue, execution)
        except RedisError:
            logger.exception("What became of job %s could not be written down.", job.id)
        finally:
            connections.close_all()
            self.places.release()

    def teardown(self) -> None:
        """Turns under way are given back, so that whoever comes next goes on with them."""
        driving.hand_back_everything()
        deadline = time.monotonic() + HAND_BACK_S
        while self.executions and time.monotonic() < deadline:
            time.sleep(0.05)
        super().teardown()


def share_connections(size: int) -> None:
    """From now on the threads of this process share so many database connections."""
    connections.close_all()
    own = connections.settings["default"]
    own["OPTIONS"] |= {"pool": {"min_size": 1, "max_size": size, "timeout": 30}}
    own |= {"CONN_HEALTH_CHECKS": True, "CONN_MAX_AGE": 0}


def keep_connection() -> None:
    """From now on this process has one connection to the database for all its jobs, looked at before each."""
    connections.settings["default"] |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}


class KeepingWorker(SimpleWorker):
    """One process for all jobs: it keeps the embedding model, which costs seconds to load and may hang after a fork."""

    def work(self, *args: Any, **options: Any) -> bool:
        preload(self.queues)
        return super().work(*args, **options)

    def perform_job(self, job: Job, *rest: Any) -> bool:
        with traced(job):
            return super().perform_job(job, *rest)

    def execute_job(self, job: Job, queue: Queue) -> None:
        close_old_connections()  # a connection that broke while idle
        super().execute_job(job, queue)
        close_old_connections()
