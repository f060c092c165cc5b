"""How soon 200 viewers, half over websockets, half over event streams, see what happens in running chains."""

import json
import subprocess
import sys

from bench.chain import QUIET, call, connect
from bench.parallel import waiting
from tests.chains.following import signed_in
from tests.stack import Stack, running_stack
from tests.toys import ROOT, running_toy

RUNS = 4
VIEWERS = 50  # of each run
STEPS = 8  # each tells ten times how far it is
SECONDS = 2.0
TIMEOUT_S = 180


def event_to_viewer(repeat: int) -> list[float]:
    """Milliseconds from an event's time, set before its transaction ends, to its arrival at a viewer."""
    toy = running_toy("text")
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", WORKERS=str(RUNS), **QUIET) as stack:
            connect(stack, toy)
            return [taken for _ in range(repeat) for taken in watched_once(stack)]
    finally:
        toy.stop()


def watched_once(stack: Stack) -> list[float]:
    chain = [waiting(n, SECONDS, needs=[f"s{n - 1}"] if n else []) for n in range(STEPS)]
    started = [call(stack, "POST", "/chain/execute", {"plan": {"version": 1, "steps": chain}}) for _ in range(RUNS)]
    place = {"port": stack.port, "token": stack.token, "cookie": signed_in(stack), "viewers": VIEWERS}
    done = subprocess.run(
        [sys.executable, "-m", "bench.watching"],
        input=json.dumps(place | {"runs": [run["run_id"] for run in started]}),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    seen = json.loads(done.stdout)
    times = seen.pop("ms")
    if any(seen.values()) or not times:
        raise RuntimeError(f"{len(times)} events came to somebody who watched; not as it should be: {seen}")
    return [float(taken) for taken in times]
