"""A user with real toy servers authorised, a scripted model, and what a turn leaves behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from chains.models import Run, RunEvent
from chat.models import Message
from registry.models import Server
from registry.probes import probe
from registry.services import authorise, record_probe
from tests.conftest import WorkerByHand
from tests.toys import Toy


def connected(user: User, toy: Toy, slug: str, *, approval: str = "auto", tools: Any = "all") -> Server:
    """A server of this user, tested, with its tools authorised."""
    server = Server.objects.create(slug=slug, name=slug, url=toy.url, transport="streamable_http", owner=user)
    record_probe(server=server, outcome=async_to_sync(probe)(server, {}))
    authorise(user=user, server=server, tools=tools, approval={"default": approval})
    return server


@pytest.fixture
def text(alice: User, toy_text: Toy) -> Server:
    return connected(alice, toy_text, "text")


@pytest.fixture
def files(alice: User, toy_files: Toy) -> Server:
    return connected(alice, toy_files, "files")


@pytest.fixture(scope="session")
def scripted(toy: Callable[..., Toy]) -> Toy:
    return toy("llm")


@pytest.fixture
def model(scripted: Toy, settings: Settings) -> Toy:
    """The scripted model is the one that is connected; a script given to it replaces the one before."""
    settings.LLM_PROVIDER, settings.OPENAI_MODEL = "openai", "scripted"
    settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = scripted.url, "test-key"
    scripted.script([])
    return scripted


@dataclass
class Turn:
    """One message and everything that came of it."""

    run: Run

    @property
    def events(self) -> list[RunEvent]:
        return list(self.run.events.all())

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def answer(self) -> Message:
        return Message.objects.get(run=self.run, role="assistant")

    @property
    def question(self) -> Message:
        return Message.objects.get(run=self.run, role="user")

    @property
    def told(self) -> str:
        """The answer as a viewer reads it: the pieces since the last start."""
        pieces: list[str] = []
        for event in self.events:
            if event.type == "TEXT_MESSAGE_START":
                pieces.clear()
            pieces.append(event.data.get("delta", "") if event.type == "TEXT_MESSAGE_CONTENT" else "")
        return "".join(pieces)

    def result(self, step: str) -> Any:
        return self.run.tool_runs.get(step=step).result


Say = Callable[..., Turn]
MOST_ROUNDS = 6  # of planning, running and answering


@pytest.fixture
def say(api: APIClient, worker: WorkerByHand) -> Say:
    """`say("…")` posts a message and lets the workers do what is queued until nothing is."""

    def send(user_msg: str, **fields: Any) -> Turn:
        sent = api.post("/chat", {"user_msg": user_msg, **fields}, format="json")
        assert sent.status_code == 202, sent.content
        run = Run.objects.get(pk=sent.data["run_id"])
        return Turn(carried_out(run, worker))

    return send


def carried_out(run: Run, worker: WorkerByHand) -> Run:
    """Let the workers do what is queued until the run is over or waits for somebody."""
    for _ in range(MOST_ROUNDS):
        for queue in ("chat", "runs"):
            worker.run(queue)
        run.refresh_from_db()
        if run.is_finished or run.status == Run.Status.AWAITING_APPROVAL:
            break
    return run


def step(step_id: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """`step("s1", "text.upper", text="a")`, as a model writes it."""
    server, _, name = tool.partition(".")
    return {"id": step_id, "server": server, "tool": name, "arguments": arguments}


def draft(
    *steps: dict[str, Any], say: str = "I do that.", missing: tuple[str, ...] = (), look: bool = False
) -> dict[str, Any]:
    """A model's reply with a plan."""
    return {"json": {"say": say, "missing": list(missing), "steps": list(steps), "look": look}}


NOTHING_MORE = draft(say="")  # what a model says when it has seen the results and has no other plan
