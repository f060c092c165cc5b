"""Fifty runs at once for two workers: how long, and how much memory."""

import json
import threading
import time
import urllib.request
from contextlib import suppress
from typing import Any

import psutil

from bench.chain import PLAN, QUIET, call, connect
from tests.stack import Stack, running_stack
from tests.toys import running_toy

RUNS = 50
LOOK_S = 0.1


def fifty_runs(repeat: int) -> list[float]:
    """Seconds until the last of them has ended."""
    return [_crowd()[0] for _ in range(repeat)]


def memory_of_fifty(repeat: int) -> list[float]:
    """MB that the two workers and their jobs' processes held at most, memory they share counted once."""
    return [_crowd()[1] for _ in range(repeat)]


def _crowd() -> tuple[float, float]:
    toy = running_toy("text")
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", WORKERS="2", **QUIET) as stack:
            connect(stack, toy)
            memory = Memory(stack)
            began = time.monotonic()
            started = [
                call(stack, "POST", "/chain/execute", {"plan": PLAN, "inputs": {"text": "a b"}}) for _ in range(RUNS)
            ]
            seen = [events_of(stack, run["stream_url"]) for run in started]
            took = time.monotonic() - began
            check(seen)
            return took, memory.peak_mb()
    finally:
        toy.stop()


def events_of(stack: Stack, path: str) -> list[dict[str, Any]]:
    """All events of a run, once it is over."""
    headers = {"Authorization": f"Token {stack.token}", "Last-Event-ID": "0"}
    request = urllib.request.Request(stack.base + path, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as stream:  # nosec B310 # an address of this machine
        return [json.loads(line[5:]) for line in stream if line.startswith(b"data:")]


def check(seen: list[list[dict[str, Any]]]) -> None:
    for events in seen:
        in_order = [event["seq"] for event in events] == list(range(1, len(events) + 1))
        if not in_order or events[-1]["type"] != "RUN_FINISHED":
            raise RuntimeError(f"A run did not end in order: {events[-1]}")


class Memory:
    """Looks all the time what the workers of a queue and their children hold together."""

    def __init__(self, stack: Stack, queue: str = "runs") -> None:
        family = psutil.Process(stack.process.pid).children()
        self.workers = [each for each in family if each.name().startswith(f"{queue}-")]
        self.highest = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.ended.wait(LOOK_S):
            self.highest = max(self.highest, sum(map(held, self.workers)))

    def cpu_s(self) -> float:
        """Seconds of processor time the workers have used so far."""
        return sum(each.cpu_times().user + each.cpu_times().system for each in self.workers)

    def peak_mb(self) -> float:
        self.ended.set()
        self.thread.join()
        return self.highest / 1_000_000


def held(worker: psutil.Process) -> int:
    total = 0
    for each in [worker, *worker.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss
    return total
