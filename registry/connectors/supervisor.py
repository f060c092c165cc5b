"""Runs one command and lets nothing of it outlive the process that asked for it. Started as a script, by path.

    python supervisor.py LEASH_FD LIMITS COMMAND [ARGUMENT…]

LEASH_FD is the reading end of a pipe whose writing end the parent holds. When it closes, because the parent let go or
was killed, the command's process group and whatever it left behind are ended: asked first, killed half a second later.
LIMITS is `MEMORY_BYTES:PROCESSES:FILES:CPU_S`. The kernel holds each process to its memory, open files and seconds of
computing; of all together the number and the memory are looked at every POLL_S, because the kernel counts processes by
user, not by command, and root's not at all. Exits with the command's status, 127 when it cannot be started, 125 when
it was ended for taking more than its limits.
"""

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 0.5
POLL_S = 0.1
EXCESS = 125
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Limits:
    memory_bytes: int
    processes: int
    files: int
    cpu_s: int

    def impose(self) -> None:
        """On this process and those it starts. Memory is what can be written to: some runtimes (Node, Go) reserve
        addresses by the gigabyte, which they never touch."""
        for kind, limit in (
            (resource.RLIMIT_DATA, self.memory_bytes),
            (resource.RLIMIT_NOFILE, self.files),
            (resource.RLIMIT_CPU, self.cpu_s),
            (resource.RLIMIT_CORE, 0),
        ):
            _, most = resource.getrlimit(kind)
            allowed = limit if most == resource.RLIM_INFINITY else min(limit, most)
            resource.setrlimit(kind, (allowed, allowed))

    def excess(self) -> str:
        """What our descendants take too much of, in words."""
        pids = descendants(os.getpid())
        if len(pids) > self.processes:
            return f"more than {self.processes} processes"
        if sum(map(resident_bytes, pids)) > self.memory_bytes:
            return f"more than {self.memory_bytes // 1_000_000} MB of memory"
        return ""


def resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the leash alone has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Children of a process and theirs, orphans that were handed up to us included."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in listing.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def tell(pids: list[int], signum: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, signum)
        except (ProcessLookupError, PermissionError):
            continue


def reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def ask_to_stop(command: int) -> None:
    """SIGTERM for every descendant, and half a second to follow it."""
    tell([command, *descendants(os.getpid())], signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while descendants(os.getpid()) and time.monotonic() < deadline:
        reap()
        time.sleep(0.01)


def kill_all() -> None:
    """What is left: descendants wherever they hide, then our own group with ourselves in it."""
    tell(descendants(os.getpid()), signal.SIGKILL)
    os.killpg(0, signal.SIGKILL)


def wait(command: "subprocess.Popen[bytes]", leash: int, limits: Limits) -> int:
    """Until the command ends by itself, or takes too much; never returns when the leash is let go."""
    let_go = select.poll()
    let_go.register(leash, select.POLLIN)  # end of file counts as readable, or hangs up
    while command.poll() is None:
        if let_go.poll(POLL_S * 1000):
            ask_to_stop(command.pid)
            kill_all()
        if excess := limits.excess():
            while pids := descendants(os.getpid()):
                tell(pids, signal.SIGKILL)
                reap()
            print(f"It was ended: it took {excess}.", file=sys.stderr, flush=True)
            return EXCESS
    return command.wait()


def main(leash: int, limits: Limits, arguments: list[str]) -> int:
    prctl(PR_SET_CHILD_SUBREAPER, 1)

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        limits.impose()

    try:
        command = subprocess.Popen(arguments, preexec_fn=bind)
    except OSError as error:
        print(f"{arguments[0]}: {error.strerror}", file=sys.stderr)
        return 127
    os.close(0)
    os.close(1)
    status = wait(command, leash, limits)
    tell(descendants(os.getpid()), signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Limits(*map(int, sys.argv[2].split(":"))), sys.argv[3:]))
