"""The product as its users start it: `manage.py up` in a process of its own, with data of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcpregistry import processes
from tests.plugin import remove_data_dir
from tests.toys import ROOT

READY_S = 150
STOP_S = 30
CACHES = ROOT / ".venv" / "caches"  # what `uvx` and `npx` fetch for the demo servers is fetched once
SHARED_WITH_TESTS = ("DATABASE_URL", "REDIS_URL", "DATA_DIR", "SECRET_KEY", "METRICS_DIR", "PROMETHEUS_MULTIPROC_DIR")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """One run of `manage.py up`. `output` grows while it runs."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.output = ""
        self.environment = environment
        self.process = self.start()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def start(self) -> "subprocess.Popen[bytes]":
        inherited = {name: value for name, value in os.environ.items() if name not in SHARED_WITH_TESTS}
        caches = {"UV_CACHE_DIR": str(CACHES / "uv"), "NPM_CONFIG_CACHE": str(CACHES / "npm")}
        own = caches | {"DATA_DIR": str(self.data_dir), "PORT": str(self.port), "IMPORT_ON_START": "0"}
        own |= {"WORKERS": "1", "WEB_PROCESSES": "1"}
        return subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=inherited | own | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=processes.bound_to_parent(signal.SIGTERM),
        )

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line.decode(errors="replace")

    def wait_for(self, text: str, timeout_s: float = READY_S) -> str:
        """All output once `text` is in it."""
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"`up` never said {text!r}:\n{self.output}")
            time.sleep(0.05)
        return self.output

    @property
    def sign_in_link(self) -> str:
        found = re.search(r"http://\S+/signin/\S+", self.wait_for("/signin/"))
        assert found
        return found.group()

    def healthz(self) -> tuple[int, dict[str, Any]]:
        return self.call("GET", "/healthz")

    def call(self, method: str, path: str, data: Any = None, token: str = "") -> tuple[int, dict[str, Any]]:
        """Status and JSON of one API call."""
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.base + path, body, method=method)
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Token {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                told = response.read()
                return response.status, json.loads(told) if told else {}
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def manage(self, *arguments: str) -> str:
        """Standard output of `manage.py …` beside the running stack."""
        inherited = {name: value for name, value in os.environ.items() if name not in SHARED_WITH_TESTS}
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=inherited | {"DATA_DIR": str(self.data_dir)} | self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=READY_S,
        )
        return done.stdout

    @property
    def token(self) -> str:
        """A token of `admin`, made on first use."""
        if not hasattr(self, "_token"):
            self._token = self.manage("token", "admin").strip()
        return self._token

    def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        status = self.process.wait(STOP_S)
        self.reader.join(STOP_S)
        return status


@contextmanager
def stack_data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mcpr-stack-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        remove_data_dir(folder)


@contextmanager
def running_stack(**environment: str) -> Iterator[Stack]:
    with stack_data_dir() as data_dir:
        running = Stack(data_dir, **environment)
        try:
            running.wait_for("Sign in")
            yield running
        finally:
            running.stop()
