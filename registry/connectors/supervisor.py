"""Runs one command and lets nothing of it outlive the process that asked for it. Started as a script, by path.

    python supervisor.py LEASH_FD COMMAND [ARGUMENT…]

LEASH_FD is the reading end of a pipe whose writing end the parent holds. When it closes, because the parent let go or
was killed, the command's process group and whatever it left behind are ended: asked first, killed half a second later.
Exits with the command's status, or 127 when it cannot be started.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 0.5
POLL_S = 0.1
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


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


def wait(command: "subprocess.Popen[bytes]", leash: int) -> int:
    """Until the command ends by itself; never returns when the leash is let go."""
    let_go = select.poll()
    let_go.register(leash, select.POLLIN)  # end of file counts as readable, or hangs up
    while command.poll() is None:
        if let_go.poll(POLL_S * 1000):
            ask_to_stop(command.pid)
            kill_all()
    return command.wait()


def main(leash: int, arguments: list[str]) -> int:
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        command = subprocess.Popen(arguments, preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    except OSError as error:
        print(f"{arguments[0]}: {error.strerror}", file=sys.stderr)
        return 127
    os.close(0)
    os.close(1)
    status = wait(command, leash)
    tell(descendants(os.getpid()), signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
