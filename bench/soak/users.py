"""What the users do: they search, test, run chains, talk and save templates, each after a moment's thought."""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

from bench.soak.place import AWAY, CHAT_FILE, Asked, Place

THINK_S = (0.4, 1.6)
INSIST_S = 90  # so long a user tries again until something is acknowledged
FOLLOW_S = 120
PAUSE_S = 0.5
LAST = ("RUN_FINISHED", "RUN_ERROR")
WORDS = ["capital letters", "count words", "write a file", "read a file", "turn text around", "slow progress"]


@dataclass
class Acknowledged:
    """What the product said it has. `run` of a chain, by the key that its write carries."""

    chains: dict[str, str] = field(default_factory=dict)
    chats: list[tuple[str, str]] = field(default_factory=list)  # (run, conversation)
    templates: list[str] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)  # token by the id of a run, a conversation or a template
    streams: list[tuple[str, list[int]]] = field(default_factory=list)  # run, the numbers of the events that came
    waits_s: list[float] = field(default_factory=list)  # from a chain's acknowledgement to its last event


class User(threading.Thread):
    def __init__(self, place: Place, token: str, acknowledged: Acknowledged, stopped: threading.Event) -> None:
        super().__init__(daemon=True)
        self.place, self.token, self.acknowledged, self.stopped = place, token, acknowledged, stopped
        self.chance = random.Random(token)

    def run(self) -> None:
        actions: list[Callable[[], None]] = [self.search] * 8 + [self.look] * 4 + [self.chain] * 4
        actions += [self.chat] * 2 + [self.healthcheck, self.template]
        while not self.stopped.wait(self.chance.uniform(*THINK_S)):
            self.chance.choice(actions)()

    def ask(self, action: str, method: str, path: str, data: Any = None, **headers: str) -> Asked:
        return self.place.ask(action, method, path, self.token, data, **headers)

    def insist(self, action: str, path: str, data: Any, **headers: str) -> Any:
        """POST until it is acknowledged, as a person does who was told to try again; None where that took too long."""
        deadline = time.monotonic() + INSIST_S
        while time.monotonic() < deadline:
            asked = self.ask(action, "POST", path, data, **headers)
            if asked.status in (201, 202):
                return asked.body
            if 400 <= asked.status < 500:
                return None
            time.sleep(PAUSE_S)
        return None

    def search(self) -> None:
        q = self.chance.choice(WORDS).replace(" ", "+")
        self.ask("search", "GET", f"/registry/search?q={q}")

    def look(self) -> None:
        path = self.chance.choice(["/registry", "/registry/toy", "/chat", "/chain/runs", "/chain/templates"])
        self.ask("look", "GET", path)

    def healthcheck(self) -> None:
        self.ask("healthcheck", "POST", f"/registry/{self.chance.choice(['toy', 'files'])}/healthcheck")

    def template(self) -> None:
        name = f"t-{uuid.uuid4()}"
        steps = [{"id": "s1", "server": "toy", "tool": "upper", "arguments": {"text": "a"}}]
        made = self.insist("template", "/chain/templates", {"name": name, "plan": {"version": 1, "steps": steps}})
        if made:
            self.acknowledged.templates.append(made["id"])
            self.acknowledged.owners[made["id"]] = self.token

    def chat(self) -> None:
        words = f"Write a in capital letters into the file {CHAT_FILE}"  # a path that nobody named would be asked for
        said = self.insist("chat", "/chat", {"user_msg": words, "approval": "auto"})
        if said:
            self.acknowledged.chats.append((said["run_id"], said["conversation_id"]))
            self.acknowledged.owners |= {said["run_id"]: self.token, said["conversation_id"]: self.token}

    def chain(self) -> None:
        key = uuid.uuid4().hex
        run = self.insist("chain", "/chain/execute", {"plan": plan(key)}, **{"Idempotency-Key": key})
        if not run:
            return
        self.acknowledged.chains[key] = run["run_id"]
        self.acknowledged.owners[run["run_id"]] = self.token
        began = time.monotonic()
        if self.follow(run["run_id"]):
            self.acknowledged.waits_s.append(time.monotonic() - began)

    def follow(self, run_id: str) -> bool:
        """Read the run's events to its end, over as many connections as it takes; False where it does not end."""
        seen: list[int] = []
        self.acknowledged.streams.append((run_id, seen))
        deadline = time.monotonic() + FOLLOW_S
        while time.monotonic() < deadline:
            try:
                for kind, seq in self.events(run_id, seen[-1] if seen else 0):
                    seen.append(seq)
                    if kind in LAST:
                        return True
                    if kind == "APPROVAL_REQUIRED":  # a worker died in a call: the user looks later
                        return False
            except AWAY:
                pass  # the line broke: it is taken up where it ended
            time.sleep(PAUSE_S)
        return False

    def events(self, run_id: str, after: int) -> Iterator[tuple[str, int]]:
        connection = HTTPConnection("127.0.0.1", self.place.stack.port, timeout=40)
        try:
            path = f"/chat/{run_id}/stream"
            connection.request("GET", path, headers=self.headers() | {"Last-Event-ID": str(after)})
            response = connection.getresponse()
            for line in response if response.status == 200 else ():
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    yield event["type"], event["seq"]
        finally:
            connection.close()

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}"}


def plan(key: str) -> dict[str, Any]:
    """A write between two calls that may be repeated; its path is found in the file server's journal."""
    content = {"$ref": "s1#/text"}
    return {
        "version": 1,
        "steps": [
            {"id": "s1", "server": "toy", "tool": "upper", "arguments": {"text": "some words"}, "retries": 2},
            {"id": "s2", "server": "files", "tool": "write_file", "arguments": {"path": key, "content": content}},
            {"id": "s3", "server": "files", "tool": "read_file", "arguments": {"path": key}, "needs": ["s2"]},
        ],
    }
