"""Worker processes for tests, forked from one process that has imported what they need: a worker then starts in
milliseconds, not seconds, however many tests want one of their own.

`python -m tests.nursery` reads orders from its standard input, one JSON object a line, and answers each with the id of
the process it forked.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import django
import psutil
from django.core.management import call_command
from django.db import connection

from mcpregistry import processes
from tests.toys import ROOT

FORKING = "mcpregistry.workers.ForkingWorker"


class Nursery:
    """Forks workers on the test's database that read their settings in this environment."""

    def __init__(self, environment: dict[str, str]) -> None:
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=processes.bound_to_parent(signal.SIGKILL),
        )

    def worker(self, **order: Any) -> psutil.Process:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()
        return psutil.Process(int(stdout.readline()))

    def stop(self) -> None:
        processes.stop(self.process, [], 0)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


_nurseries: dict[str, Nursery] = {}  # by what their workers' settings are read from


def stop_all() -> None:
    while _nurseries:
        _nurseries.popitem()[1].stop()


@contextmanager
def real_worker(
    kind: str = FORKING, *queues: str, told: dict[str, str] | None = None, **settings: str
) -> Iterator[psutil.Process]:
    """A worker, of queue `runs` where none is named; killed, with its jobs, at the end of the block.

    `told` is for its environment too, but for what is read late; other settings mean another nursery.
    """
    key = json.dumps(settings, sort_keys=True)
    nursery = _nurseries.get(key) or _nurseries.setdefault(key, Nursery(settings))
    worker = nursery.worker(kind=kind, queues=queues or ["runs"], told=told or {})
    try:
        yield worker
    finally:
        with suppress(psutil.NoSuchProcess):
            kill([*worker.children(recursive=True), worker])


def kill(family: list[psutil.Process]) -> None:
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(family)


def is_gone(process: psutil.Process) -> bool:
    """It does nothing more, though nobody may have asked yet how it ended."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def main() -> None:
    django.setup()
    jobs_of_queue = importlib.import_module("mcpregistry.workers").JOBS_OF_QUEUE
    importlib.import_module("registry.connectors.rehearsal").rehearse()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them, so none stays as a zombie
    for line in sys.stdin:
        order = json.loads(line)
        for module in (order["kind"].rpartition(".")[0], *(jobs_of_queue[queue] for queue in order["queues"])):
            importlib.import_module(module)
        pid = os.fork()
        if pid == 0:
            become(**order)
        print(pid, flush=True)


def become(kind: str, queues: list[str], told: dict[str, str]) -> None:
    processes.die_with_parent(signal.SIGKILL)
    os.dup2(2, 1)  # answers are the nursery's
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(told)
    call_command("rqworker", *queues, worker_class=kind)
    os._exit(0)


if __name__ == "__main__":
    main()
