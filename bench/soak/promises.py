"""What was promised, each checked against what is there in the end. A broken promise is a sentence."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.soak.faults import Fault
from bench.soak.memory import Growth
from bench.soak.place import CHAT_FILE, Asked, Place
from bench.soak.users import Acknowledged

ENDED = ("succeeded", "failed", "cancelled")
SETTLE_S = 180
LOOK_S = 0.5
MAX_SLOPE_MB_H = 60
MAX_RISE_MB = 12  # a rise this small is a cache that fills
JUDGED_S = 150  # a shorter look at memory says nothing
FILLS_ITS_CACHE = ("postgres",)


@dataclass
class Verdict:
    kept: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def judge(self, promise: str, problems: Sequence[str]) -> None:
        if problems:
            self.broken.append(f"{promise} ({len(problems)} times: {'; '.join(problems[:5])})")
        else:
            self.kept.append(promise)


Run = Mapping[str, Any]


def settled_runs(place: Place, acknowledged: Acknowledged) -> dict[str, Run]:
    """Every acknowledged run, once it is over or time is up; what may have happened is looked up and answered."""
    ids = [*acknowledged.chains.values(), *(run for run, _ in acknowledged.chats)]
    key_of = {run: key for key, run in acknowledged.chains.items()}
    runs: dict[str, Run] = {}
    deadline = time.monotonic() + SETTLE_S
    while (left := [each for each in ids if not is_over(runs.get(each))]) and time.monotonic() < deadline:
        for run_id in left:
            asked = place.ask("settle", "GET", f"/chain/runs/{run_id}", acknowledged.owners[run_id])
            if asked.status == 200:
                runs[run_id] = asked.body
                answer_unknown(place, asked.body, key_of.get(run_id, CHAT_FILE), acknowledged.owners[run_id])
        time.sleep(LOOK_S)
    return runs


def is_over(run: Run | None) -> bool:
    return run is not None and run["status"] in ENDED


def answer_unknown(place: Place, run: Run, path: str, token: str) -> None:
    """As a person would: look whether the write is there, then have it repeated or go on without."""
    for step in run["steps"] if run["status"] == "awaiting_approval" else ():
        if step["status"] == "unknown":
            action = "skip" if path == CHAT_FILE or path in place.writes() else "repeat"
            data = {"step": step["id"], "action": action}
            place.ask("settle", "POST", f"/chain/runs/{run['id']}/resolve", token, data)


def lost_runs(acknowledged: Acknowledged, runs: Mapping[str, Run]) -> list[str]:
    ids = [*acknowledged.chains.values(), *(run for run, _ in acknowledged.chats)]
    return [
        f"run {each} is {runs[each]['status'] if each in runs else 'gone'}"
        for each in ids
        if not is_over(runs.get(each))
    ]


def missing(place: Place, acknowledged: Acknowledged) -> list[str]:
    """Templates and conversations that are not there."""
    paths = {f"/chain/templates/{each}": each for each in acknowledged.templates}
    paths |= {f"/chat/{each}": each for _, each in acknowledged.chats}
    found = {path: place.ask("settle", "GET", path, acknowledged.owners[each]) for path, each in paths.items()}
    return [f"{path} is {asked.status}" for path, asked in found.items() if asked.status != 200]


def miscounted_writes(writes: Sequence[str], chains: Mapping[str, str], runs: Mapping[str, Run]) -> list[str]:
    """Of chains: a write at most once, and exactly once where its run succeeded."""
    counted = Counter(writes)
    problems = [
        f"{path} was written {count} times" for path, count in counted.items() if count > 1 and path != CHAT_FILE
    ]
    done = [key for key, run in chains.items() if runs.get(run, {}).get("status") == "succeeded"]
    return problems + [f"{key} was never written, and its run succeeded" for key in done if not counted[key]]


def miscounted_chat_writes(
    writes: Sequence[str], chats: Iterable[tuple[str, str]], runs: Mapping[str, Run]
) -> list[str]:
    """Every chat writes to one path: as often as steps say so, but for those of which the end is not known."""
    steps = [step for run, _ in chats for step in runs.get(run, {"steps": []})["steps"] if step["tool"] == "write_file"]
    sure = sum(step["status"] == "succeeded" and not was_skipped(step) for step in steps)
    perhaps = sum(was_skipped(step) or step["status"] in ("unknown", "failed") for step in steps)
    counted = Counter(writes)[CHAT_FILE]
    if sure <= counted <= sure + perhaps:
        return []
    return [f"{CHAT_FILE} was written {counted} times, {sure} steps say so and {perhaps} do not know"]


def was_skipped(step: Mapping[str, Any]) -> bool:
    """A person said to go on without: its result is what that person gave."""
    return step["status"] == "skipped" or not str((step.get("result") or {}).get("text", "")).startswith("wrote")


def unexcused_failures(runs: Mapping[str, Run], faults: Sequence[Fault], clock: float) -> list[str]:
    """Runs that failed although nothing was killed in their time. `clock`: of the wall, less that of the faults."""
    failed = [run for run in runs.values() if run["status"] == "failed"]
    spans = [(run, timestamp(run["created_at"]) - clock, timestamp(run["finished_at"]) - clock) for run in failed]
    return [
        f"run {run['id']}: {run['error']}"
        for run, begin, end in spans
        if not any(fault.excuses(begin, end) for fault in faults)
    ]


def timestamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def unexcused_errors(asked: Iterable[Asked], faults: Sequence[Fault]) -> list[str]:
    """Requests that failed while nothing was away."""
    return [
        f"{each.action} at {each.sent:.1f}: {each.status} {str(each.body)[:200]}"
        for each in asked
        if is_error(each) and not is_excused(each, faults)
    ]


def is_excused(asked: Asked, faults: Sequence[Fault]) -> bool:
    return any(fault.touches(asked.action) and fault.excuses(asked.sent, asked.answered) for fault in faults)


def is_error(asked: Asked) -> bool:
    return asked.status == 0 or asked.status >= 400


def broken_streams(streams: Iterable[tuple[str, Sequence[int]]]) -> list[str]:
    """Events of a run come in order, none lost and none twice, over however many connections."""
    return [f"run {run}: {list(seen)}" for run, seen in streams if list(seen) != list(range(1, len(seen) + 1))]


def growing(growths: Iterable[Growth]) -> list[str]:
    return [
        f"{each.kind} grows by {each.slope_mb_h:.0f} MB an hour"
        for each in growths
        if each.kind not in FILLS_ITS_CACHE
        and each.slope_mb_h > MAX_SLOPE_MB_H
        and each.ended_mb - each.began_mb > MAX_RISE_MB
    ]
