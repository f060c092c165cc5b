"""One session a server for a whole run, opened when it is needed, and again when it broke."""

import sys
import time
from typing import Any

import psutil
import pytest
from django.contrib.auth.models import User

from chains import sessions
from chains.services import cancel, start_run
from registry.connectors import CallResult
from registry.connectors.mcp import McpSession
from registry.models import Server
from tests.chains.conftest import connected, driven, plan, statuses, step, until
from tests.conftest import WorkerByHand, confirmed
from tests.toys import SERVERS, Toy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def command(alice: User, toy_text: Toy) -> Server:
    """The text server started by command; its tools are read over HTTP."""
    server = connected(alice, toy_text, "command")
    server.transport, server.url, server.command = "stdio", "", sys.executable
    server.args = [str(SERVERS / "text.py"), "--transport", "stdio"]
    confirmed(server).save()
    return server


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The slugs of servers in the order in which sessions with them were opened."""
    slugs: list[str] = []
    connect = sessions.connect

    def counting(server: Server, credentials: dict[str, str], **hooks: Any) -> object:
        slugs.append(server.slug)
        return connect(server, credentials, **hooks)

    monkeypatch.setattr(sessions, "connect", counting)
    return slugs


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tools in the order in which they were called."""
    tools: list[str] = []
    call = McpSession.call

    async def counting(session: McpSession, tool: str, *arguments: Any, **hooks: Any) -> CallResult:
        tools.append(tool)
        return await call(session, tool, *arguments, **hooks)

    monkeypatch.setattr(McpSession, "call", counting)
    return tools


def commands() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "stdio" in child.cmdline()]


def test_all_steps_on_a_server_share_one_session(
    alice: User, text: Server, command: Server, opened: list[str], worker: WorkerByHand
) -> None:
    first = [step(f"a{n}", "command.upper", text="a") for n in range(4)]
    then = [step(f"b{n}", "text.upper", text={"$ref": f"a{n}#/text"}) for n in range(4)]
    last = step("last", "command.upper", text={"$format": "{b0#/text}{b3#/text}"})
    run = start_run(user=alice, plan=plan(*first, *then, last))
    worker.run("runs")
    assert set(statuses(run).values()) == {"succeeded"}
    assert opened == ["command", "text"]
    assert commands() == []


@pytest.mark.alone
@pytest.mark.parametrize("moment", ["while it is opened", "while it is called"])
def test_a_cancelled_call_takes_its_command_along_within_two_seconds(
    moment: str, alice: User, command: Server, called: list[str]
) -> None:
    run = start_run(user=alice, plan=plan(step("s1", "command.slow", seconds=30)))
    with driven(run):
        until(lambda: statuses(run)["s1"] == "running" and commands())
        until(lambda: called or moment == "while it is opened")
        children = commands()
        asked = time.monotonic()
        cancel(run=run)
        until(lambda: statuses(run) and run.is_finished and not any(child.is_running() for child in children))
        assert time.monotonic() - asked < 2
    assert statuses(run) == {"s1": "cancelled"}


def test_a_session_that_broke_between_steps_is_opened_again(
    alice: User, text: Server, command: Server, opened: list[str]
) -> None:
    slow = step("b", "text.slow", seconds=1.5) | {"needs": ["a"]}
    last = step("c", "command.upper", text="c") | {"needs": ["b"]}
    run = start_run(user=alice, plan=plan(step("a", "command.upper", text="a"), slow, last))
    with driven(run):
        until(lambda: statuses(run)["b"] == "running")
        for process in commands():
            process.kill()
    assert set(statuses(run).values()) == {"succeeded"}
    assert opened == ["command", "text", "command"]


def test_a_server_that_no_step_reaches_is_not_connected(
    alice: User, text: Server, command: Server, opened: list[str], worker: WorkerByHand
) -> None:
    never = step("b", "command.upper", text={"$ref": "a#/text"})
    run = start_run(user=alice, plan=plan(step("a", "text.fail", message="no"), never))
    worker.run("runs")
    assert statuses(run) == {"a": "failed", "b": "skipped"}
    assert opened == ["text"]
