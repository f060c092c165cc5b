"""How many requests each view got, how they ended and how long they took; one line of the log for each where wanted."""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Gauge, Histogram

access = logging.getLogger("mcpregistry.access")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LOOK_S = 1.0
POOL_STATES = {"size": "pool_size", "free": "pool_available", "waiting": "requests_waiting"}
requests_total = Counter("mcpr_requests", "Requests answered.", ["view", "method", "status"])
duration = Histogram("mcpr_request_duration_seconds", "Until the answer began.", ["view"], buckets=BUCKETS_S)
pool = Gauge("mcpr_database_pool", "The web processes' database connections.", ["state"], multiprocess_mode="livesum")
_looked_at = 0.0


class MetricsMiddleware:
    """Outermost of the middleware: whatever answers is counted."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = self.get_response(request)
        took_s = time.perf_counter() - began
        view, method = view_of(request), request.method if request.method in METHODS else "other"
        requests_total.labels(view, method, response.status_code).inc()
        duration.labels(view).observe(took_s)
        look_at_pool()
        if settings.ACCESS_LOG:
            told = {"view": view, "method": method, "status": response.status_code, "duration_ms": round(took_s * 1000)}
            access.info("%s %s %s in %s ms", method, view, told["status"], told["duration_ms"], extra=told)
        return response


def view_of(request: HttpRequest) -> str:
    """Its name: there are only so many, whatever is asked for. Never the address, which may hold a secret."""
    match = request.resolver_match
    return (match.view_name or match.route) if match else "none"


def look_at_pool() -> None:
    """Now and then: who reads it does so every few seconds."""
    global _looked_at
    if settings.DATABASE_POOL and time.monotonic() - _looked_at > LOOK_S:
        _looked_at = time.monotonic()
        told = connection.pool.get_stats()  # type: ignore[attr-defined]
        for state, name in POOL_STATES.items():
            pool.labels(state).set(told.get(name, 0))
