"""How much memory every process holds when nothing happens."""

import time

import psutil

from bench.soak.faults import is_alive
from tests.stack import Stack, running_stack

SETTLE_S = 15  # models are loaded in the background


def memory_at_rest(repeat: int) -> tuple[list[float], list[str]]:
    """MB of all processes of `make run` together, and a table of each."""
    with running_stack(STDIO_SERVERS="off", WORKERS="2") as stack:
        time.sleep(SETTLE_S)
        held = {name_of(each): memory_of(each) for each in family(stack)}
    table = [f"| {name} | {own / 1e6:.0f} | {resident / 1e6:.0f} |" for name, (own, resident) in sorted(held.items())]
    head = ["", "| process | MB, shared parts divided | MB resident |", "| --- | --- | --- |"]
    return [sum(own for own, _ in held.values()) / 1e6] * repeat, head + table


def family(stack: Stack) -> list[psutil.Process]:
    own = psutil.Process(stack.process.pid)
    return [own, *(each for each in own.children() if is_alive(each))]


def name_of(process: psutil.Process) -> str:
    command = " ".join(process.cmdline()[:5])
    names = {"daphne": "web", "manage.py up": "up", "redis-server": "redis", "bin/postgres": "postgres"}
    if process.name().startswith("python"):
        return next((name for text, name in names.items() if text in command), process.name())
    return next((name for text, name in names.items() if text in command and "manage.py" not in text), process.name())


def memory_of(process: psutil.Process) -> tuple[int, int]:
    """Of it and what it started: proportional and resident."""
    each = [process] if process.name().startswith("python") else [process, *process.children(recursive=True)]
    found = [one.memory_full_info() for one in each]
    return sum(info.pss for info in found), found[0].rss
