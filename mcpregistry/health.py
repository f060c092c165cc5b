"""`/healthz`: does everything that a request may need answer, and is somebody working on every queue?
`/livez`: does this process answer at all? `/readyz`: should it be sent requests?"""

import socket
import time
from collections.abc import Callable
from typing import Any

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_rq import get_connection, get_queue
from redis import Redis, RedisError
from rq import Worker
from rq.worker import BaseWorker

from mcpregistry.draining import state

Check = dict[str, Any]


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """`{"status": "ok" | "degraded", "checks": {name: {"ok": bool, …}}}`, 200 or 503."""
    return answer({"database": database(), "redis": redis(), "queues": queues()}, "degraded")


@never_cache
@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    """For whoever starts again what hangs. What else is down is no reason: a new process would find the same."""
    return answer({}, "")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """For the proxy in front: 503 while this process ends, its tables are not there yet, or the database is away.

    Redis is not asked: without it pages work, and every process would be as unready as this one.
    """
    return answer({"serving": serving(), "database": database(), "migrations": migrations()}, "not ready")


def answer(checks: dict[str, Check], otherwise: str) -> JsonResponse:
    ok = all(check["ok"] for check in checks.values())
    response = JsonResponse({"status": "ok" if ok else otherwise, "checks": checks}, status=200 if ok else 503)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django logs a 503 as an error; asking is none
    return response


def serving() -> Check:
    return {"ok": False, "error": "draining"} if state.is_draining else {"ok": True}


def migrations() -> Check:
    """Those of this version; it stays as it is once they are there, as no later version takes any back."""
    global _migrated
    try:
        _migrated = _migrated or not missing_migrations()
    except DatabaseError as error:
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True} if _migrated else {"ok": False, "error": "pending"}


_migrated = False


def missing_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [str(migration) for migration, _ in plan]


def database() -> Check:
    return timed(ask_database)


def redis() -> Check:
    return timed(lambda: get_connection("runs").ping())


def timed(ask: Callable[[], object]) -> Check:
    started = time.perf_counter()
    try:
        ask()
    except (DatabaseError, RedisError) as error:
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True, "took_ms": round((time.perf_counter() - started) * 1000, 1)}


def ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def queues() -> Check:
    """Workers alive and jobs waiting, a queue: a queue that nobody works on is not ok."""
    try:
        found = {name: queue_state(name) for name in settings.RQ_QUEUES}
    except RedisError as error:
        return {"ok": False, "error": type(error).__name__}
    return {"ok": all(state["workers"] for state in found.values()), **found}


def queue_state(name: str) -> dict[str, int]:
    queue = get_queue(name)
    return {"workers": len(live_workers(queue.connection, name)), "waiting": queue.count}


def live_workers(connection: Redis, queue_name: str) -> list[BaseWorker]:
    """Workers of a queue, without those that died on this machine and could not sign off."""
    workers = Worker.all(connection=connection, queue=get_queue(queue_name))
    here = socket.gethostname()
    return [worker for worker in workers if worker.hostname != here or psutil.pid_exists(worker.pid or 0)]
