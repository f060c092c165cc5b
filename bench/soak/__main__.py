"""`python -m bench.soak`: SOAK_SECONDS of it, a report, and exit status 1 where a promise was broken."""

import os
import sys
import threading
import time

from bench.machine import machine
from bench.soak import promises, report
from bench.soak.faults import Killer
from bench.soak.memory import Watch
from bench.soak.place import Place, soaked_place
from bench.soak.promises import JUDGED_S, Verdict
from bench.soak.users import Acknowledged, User

SECONDS = float(os.environ.get("SOAK_SECONDS") or 600)
FAULTY = 0.4  # of the time parts are killed; the rest shows whether memory grows
WARM_S = 150  # what came back last has filled its caches by then: a chat worker does within its first 150 turns
JOIN_S = 150


def main() -> None:
    print(f"{machine()}\n", flush=True)
    with soaked_place() as place:
        broken = soak(place)
    sys.exit(1 if broken else 0)


def soak(place: Place) -> list[str]:
    stopped, acknowledged = threading.Event(), Acknowledged()
    clock, began = time.time() - time.monotonic(), time.monotonic()
    users = [User(place, token, acknowledged, stopped) for token in place.tokens]
    killer, watch = Killer(place.stack, stopped, SECONDS * FAULTY), Watch(place.stack, stopped)
    for thread in [*users, killer, watch]:
        thread.start()
    killer.join()
    steady = time.monotonic() + min(WARM_S, SECONDS / 4)
    stopped.wait(max(0.0, began + SECONDS - time.monotonic()))
    stopped.set()
    for thread in [*users, watch]:
        thread.join(JOIN_S)
    runs = promises.settled_runs(place, acknowledged)
    growths = watch.growth(steady)
    verdict = Verdict()
    judge(verdict, place, acknowledged, runs, killer, clock)
    if any(each.seconds >= JUDGED_S for each in growths):
        verdict.judge("memory is flat", promises.growing(growths))
    tell(place, acknowledged, runs, killer, growths, verdict, began)
    return verdict.broken


def judge(
    verdict: Verdict,
    place: Place,
    acknowledged: Acknowledged,
    runs: dict[str, promises.Run],
    killer: Killer,
    clock: float,
) -> None:
    writes = place.writes()
    verdict.judge("every part comes back", [killer.error] if killer.error else [])
    verdict.judge("every acknowledged run ends", promises.lost_runs(acknowledged, runs))
    verdict.judge("every acknowledged template and conversation is there", promises.missing(place, acknowledged))
    verdict.judge("no write of a chain is doubled", promises.miscounted_writes(writes, acknowledged.chains, runs))
    verdict.judge("no write of a chat is doubled", promises.miscounted_chat_writes(writes, acknowledged.chats, runs))
    verdict.judge("no event is lost or doubled", promises.broken_streams(acknowledged.streams))
    verdict.judge("runs fail only while a part is away", promises.unexcused_failures(runs, killer.faults, clock))
    verdict.judge("errors only while a part is away", promises.unexcused_errors(place.asked, killer.faults))


def tell(
    place: Place,
    acknowledged: Acknowledged,
    runs: dict[str, promises.Run],
    killer: Killer,
    growths: list[promises.Growth],
    verdict: Verdict,
    began: float,
) -> None:
    ends = {status: sum(run["status"] == status for run in runs.values()) for status in promises.ENDED}
    waits = sorted(acknowledged.waits_s) or [0.0]
    lines = [
        f"## Soak of {SECONDS:.0f} s, {len(place.tokens)} users",
        "",
        *report.requests_table(place.asked, killer.faults),
        "",
        *report.faults_table(killer.faults, began),
        "",
        *report.memory_table(growths),
        "",
        f"{len(acknowledged.chains)} chains, {len(acknowledged.chats)} chats, {len(acknowledged.templates)} templates "
        f"acknowledged; runs ended: {ends}; writes: {len(place.writes())}; a chain from its request to its last event: "
        f"median {waits[len(waits) // 2]:.1f} s, longest {waits[-1]:.1f} s.",
        "",
        *report.verdict_lines(verdict, growths),
        "",
        f"Verdict: {'BROKEN' if verdict.broken else 'every promise kept'}.",
    ]
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
