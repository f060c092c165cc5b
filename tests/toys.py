"""Start the toy servers of tests/servers as processes of their own: forks of one that has imported what they need."""

import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mcpregistry import processes

ROOT = Path(__file__).parent.parent
SERVERS = ROOT / "tests" / "servers"
PATIENCE_S = 5
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["mcp.server", "mcp_types", "uvicorn", "starlette.applications", "tests.toys"])


class Process:
    """A script of tests/servers, with what Popen offers of it."""

    def __init__(self, script: Path, *arguments: str) -> None:
        reader, writer = forks.Pipe(duplex=False)
        self._process = forks.Process(target=_become, args=(script, arguments, writer), daemon=True)
        self._process.start()
        writer.close()
        self.stdout = open(os.dup(reader.fileno()), "rb")  # noqa: SIM115
        reader.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self._process.exitcode

    def send_signal(self, signum: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(script: Path, arguments: tuple[str, ...], output: Connection) -> None:
    processes.die_with_parent(signal.SIGKILL)
    os.dup2(output.fileno(), 1)
    output.close()
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


@dataclass
class Toy:
    name: str
    url: str
    process: Process
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
    process = Process(SERVERS / f"{name}.py", "--port", "0", *arguments)
    url = process.stdout.readline().decode().strip()
    if not url.startswith("http"):
        processes.stop(process, [], PATIENCE_S)
        raise RuntimeError(f"The toy server {name} did not start: {url!r}")
    return Toy(name=name, url=url, process=process)
