"""A worker that kills itself, as kill -9 does, at an exact place in a step. For tests only.

FAILPOINT names a file; it holds `PLACE STEP` and is gone once that has happened. The places, in their order: `begin`
(nothing is written), `begun` (the call is written down, not made), `answered` (the tool has answered, nothing of it is
written), `ended` (its end is written).
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chains import journal
from chains.models import Run, ToolRun
from mcpregistry.workers import ForkingWorker


def die_at(place: str, step: str) -> None:
    order = Path(os.environ["FAILPOINT"])
    if order.exists() and order.read_text() == f"{place} {step}":
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def between(before: str, verb: Callable[..., None], after: str) -> Callable[..., None]:
    def wrapped(run: Run, row: ToolRun, *args: Any, **kwargs: Any) -> None:
        die_at(before, row.step)
        verb(run, row, *args, **kwargs)
        die_at(after, row.step)

    return wrapped


class FailingWorker(ForkingWorker):
    def work(self, *args: Any, **options: Any) -> bool:
        journal.begin = between("begin", journal.begin, "begun")
        journal.end_step = between("answered", journal.end_step, "ended")
        return super().work(*args, **options)
