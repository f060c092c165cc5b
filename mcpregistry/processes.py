"""Child processes that do not outlive their parent: start one, stop one, sweep up what is left."""

import ctypes
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a child starts without our handlers of these
# Loaded here, not after a fork, where taking the loader's lock could hang.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def die_with_parent(signum: signal.Signals) -> None:
    """Have the kernel send `signum` to this process when the thread that started it ends (Linux only)."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants, so that `sweep` finds them (Linux only)."""
    if _prctl is not None:
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def bound_to_parent(signum: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn` for Popen: the child gets `signum` when we die, even by kill -9, even before it could ask."""
    parent = os.getpid()

    def bind() -> None:
        die_with_parent(signum)
        if os.getppid() != parent:
            os._exit(1)

    return bind


class Forked:
    """A function running in a fork of this process, with what Popen offers of it. Only from a process of one thread.

    What was imported before need not be imported again, and its memory is shared.
    """

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        reader, writer = os.pipe()
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=_run_forked, args=(name, work, writer, os.getpid()), name=name)
        self._process.start()
        os.close(writer)
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.stdout = open(reader, "rb", buffering=0)  # noqa: SIM115

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, signum: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)


def _run_forked(name: str, work: Callable[[], object], output: int, parent: int) -> None:
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.setpgid(0, 0)
    for signum in OURS:
        signal.signal(signum, signal.SIG_DFL)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.close(output)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    if _prctl is not None:
        _prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
    work()


def stop(process: subprocess.Popen[bytes], signals: Iterable[signal.Signals], patience_s: float) -> None:
    """Send each signal in turn, giving the process `patience_s` seconds after each, and kill it in the end."""
    for signum in [*signals, signal.SIGKILL]:
        if process.poll() is not None:
            return
        process.send_signal(signum)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def sweep(spared: Collection[int] = (), patience_s: float = 2) -> None:
    """End every descendant of this process, politely, then by force; spare the process ids given and what is below."""
    left = descendants(spared)
    for process in left:
        _signal(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, timeout=patience_s)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=patience_s)


def descendants(spared: Collection[int]) -> list[psutil.Process]:
    children = [child for child in psutil.Process().children() if child.pid not in spared]
    return [process for child in children for process in [child, *_below(child)]]


def reap_adopted(known: Collection[int]) -> None:
    """Take note of adopted orphans that ended, so that they do not stay as zombies; `known` have their own Popen."""
    for child in psutil.Process().children():
        if child.pid not in known and child.is_running() and child.status() == psutil.STATUS_ZOMBIE:
            os.waitpid(child.pid, os.WNOHANG)


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, signum: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signum)
