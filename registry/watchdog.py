"""Ends a job whose event loop stands still while it reaches servers: what one of them sent keeps this process busy
beyond any time-out, for no time-out of a loop is heard while the loop cannot take its turn.

The kernel counts the seconds this process computes since the last turn and ends it by SIGNAL. It needs no thread and
no turn of Python's, so that C code which never looks up is ended too; a machine that is busy with others does not
count, nor does waiting. Whoever started the process (mcpregistry/workers.py) learns by the signal what happened.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FROZEN_S = 10.0  # of computing; the largest answer that is taken costs about three
BEAT_S = 0.5
SIGNAL = signal.SIGVTALRM
WORDS = "What the server sent kept us computing without end: it was given up."
_watched: set[int] = set()  # this process, once it is


def watch_this_process() -> None:
    """For a process that does one job and has nothing else to lose."""
    signal.signal(SIGNAL, signal.SIG_DFL)
    _watched.add(os.getpid())


@asynccontextmanager
async def loop_watched() -> AsyncIterator[None]:
    """While the block runs, the loop must take its turn."""
    if os.getpid() not in _watched:
        yield
        return
    _rearm(FROZEN_S)
    beating = asyncio.create_task(_beat(), name="watchdog")
    try:
        yield
    finally:
        beating.cancel()
        _rearm(0)  # another session that is open sets it again with its next beat


async def _beat() -> None:
    while True:
        _rearm(FROZEN_S)
        await asyncio.sleep(BEAT_S)


def _rearm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
