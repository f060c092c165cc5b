"""Postgres 18 with pgvector, and Redis, for a machine that has neither: from wheels, one pair for each DATA_DIR.

Any process with the same DATA_DIR finds them by `database_url` and `redis_url`; they listen on unix sockets only.
They are children of the process that starts them and end with it, even when it is killed.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mcpregistry.embedded.places import EmbeddedError, lock_file
from mcpregistry.embedded.postgres import database_url, postgres_answers, start_postgres, stop_postgres
from mcpregistry.embedded.redis import redis_answers, redis_url, start_redis, stop_redis

__all__ = [
    "EmbeddedError",
    "database_url",
    "postgres_answers",
    "redis_answers",
    "redis_url",
    "services",
    "start_postgres",
    "start_redis",
    "stop_postgres",
    "stop_redis",
]


@contextmanager
def services(data_dir: Path, *, postgres: bool = True, redis: bool = True, durable: bool = True) -> Iterator[None]:
    """What is not running yet, for the time of the block; others who came to use it meanwhile are waited for."""
    with ExitStack() as stack:
        users = stack.enter_context(lock_file(data_dir, "services"))
        fcntl.flock(users, fcntl.LOCK_SH)
        if postgres and (server := start_postgres(data_dir, durable=durable)):
            stack.callback(stop_postgres, server)
            stack.callback(fcntl.flock, users, fcntl.LOCK_EX)
        if redis and (cache := start_redis(data_dir)):
            stack.callback(stop_redis, cache)
            stack.callback(fcntl.flock, users, fcntl.LOCK_EX)
        yield
