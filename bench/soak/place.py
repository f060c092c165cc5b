"""The product with toy servers, a scripted model and twenty users who may call them."""

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from bench.chain import call
from tests.stack import Stack, running_stack
from tests.toys import Toy, running_toy

USERS = 20
TIMEOUT_S = 30
AWAY = (OSError, HTTPException, ValueError)  # ValueError: what came is no JSON
CHAT_FILE = "chat.txt"
CHAT_PLAN = {
    "say": "",
    "steps": [
        {"id": "s1", "server": "toy", "tool": "upper", "arguments": {"text": "a"}},
        {"id": "s2", "server": "files", "tool": "write_file", "arguments": {"path": CHAT_FILE, "content": "a"}},
    ],
}
SCRIPT = [
    {"json": CHAT_PLAN, "match": "json_schema", "again": True},
    {"text": "It is done and it is A.", "again": True},
]
TOKENS = """
from django.contrib.auth.models import User
from mcpregistry.tokens import make_token
for number in range({users}):
    print(make_token(user=User.objects.create_user(f"soak{{number}}"), name="soak"))
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it was sent and answered (seconds of time.monotonic), and what came: 0 where nothing did."""

    action: str
    sent: float
    answered: float
    status: int
    body: Any


@dataclass
class Place:
    stack: Stack
    files: Toy
    tokens: list[str]
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, action: str, method: str, path: str, token: str, data: Any = None, **headers: str) -> Asked:
        """One request on a connection of its own, written down whatever comes of it."""
        sent = time.monotonic()
        status, body = self._exchange(method, path, {"Authorization": f"Token {token}", **headers}, data)
        asked = Asked(action, sent, time.monotonic(), status, body)
        with self.lock:
            self.asked.append(asked)
        return asked

    def _exchange(self, method: str, path: str, headers: dict[str, str], data: Any) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.stack.port, timeout=TIMEOUT_S)
        body = None if data is None else json.dumps(data)
        try:
            connection.request(method, path, body, headers | {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        except AWAY as error:
            return 0, f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    def writes(self) -> list[str]:
        """The path of every write that the file server carried out, in order."""
        journal = self.files.root / ".writes"
        return journal.read_text().split() if journal.exists() else []


@contextmanager
def soaked_place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="mcpr-soak-") as root:
        toys = [running_toy("text"), running_toy("files", "--root", root), running_toy("llm")]
        text, files, model = toys
        files.root = Path(root)
        model.script(SCRIPT)
        provider = {"LLM_PROVIDER": "openai", "OPENAI_API_KEY": "scripted", "OPENAI_BASE_URL": model.url}
        quiet = {"STDIO_SERVERS": "off", "CHAT_DECOMPOSE": "0", "LOG_LEVEL": "WARNING"}
        try:
            with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", WORKERS="2", **provider, **quiet) as stack:
                yield Place(stack, files, connected(stack, {"toy": text, "files": files}))
        finally:
            for toy in toys:
                toy.stop()


def connected(stack: Stack, servers: dict[str, Toy]) -> list[str]:
    """The users' tokens, once every user has authorised every server."""
    for name, toy in servers.items():
        call(stack, "POST", "/registry", {"name": name, "url": toy.url, "visibility": "public"})
        found = call(stack, "POST", f"/registry/{name}/healthcheck")
        if found["health"] != "ok":
            raise RuntimeError(f"The toy server {name} is not reachable: {found}")
    tokens = stack.manage("shell", "-v", "0", "-c", TOKENS.format(users=USERS)).split()
    authorised = {"tools": "all", "approval": {"default": "auto"}}
    for token in tokens:
        for name in servers:
            status, answer = stack.call("PUT", f"/registry/{name}/connection", authorised, token)
            if status >= 400:
                raise RuntimeError(f"{name} could not be connected: {answer}")
    return tokens
