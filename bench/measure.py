"""One thing that is measured, and what came of it."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    name: str
    unit: str
    repeat: int
    what: str
    take: Callable[[int], list[float] | tuple[list[float], list[str]]]  # and lines that say more


@dataclass(frozen=True)
class Figures:
    """Of one measure, in its unit. p95 is the value that 95 of 100 stay under or at."""

    count: int
    minimum: float
    median: float
    p95: float
    maximum: float

    @classmethod
    def of(cls, values: list[float]) -> "Figures":
        ordered = sorted(values)
        p95 = ordered[math.ceil(len(ordered) * 0.95) - 1]
        return cls(len(ordered), ordered[0], statistics.median(ordered), p95, ordered[-1])
