"""The queues, over one pool of connections to Redis for each process: django-rq would connect anew for every job."""

from functools import cache

import django_rq
from redis import Redis
from rq import Queue


@cache
def connection() -> Redis:
    """A process that was forked connects anew by itself."""
    return django_rq.get_connection("runs")


@cache
def queue(name: str) -> Queue:
    return django_rq.get_queue(name, connection=connection())
