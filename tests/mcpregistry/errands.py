"""Jobs for a worker's process. For tests only."""

import os
import signal
from pathlib import Path

from chains.models import Run

_kept: list[bytes] = []


def sign(book: str) -> None:
    with Path(book).open("a") as lines:
        lines.write(f"{os.getpid()}\n")


def fail(book: str) -> None:
    sign(book)
    raise RuntimeError("as it was told")


def grow(book: str) -> None:
    sign(book)
    _kept.append(os.urandom(100_000_000))


def die(book: str) -> None:
    sign(book)
    os.kill(os.getpid(), signal.SIGKILL)


def count(book: str) -> None:
    """Needs the database."""
    Run.objects.count()
    sign(book)
