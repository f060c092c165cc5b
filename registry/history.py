"""How a server did lately: its last checks as a chart, and how often it answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import log10

from django.db.models import Count, Q
from django.utils import timezone

from registry.models import Health, HealthCheck, Server
from registry.schedule import ALIVE

SHOWN_CHECKS = 48
WIDTH, HEIGHT = 480, 72  # of the drawing, in its own units
GAP = 2
LEAST_HEIGHT = 6
SLOWEST_MS = 10_000  # a bar of full height; the scale is logarithmic


@dataclass(frozen=True, slots=True)
class Bar:
    check: HealthCheck
    x: int
    y: int
    width: int
    height: int

    @property
    def tone(self) -> str:
        return "ok" if self.check.health == Health.OK else "wait" if self.check.health in ALIVE else "bad"


@dataclass(frozen=True, slots=True)
class Uptime:
    """`percent` of `checks`, None where there were none."""

    words: str
    checks: int
    answered: int

    @property
    def percent(self) -> str | None:
        """99.9, never 100 where one failed."""
        if not self.checks:
            return None
        share = 100 * self.answered / self.checks
        return "100" if self.answered == self.checks else f"{min(share, 99.9):.1f}"


@dataclass(frozen=True, slots=True)
class History:
    bars: list[Bar]
    uptimes: list[Uptime]
    median_ms: int | None
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def failures(self) -> int:
        return sum(bar.tone == "bad" for bar in self.bars)


def history_of(server: Server) -> History:
    """Of what everybody sees, oldest first; tests with somebody's own credentials say nothing of the server."""
    checks = HealthCheck.objects.shared().filter(server=server)
    newest = list(checks.order_by("-checked_at")[:SHOWN_CHECKS])[::-1]
    known = sorted(check.latency_ms for check in newest if check.latency_ms is not None)
    return History(_bars(newest), _uptimes(server), known[len(known) // 2] if known else None)


def _bars(checks: Sequence[HealthCheck]) -> list[Bar]:
    step = WIDTH // SHOWN_CHECKS
    start = WIDTH - step * len(checks)
    bars = []
    for index, check in enumerate(checks):
        height = _height(check)
        bars.append(Bar(check, start + index * step, HEIGHT - height, step - GAP, height))
    return bars


def _height(check: HealthCheck) -> int:
    """A failure reaches to the top, whatever it took."""
    if check.health not in ALIVE:
        return HEIGHT
    if check.latency_ms is None:
        return LEAST_HEIGHT
    share = log10(max(1, min(check.latency_ms, SLOWEST_MS))) / log10(SLOWEST_MS)
    return max(LEAST_HEIGHT, round(share * HEIGHT))


def _uptimes(server: Server) -> list[Uptime]:
    now = timezone.now()
    spans = {"24 hours": timedelta(days=1), "30 days": timedelta(days=30)}
    counts = {}
    for index, span in enumerate(spans.values()):
        recent = Q(checked_at__gte=now - span)
        counts[f"all_{index}"] = Count("pk", filter=recent)
        counts[f"up_{index}"] = Count("pk", filter=recent & Q(health__in=ALIVE))
    found = HealthCheck.objects.shared().filter(server=server, checked_at__gte=now - max(spans.values()))
    counted = found.aggregate(**counts)
    return [Uptime(words, counted[f"all_{i}"], counted[f"up_{i}"]) for i, words in enumerate(spans)]
