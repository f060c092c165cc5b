"""What a soak found, in Markdown."""

from collections.abc import Iterable, Sequence

from bench.soak.faults import Fault
from bench.soak.memory import Growth
from bench.soak.place import Asked
from bench.soak.promises import JUDGED_S, Verdict, is_error, is_excused

ORDER = ("search", "look", "healthcheck", "chain", "chat", "template")


def requests_table(asked: Sequence[Asked], faults: Sequence[Fault]) -> list[str]:
    head = ["| request | n | errors, a part away | errors else | median ms | p95 ms | max ms |"]
    head += ["| --- | --- | --- | --- | --- | --- | --- |"]
    return head + [requests_row(action, [each for each in asked if each.action == action], faults) for action in ORDER]


def requests_row(action: str, asked: Sequence[Asked], faults: Sequence[Fault]) -> str:
    errors = [each for each in asked if is_error(each)]
    excused = sum(is_excused(each, faults) for each in errors)
    took = sorted((each.answered - each.sent) * 1000 for each in asked if not is_error(each)) or [0.0]
    numbers = (took[len(took) // 2], took[int(len(took) * 0.95)], took[-1])
    times = " | ".join(f"{each:.0f}" for each in numbers)
    return f"| {action} | {len(asked)} | {excused} | {len(errors) - excused} | {times} |"


def faults_table(faults: Iterable[Fault], began: float) -> list[str]:
    rows = [f"| {each.part} | {each.killed - began:.0f} | {each.back - each.killed:.1f} |" for each in faults]
    return ["| killed | at s | away s |", "| --- | --- | --- |", *rows]


def memory_table(growths: Iterable[Growth]) -> list[str]:
    rows = [
        f"| {each.kind} | {each.began_mb:.0f} | {each.ended_mb:.0f} | {each.slope_mb_h:+.0f} | {each.seconds:.0f} |"
        for each in growths
    ]
    return ["| memory of | began MB | ended MB | MB an hour | looked at s |", "| --- | --- | --- | --- | --- |", *rows]


def verdict_lines(verdict: Verdict, growths: Sequence[Growth]) -> list[str]:
    short = not any(each.seconds >= JUDGED_S for each in growths)
    lines = [f"- kept: {promise}" for promise in verdict.kept] + [f"- BROKEN: {promise}" for promise in verdict.broken]
    return [*lines, *([f"- memory was looked at for less than {JUDGED_S} s: not judged"] if short else [])]
