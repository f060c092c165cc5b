"""Web processes: one daphne or several on one listening socket, which stays open while any of them is started again."""

import os
import socket
import sys

from django.conf import settings
from django.core.management.base import CommandError

from mcpregistry.supervisor import Program, command

BACKLOG = 512  # connections that wait to be taken
DATABASE_POOL = 20  # connections of each process


def listen(host: str, port: int) -> socket.socket:
    """Bound, so that nobody else gets the port; who connects is refused until `programs`."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CommandError(f"Cannot listen on {host} port {port}: {error.strerror}. Set PORT to a free one.") from error
    return listener


def programs(listener: socket.socket, count: int) -> list[Program]:
    """Whichever process is free takes the next connection."""
    listener.listen(BACKLOG)
    names = ["web"] if count == 1 else [f"web-{number}" for number in range(1, count + 1)]
    return [command(name, arguments(listener), environment(), keep=[listener.fileno()]) for name in names]


def arguments(listener: socket.socket) -> list[str]:
    return [sys.executable, "-m", "daphne", "-v", "0", "--fd", str(listener.fileno()), "mcpregistry.asgi:application"]


def environment() -> dict[str, str]:
    """Settings that differ from ours: a web process keeps database connections in a pool."""
    return os.environ | {
        "DATABASE_URL": settings.DATABASE_URL,
        "REDIS_URL": settings.REDIS_URL,
        "DATA_DIR": str(settings.DATA_DIR),
        "DATABASE_POOL": str(DATABASE_POOL),
        "PYTHONUNBUFFERED": "1",
        "TQDM_DISABLE": "1",
    }
