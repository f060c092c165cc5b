"""Start the toy servers of tests/servers as processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from mcpregistry import processes

ROOT = Path(__file__).parent.parent
SERVERS = ROOT / "tests" / "servers"
PATIENCE_S = 5


class Started:
    """A process that tests/servers/nursery.py forked, with what Popen offers of it."""

    def __init__(self, pid: int, output: int) -> None:
        self.pid, self.stdout = pid, open(output, "rb")  # noqa: SIM115

    def poll(self) -> int | None:
        """None while it runs. How it ended only its parent knows."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def send_signal(self, signum: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout_s)
            time.sleep(0.005)


class Nursery:
    def __init__(self) -> None:
        self.asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(SERVERS / "nursery.py"), str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self.one_at_a_time = Lock()
        theirs.close()

    def start(self, argv: list[str]) -> Started:
        reader, writer = os.pipe()
        request = json.dumps({"argv": argv, "env": dict(os.environ)}).encode()
        with self.one_at_a_time:
            socket.send_fds(self.asked, [request], [writer, 2])
            pid = int(self.asked.recv(100))
        os.close(writer)
        return Started(pid, reader)


nursery = cache(Nursery)


@dataclass
class Toy:
    name: str
    url: str
    process: Started
    root: Path = field(default_factory=Path)

    @property
    def base(self) -> str:
        """`http://host:port`."""
        return "/".join(self.url.split("/")[:3])

    @property
    def port(self) -> int:
        return int(self.base.rsplit(":", 1)[1])

    def post(self, path: str, data: Any = None) -> Any:
        request = urllib.request.Request(self.base + path, json.dumps(data).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        return self._json(request)

    def get(self, path: str) -> Any:
        return self._json(urllib.request.Request(self.base + path))

    def script(self, replies: list[dict[str, Any]]) -> None:
        """Of the scripted language model: the replies to give, in order."""
        self.post("/script", replies)

    def requests(self) -> list[dict[str, Any]]:
        """Of the scripted language model: the bodies it received."""
        return self.get("/requests")

    def stop(self) -> None:
        processes.stop(self.process, [signal.SIGTERM], PATIENCE_S)
        self.process.stdout.close()

    @staticmethod
    def _json(request: urllib.request.Request) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE_S) as response:
            return json.load(response)


def running_toy(name: str, *arguments: str) -> Toy:
    """Start tests/servers/NAME.py on a free loopback port; it prints its address when it is ready."""
    process = nursery().start([str(SERVERS / f"{name}.py"), "--port", "0", *arguments])
    url = process.stdout.readline().decode().strip()
    if not url.startswith("http"):
        processes.stop(process, [], PATIENCE_S)
        raise RuntimeError(f"The toy server {name} did not start: {url!r}")
    return Toy(name=name, url=url, process=process)
