"""Kills one part of the product after the other, and writes down how long each was away."""

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from bench.soak.place import AWAY
from tests.stack import Stack

PAUSE_S = 8  # between the return of one part and the end of the next
BACK_S = 90
LOOK_S = 0.1
GRACE_S = 2.0  # after /healthz says ok: connections that were broken are found out at their next use
JUST_BEFORE_S = 0.2


class StaysAway(Exception):
    """A part did not come back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Seconds of time.monotonic."""

    part: str
    killed: float
    back: float

    def excuses(self, begin: float, end: float) -> bool:
        """May what happened in that time have gone wrong because of it?"""
        return end > self.killed - JUST_BEFORE_S and begin < self.back + GRACE_S

    def touches(self, action: str) -> bool:
        """Does a request of this kind need the part? Without a worker everything is acknowledged and waits."""
        return self.part in ("redis", "postgres", "web") or (self.part, action) == ("worker of probes", "healthcheck")


def named(name: str) -> Callable[[psutil.Process], bool]:
    return lambda process: process.name() == name


def with_command(text: str) -> Callable[[psutil.Process], bool]:
    return lambda process: text in " ".join(process.cmdline()[:4])


def horse(process: psutil.Process) -> bool:
    """The process of a job of queue `runs`."""
    parent = process.parent()
    return parent is not None and parent.name().startswith("runs-")


PARTS: dict[str, Callable[[psutil.Process], bool]] = {
    "worker of runs": named("runs-1"),
    "job of a run": horse,
    "redis": with_command("redis-server"),
    "worker of chat": named("chat-1"),
    "web": with_command("daphne"),
    "postgres": with_command("bin/postgres -D"),
    "worker of probes": named("probes-1"),
}


def family(stack: Stack) -> list[psutil.Process]:
    return [each for each in psutil.Process(stack.process.pid).children(recursive=True) if is_alive(each)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Killer(threading.Thread):
    """Until `stopped`, in turn; a part that does not come back ends it, and `error` says so."""

    def __init__(self, stack: Stack, stopped: threading.Event, seconds: float) -> None:
        super().__init__(daemon=True)
        self.stack, self.stopped, self.until = stack, stopped, time.monotonic() + seconds
        self.faults: list[Fault] = []
        self.error = ""

    def run(self) -> None:
        for part in itertools.cycle(PARTS):
            if self.stopped.wait(PAUSE_S) or time.monotonic() > self.until:
                return
            try:
                self.kill(part)
            except StaysAway as error:
                self.error = str(error)
                return

    def kill(self, part: str) -> None:
        victim = self.find(part)
        if victim is None:
            return
        killed = time.monotonic()
        with suppress(psutil.NoSuchProcess):
            victim.kill()
            victim.wait(10)
        self.faults.append(Fault(part, killed, self.when_back(part)))

    def find(self, part: str) -> psutil.Process | None:
        """A job's process is there only while a job is; everything else always."""
        deadline = time.monotonic() + PAUSE_S
        while time.monotonic() < deadline:
            with suppress(psutil.NoSuchProcess):
                for process in family(self.stack):
                    if PARTS[part](process):
                        return process
            time.sleep(LOOK_S / 4)
        return None

    def when_back(self, part: str) -> float:
        deadline = time.monotonic() + BACK_S
        while time.monotonic() < deadline:
            if (part == "job of a run" or self.find(part)) and self.is_healthy():
                return time.monotonic()
            time.sleep(LOOK_S)
        raise StaysAway(f"{part} did not come back within {BACK_S} s.\n{self.stack.output[-3000:]}")

    def is_healthy(self) -> bool:
        try:
            return self.stack.healthz()[0] == 200
        except AWAY:
            return False
