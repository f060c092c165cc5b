"""Start the toy servers of tests/servers as processes of their own."""

import json
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcpregistry import processes

ROOT = Path(__file__).parent.parent
SERVERS = ROOT / "tests" / "servers"
PATIENCE_S = 5


@dataclass
class Toy:
    name: str
    url: str
    process: "subprocess.Popen[bytes]"
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
        if self.process.stdout:
            self.process.stdout.close()

    @staticmethod
    def _json(request: urllib.request.Request) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE_S) as response:
            return json.load(response)


def running_toy(name: str, *arguments: str) -> Toy:
    """Start tests/servers/NAME.py on a free loopback port; it prints its address when it is ready."""
    process = subprocess.Popen(
        [sys.executable, str(SERVERS / f"{name}.py"), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        preexec_fn=processes.bound_to_parent(signal.SIGKILL),
    )
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()
    if not url.startswith("http"):
        processes.stop(process, [], PATIENCE_S)
        raise RuntimeError(f"The toy server {name} did not start: {url!r}")
    return Toy(name=name, url=url, process=process)
