"""How long many steps take that need nothing of each other."""

import time
from typing import Any

from bench.chain import QUIET, call, connect, last_event
from tests.stack import Stack, running_stack
from tests.toys import running_toy

STEPS = 20
SECONDS = 0.5


def twenty_at_once(repeat: int) -> list[float]:
    """Seconds from the request to the last event."""
    toy = running_toy("text")
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", **QUIET) as stack:
            connect(stack, toy)
            side_by_side(stack)
            return [side_by_side(stack) for _ in range(repeat)]
    finally:
        toy.stop()


def side_by_side(stack: Stack) -> float:
    started_at = time.perf_counter()
    run = call(stack, "POST", "/chain/execute", {"plan": {"version": 1, "steps": [waiting(n) for n in range(STEPS)]}})
    if (last := last_event(stack, run["stream_url"])) != "RUN_FINISHED":
        raise RuntimeError(f"The run ended with {last}")
    return time.perf_counter() - started_at


def waiting(number: int, seconds: float = SECONDS, **fields: Any) -> dict[str, Any]:
    return {"id": f"s{number}", "server": "toy", "tool": "slow", "arguments": {"seconds": seconds}, **fields}
