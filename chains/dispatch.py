"""Which job a run needs next, decided from the journal. Dispatching twice does no harm: jobs claim the run's lease."""

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError
from rq.job import Job, JobStatus

from chains import leases
from chains.models import Run, ToolRun
from chains.plan import parse
from registry import queues

logger = logging.getLogger(__name__)
GRACE = timedelta(seconds=5)  # what a commit and its enqueueing may take, and a worker that takes a job from its queue
JUST_STARTED = timedelta(seconds=60)  # a job that has not claimed its run by then never will
AT_ONCE = 500
WAITING = (JobStatus.DEFERRED, JobStatus.SCHEDULED)
HAND_OVER_S = 1800  # a driver begins nothing new after that; another job goes on
MARGIN_S = 120
DRIVE_RUN = "chains.jobs.drive_run"


def dispatch(run: Run, steps: Sequence[ToolRun] | None = None) -> None:
    """Enqueue what `run` needs next once the transaction commits. Without Redis the reconciler does it later.

    The run is as its row then is; `steps` are its current ones, where the caller knows them.
    """
    transaction.on_commit(lambda: _dispatch_now(run, steps))


def _dispatch_now(run: Run, steps: Sequence[ToolRun] | None = None) -> None:
    try:
        DISPATCH[run.kind](run, steps)
    except (RedisError, OSError):
        logger.warning("Run %s could not be queued: Redis does not answer. It is queued again later.", run.pk)


def enqueue(queue_name: str, job: str, run: Run) -> None:
    """Queue a job by its dotted name, with the run's id as argument and an id that tells one turn from the next."""
    limit_s = hard_limit_s(run) if job == DRIVE_RUN else None
    queues.queue(queue_name).enqueue(job, str(run.pk), job_id=job_id(run), job_timeout=limit_s)


def hard_limit_s(run: Run) -> int:
    """For the job: a driver hands over after HAND_OVER_S, but waits for the steps that are under way."""
    steps = parse(run.plan).steps if run.plan else ()
    longest_s = max((step.timeout_s * (step.retries + 1) for step in steps), default=0)
    return int(HAND_OVER_S + longest_s + MARGIN_S)


def job_id(run: Run) -> str:
    return f"run-{run.pk}-{run.attempt}-{run.lease_token}"


def run_of_job(job_id: str) -> str:
    """The id of the run that a job carries on; nothing where it is another kind of job."""
    return job_id.removeprefix("run-").rsplit("-", 2)[0] if job_id.startswith("run-") else ""


def release_of_job(job_id: str) -> None:
    """The process of this job is dead: what it drove is free at once, and queued again by the reconciler."""
    leases.release(run_of_job(job_id), int(job_id.rpartition("-")[2]) + 1)  # what it got when it claimed the run


def dispatch_chain(run: Run, steps: Sequence[ToolRun] | None) -> None:
    enqueue("runs", DRIVE_RUN, run)


# Another kind of run registers its own in its AppConfig.ready.
DISPATCH: dict[str, Callable[[Run, Sequence[ToolRun] | None], None]] = {Run.Kind.CHAIN: dispatch_chain}


def dispatch_waiting(owner_id: int, *, after: uuid.UUID | str) -> None:
    """The run `after` does not take its place any more: the next one of its owner's that waits for one is queued."""
    if not settings.RUNS_AT_ONCE:
        return
    others = Run.objects.abandoned().filter(owner_id=owner_id).exclude(pk=after)
    waiting = list(others.order_by("created_at")[: settings.RUNS_AT_ONCE])
    if waiting:
        for run in _in_no_queue(waiting[: leases.places_of(owner_id)]):
            _dispatch_now(run)


def redispatch_abandoned() -> int:
    """Queue every acknowledged run that nobody drives and that no queue holds, if there is a place for it; the number
    of them."""
    settled = timezone.now() - GRACE
    places = settings.RUNS_AT_ONCE or AT_ONCE
    oldest = Run.objects.abandoned().filter(created_at__lt=settled).first_of_each_owner(places)
    abandoned = list(oldest.order_by("created_at")[:AT_ONCE])
    full = leases.without_place({run.owner_id for run in abandoned})
    forgotten = [run for run in _in_no_queue(abandoned) if run.owner_id not in full]
    for run in forgotten:
        logger.info("Run %s (%s) was abandoned; queued again.", run.pk, run.status)
        _dispatch_now(run)
    return len(forgotten)


def _in_no_queue(runs: list[Run]) -> list[Run]:
    jobs = Job.fetch_many(map(job_id, runs), connection=queues.connection()) if runs else []
    queued = {job.origin for job in jobs if job and job.get_status(refresh=False) == JobStatus.QUEUED}
    listed = {one for name in queued for one in queues.queue(name).get_job_ids()}
    return [run for run, job in zip(runs, jobs, strict=True) if job is None or not _will_run(job, listed)]


def _will_run(job: Job, listed: set[str]) -> bool:
    """`listed`: ids of the jobs that stand in a queue."""
    status = job.get_status(refresh=False)
    if status == JobStatus.STARTED:
        return job.started_at is not None and job.started_at > timezone.now() - JUST_STARTED
    if status == JobStatus.QUEUED:  # a worker that was killed as it took the job leaves it so, and in no queue
        return job.id in listed or (job.enqueued_at is not None and job.enqueued_at > timezone.now() - GRACE)
    return status in WAITING
