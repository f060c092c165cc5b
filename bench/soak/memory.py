"""How much memory each kind of process holds, and whether it grows."""

import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass

import psutil

from bench.soak.faults import family
from tests.stack import Stack

LOOK_S = 5.0  # looking costs more than a little
HOUR_S = 3600
SHARING = ("postgres", "redis")
KINDS = ("runs", "probes", "chat", "catalogue", "cron")


@dataclass(frozen=True, slots=True)
class Growth:
    """MB at the beginning and end of the least-squares line, and its slope in MB an hour."""

    kind: str
    began_mb: float
    ended_mb: float
    slope_mb_h: float
    seconds: float


def kind_of(process: psutil.Process) -> str:
    """ "" for a job's process, a server's child and whoever comes and goes."""
    parent, name = process.parent(), process.name()
    prefix = name.partition("-")[0]
    if prefix in KINDS:
        return prefix if parent and parent.name() != name else ""
    command = " ".join(process.cmdline()[:4])
    return next((kind for kind, text in COMMANDS.items() if text in command), "postgres" if name == "postgres" else "")


COMMANDS = {"web": "daphne", "redis": "redis-server"}


class Watch(threading.Thread):
    """What processes hold, summed by kind. Of our own the resident set: what they share changes whenever a worker forks
    for a job. Of Postgres and Redis the proportional one, as all their processes map the same buffers."""

    def __init__(self, stack: Stack, stopped: threading.Event) -> None:
        super().__init__(daemon=True)
        self.stack, self.stopped = stack, stopped
        self.samples: dict[str, list[tuple[float, float]]] = defaultdict(list)  # seconds, MB

    def run(self) -> None:
        while not self.stopped.wait(LOOK_S):
            for kind, held in self.look().items():
                self.samples[kind].append((time.monotonic(), held / 1e6))

    def look(self) -> dict[str, int]:
        held: dict[str, int] = defaultdict(int)
        for process in family(self.stack):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if kind := kind_of(process):
                    told = process.memory_full_info()
                    held[kind] += told.pss if kind in SHARING else told.rss
        return held

    def growth(self, since: float) -> list[Growth]:
        found = {kind: [each for each in samples if each[0] >= since] for kind, samples in self.samples.items()}
        return [growth_of(kind, samples) for kind, samples in sorted(found.items()) if len(samples) > 2]


def growth_of(kind: str, samples: list[tuple[float, float]]) -> Growth:
    slope, level = least_squares(samples)
    begin, end = samples[0][0], samples[-1][0]
    return Growth(kind, level + slope * begin, level + slope * end, slope * HOUR_S, end - begin)


def least_squares(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """Slope and level of the line that fits best."""
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    return slope, mean_y - slope * mean_x
