"""A registry of 18,856 recorded servers and their tools: loaded and embedded once for all measures that look into it.

The web server alone runs, as on a quiet day: no worker, no probe. BENCH_SITE names a folder to keep and use again.
"""

import atexit
import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from mcpregistry import embedded, web
from tests.stack import free_port, stack_data_dir
from tests.toys import ROOT

CATALOGUE = ROOT.parent / "shared" / "data" / "catalogues" / "all-servers.jsonl.gz"
READY_S = 120
RECEIVED_BYTES = 1_000_000
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
COUNT = "from registry.models import Server; print(Server.objects.count())"
LOADING = """
import json, resource, time
from registry import jobs, models
started = time.monotonic()
counts = jobs.import_catalogue("file", path={path!r})
print(json.dumps({{
    "seconds": time.monotonic() - started,
    "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "counts": counts,
    "without": models.SearchDocument.objects.filter(embedding=None).count(),
}}))
"""


class NoSharedData(Exception):
    """The recorded catalogues are not on this machine."""


@dataclass(frozen=True)
class Loading:
    """What the worker's own function took: seconds, peak megabytes of its process, documents left without a vector."""

    seconds: float
    megabytes: float
    counts: dict[str, Any]
    without: int


class Site:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.environment = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        }
        self.environment |= {"DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "mcpregistry.settings"}

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def sql(self, *statements: str) -> str:
        """What the last one answers with first, in words."""
        found = ""
        with psycopg.connect(embedded.database_url(self.data_dir), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                row = cursor.fetchone() if cursor.description else None
                found = str(row[0]) if row else ""
        return found

    def load(self) -> Loading:
        """As the worker of the catalogue queue does it: read, merge, embed."""
        if not CATALOGUE.exists():
            raise NoSharedData(f"There is no {CATALOGUE}.")
        said = self.manage("shell", "-v", "0", "-c", LOADING.format(path=str(CATALOGUE)))
        return Loading(**json.loads(said.strip().splitlines()[-1]))

    def start_web(self) -> list["subprocess.Popen[bytes]"]:
        """As many as `make run` starts."""
        listener = web.listen("127.0.0.1", self.port)
        listener.listen(web.BACKLOG)
        environment = self.environment | {"DATABASE_POOL": "10"}
        started = [
            subprocess.Popen(web.arguments(listener), cwd=ROOT, env=environment, pass_fds=[listener.fileno()])
            for _ in range(int(os.environ.get("WEB_PROCESSES") or 2))
        ]
        listener.close()
        return started

    def client(self) -> "Client":
        return Client(self.port, self.token)

    @property
    @cache  # noqa: B019 - one site lives as long as the program
    def token(self) -> str:
        return self.manage("token", "admin", "--create").strip()

    def wait_until_hybrid(self) -> None:
        """In all web processes: so many connections at once reach each of them."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            try:
                if all(client.get("/registry/search?q=mail")["mode"] == "hybrid" for client in self.connected(16)):
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError("Search never became hybrid.")

    def connected(self, count: int) -> list["Client"]:
        return [self.client() for _ in range(count)]


class Client:
    """One connection that is kept open, and no library around it: on two cores what a client computes is time that it
    measures."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Token {token}\r\n\r\n"

    def get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.read(path))
        return answer

    def read(self, path: str) -> bytes:
        self.connection.sendall(f"GET {path} HTTP/1.1\r\n{self.head}".encode())
        received = self._received()
        while b"\r\n\r\n" not in received:
            received += self._received()
        head, _, body = received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise RuntimeError(f"{path}: {head[:200]!r} {body[:200]!r}")
        while len(body) < int(length[1]):
            body += self._received()
        return body

    def _received(self) -> bytes:
        if not (received := self.connection.recv(RECEIVED_BYTES)):
            raise ConnectionError("The server closed the connection.")
        return received

    def search(self, q: str) -> bytes:
        return self.read(f"/registry/search?q={quote(q)}")


@cache
def loaded_site() -> tuple[Site, Loading | None]:
    """The site with its web server, and how loading went (None where BENCH_SITE was loaded before)."""
    stack = ExitStack()
    atexit.register(stack.close)
    kept = os.environ.get("BENCH_SITE")
    data_dir = Path(kept) if kept else stack.enter_context(stack_data_dir())
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    stack.enter_context(embedded.services(data_dir))
    site = Site(data_dir)
    site.manage("migrate", "-v", "0")
    loading = None if int(site.manage("shell", "-v", "0", "-c", COUNT)) else site.load()
    for process in site.start_web():
        stack.callback(process.wait)
        stack.callback(process.terminate)
    site.wait_until_hybrid()
    return site, loading
