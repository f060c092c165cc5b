"""`/healthz`: does everything that a request may need answer, and is somebody working on every queue?"""

import socket
import time
from collections.abc import Callable
from typing import Any

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_rq import get_connection, get_queue
from redis import Redis, RedisError
from rq import Worker
from rq.worker import BaseWorker

Check = dict[str, Any]


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """`{"status": "ok" | "degraded", "checks": {name: {"ok": bool, …}}}`, 200 or 503."""
    checks = {"database": database(), "redis": redis(), "queues": queues()}
    ok = all(check["ok"] for check in checks.values())
    response = JsonResponse({"status": "ok" if ok else "degraded", "checks": checks}, status=200 if ok else 503)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django logs a 503 as an error; asking is none
    return response


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
