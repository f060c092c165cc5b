"""How long `make run` takes once everything is installed."""

import time
from pathlib import Path

from tests.stack import Stack, stack_data_dir


def first_start(repeat: int) -> list[float]:
    taken = []
    for _ in range(repeat):
        with stack_data_dir() as data_dir:
            taken.append(start_once(data_dir))
    return taken


def second_start(repeat: int) -> list[float]:
    with stack_data_dir() as data_dir:
        start_once(data_dir)
        return [start_once(data_dir) for _ in range(repeat)]


def start_once(data_dir: Path) -> float:
    """Seconds from the command to its welcome, with as many workers as `make run` has."""
    started_at = time.perf_counter()
    stack = Stack(data_dir, WORKERS="2")
    try:
        stack.wait_for("Ctrl-C")
        return time.perf_counter() - started_at
    finally:
        stack.stop()
