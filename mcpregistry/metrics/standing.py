"""How the registry stands, looked up at the time of asking: queues in Redis, everything else in Postgres."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count, Min, Sum
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from redis import RedisError
from rq.job import Job
from rq.queue import Queue

from chains.models import HeldFile, Result, Run
from mcpregistry.health import live_workers
from registry.models import SearchDocument, Server
from registry.queues import queue as queue_named

RECENT = timedelta(minutes=5)
STEPS = """
    SELECT status, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms), max(duration_ms)
    FROM tool_runs WHERE duration_ms IS NOT NULL AND run_id IN (SELECT id FROM runs WHERE finished_at > %s)
    GROUP BY status
"""
CONNECTIONS = """
    SELECT coalesce(state, 'other'), count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1
"""


class Standing(Collector):
    """A part that does not answer says so in `mcpr_up`, and the other's figures are still given."""

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("mcpr_up", "Does it answer?", labels=["part"])
        for part, look, failure in (("redis", queues, RedisError), ("database", tables, DatabaseError)):
            try:
                yield from list(look())
                up.add_metric([part], 1)
            except failure:
                up.add_metric([part], 0)
        yield up


def gauge(name: str, help_text: str, labels: list[str], values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"mcpr_{name}", help_text, labels=labels)
    for told, value in values.items():
        family.add_metric(told, value)
    return family


def queues() -> Iterator[GaugeMetricFamily]:
    found = {name: queue_named(name) for name in settings.RQ_QUEUES}

    def of_each(look: Callable[[Queue], float]) -> dict[tuple[str], float]:
        return {(name,): look(queue) for name, queue in found.items()}

    yield gauge("queue_jobs", "Jobs waiting.", ["queue"], of_each(lambda queue: queue.count))
    yield gauge("queue_oldest_job_age_seconds", "Of the job that waits longest.", ["queue"], of_each(oldest_age_s))
    yield gauge(
        "queue_failed_jobs", "Failed jobs kept.", ["queue"], of_each(lambda queue: queue.failed_job_registry.count)
    )
    yield gauge(
        "queue_workers",
        "Workers alive.",
        ["queue"],
        of_each(lambda each: len(live_workers(each.connection, each.name))),
    )


def oldest_age_s(queue: Queue) -> float:
    ids = queue.get_job_ids(0, 1)
    jobs = Job.fetch_many(ids, connection=queue.connection) if ids else []
    since = jobs[0].enqueued_at if jobs and jobs[0] else None
    return max(0.0, (timezone.now() - since).total_seconds()) if since else 0.0


def tables() -> Iterator[GaugeMetricFamily]:
    since = timezone.now() - RECENT
    yield from runs()
    yield from steps()
    health = Server.objects.order_by().values_list("health").annotate(count=Count("pk"))
    yield gauge("servers", "Servers by what their last test found.", ["health"], by_label(health))
    tested = health.filter(last_healthcheck__gt=since)
    yield gauge("servers_tested", "Those tested in the last five minutes.", ["health"], by_label(tested))
    backlog = {("search_documents",): SearchDocument.objects.filter(embedding=None).count()}
    backlog |= {("results",): Result.objects.filter(embedding=None).count()}
    yield gauge("embedding_backlog", "Texts without an embedding.", ["table"], backlog)
    held = HeldFile.objects.aggregate(bytes=Sum("result__size_bytes"))["bytes"] or 0
    yield gauge("held_file_bytes", "Files that wait for the storage.", [], {(): held})
    connections = {(state,): count for state, count in rows(CONNECTIONS)}
    yield gauge("database_connections", "To this database, by state.", ["state"], connections)


def by_label(counted: Iterable[tuple[str, int]]) -> dict[tuple[str], float]:
    return {(label,): count for label, count in counted}


def runs() -> Iterator[GaugeMetricFamily]:
    labels = ["kind", "status"]
    unfinished = Run.objects.order_by().unfinished()
    counted = unfinished.values_list("kind", "status").annotate(count=Count("pk"))
    yield gauge("runs", "Runs that are not over.", labels, {(kind, status): n for kind, status, n in counted})
    recent = Run.objects.order_by().ended_before(timezone.now()).filter(finished_at__gt=timezone.now() - RECENT)
    counted = recent.values_list("kind", "status").annotate(count=Count("pk"))
    yield gauge("runs_ended", "Runs that ended in the last five minutes.", labels, {(k, s): n for k, s, n in counted})
    oldest = unfinished.filter(status=Run.Status.QUEUED).aggregate(since=Min("created_at"))["since"]
    age_s = (timezone.now() - oldest).total_seconds() if oldest else 0.0
    yield gauge("run_oldest_queued_age_seconds", "Of the run that waits longest for a worker.", [], {(): age_s})


def steps() -> Iterator[GaugeMetricFamily]:
    found = list(rows(STEPS, timezone.now() - RECENT))
    taken = {
        (status, quantile): milliseconds / 1000
        for status, _, *times in found
        for quantile, milliseconds in zip(("0.5", "0.95", "1"), times, strict=True)
    }
    words = "Steps of runs that ended in the last five minutes"
    yield gauge("steps_ended", f"{words}.", ["status"], {(status,): count for status, count, *_ in found})
    yield gauge("step_duration_seconds", f"{words}: how long they took.", ["status", "quantile"], taken)


def rows(query: str, *values: datetime) -> Iterator[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        yield from cursor.fetchall()
