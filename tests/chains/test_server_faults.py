"""Servers that die, hang or talk nonsense in the middle of a call: the run goes on, and says what may have happened."""

import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from django.contrib.auth.models import User

from chains.calls import DOUBT
from chains.models import Run
from chains.services import start_run
from registry.models import Server, Tool
from registry.services import authorise
from tests.chains.conftest import connected, driven, plan, statuses, step, until
from tests.conftest import WorkerByHand, confirmed
from tests.toys import Toy, running_toy

pytestmark = pytest.mark.django_db(transaction=True)
Own = Callable[..., tuple[Server, Toy]]


@pytest.fixture
def own(alice: User) -> Iterator[Own]:
    """`own("text")` starts a server for this test alone, authorised as `frail`."""
    started: list[Toy] = []

    def start(name: str, *arguments: str) -> tuple[Server, Toy]:
        toy = running_toy(name, *arguments)
        started.append(toy)
        return connected(alice, toy, "frail"), toy

    yield start
    for toy in started:
        toy.stop()


def calls(run: Run) -> int:
    return run.events.filter(type="TOOL_CALL_START").count()


@pytest.mark.parametrize("reads", [True, False])
def test_a_server_that_dies_in_the_middle_of_a_call(alice: User, text: Server, own: Own, reads: bool) -> None:
    server, toy = own("text")
    if not reads:
        server.tools.update(annotations={})
    slow = step("slow", "frail.slow", seconds=20) | {"retries": 1}
    run = start_run(user=alice, plan=plan(slow, step("other", "text.upper", text="a")))
    with driven(run):
        until(lambda: run.events.filter(type="TOOL_CALL_PROGRESS").exists() or statuses(run)["slow"] == "running")
        until(lambda: statuses(run)["other"] == "succeeded")
        toy.process.kill()
    assert statuses(run) == {"slow": "failed", "other": "succeeded"}
    assert run.error["code"] == "unreachable"
    assert (DOUBT in run.error["message"]) == (not reads)


def test_a_server_that_hangs_fails_its_step_in_time(alice: User, text: Server, own: Own) -> None:
    _, toy = own("text")
    run = start_run(user=alice, plan=plan(step("s", "frail.slow", seconds=0.2) | {"timeout_s": 1, "retries": 0}))
    psutil.Process(toy.process.pid).suspend()
    began = time.monotonic()
    try:
        with driven(run):
            pass
    finally:
        psutil.Process(toy.process.pid).resume()
    assert statuses(run) == {"s": "failed"}
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("how", ["huge", "gzip", "endless", "breaks", "refuses", "forgets", "forbidden", "broken"])
def test_a_server_that_answers_nonsense_fails_its_step_and_no_other(
    alice: User, text: Server, own: Own, worker: WorkerByHand, how: str
) -> None:
    server, toy = own("odd")
    Server.objects.filter(pk=server.pk).update(url=f"{toy.base}/{how}")
    bad = step("bad", "frail.good", x="a") | {"timeout_s": 2, "retries": 0}
    run = start_run(user=alice, plan=plan(bad, step("other", "text.upper", text="a")))
    worker.run("runs")
    assert statuses(run) == {"bad": "failed", "other": "succeeded"}
    assert run.error["message"].startswith("Step bad (frail.good): ")
    assert run.error["code"] not in ("internal", "unknown")


COMMAND = """
import sys, time
from mcp.server import MCPServer
server = MCPServer("noisy", log_level="ERROR")

@server.tool(structured_output=False)
def work(seconds: float, dies: bool) -> str:
    print("warming up", file=sys.stderr, flush=True)
    time.sleep(seconds)
    print("half way", file=sys.stderr, flush=True)
    if dies:
        sys.stderr.write("out of paper\\n"); sys.stderr.flush()
        __import__("os")._exit(3)
    time.sleep(seconds)
    return "done"

server.run("stdio")
"""


@pytest.fixture
def noisy(alice: User, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server started by command that writes to its standard error while it works."""
    User.objects.filter(pk=alice.pk).update(is_staff=True)  # who may start commands
    alice.refresh_from_db()
    script = tmp_path_factory.mktemp("noisy") / "noisy.py"
    script.write_text(COMMAND)
    place = {"transport": "stdio", "command": sys.executable, "args": [str(script)]}
    server = confirmed(Server(slug="noisy", name="noisy", owner=alice, **place))
    server.save()
    schema = {"type": "object", "properties": {"seconds": {"type": "number"}, "dies": {"type": "boolean"}}}
    Tool.objects.create(server=server, name="work", input_schema=schema, schema_hash="first seen", content_hash="")
    authorise(user=alice, server=server, approval={"default": "auto"})
    return server


def logs(run: Run) -> str:
    return "".join(event.data["delta"] for event in run.events.filter(type="TOOL_CALL_LOG"))


def test_a_command_that_crashes_is_reported_with_its_last_words(
    alice: User, noisy: Server, worker: WorkerByHand
) -> None:
    run = start_run(user=alice, plan=plan(step("s", "noisy.work", seconds=0.1, dies=True)))
    worker.run("runs")
    assert statuses(run) == {"s": "failed"}
    assert calls(run) == 1
    for words in ("ended with status 3", "out of paper", DOUBT):
        assert words in run.error["message"]


def test_what_a_command_says_is_told_while_it_works(alice: User, noisy: Server) -> None:
    run = start_run(user=alice, plan=plan(step("s", "noisy.work", seconds=1, dies=False)))
    with driven(run):
        until(lambda: "warming up" in logs(run))
        assert statuses(run) == {"s": "running"}
        until(lambda: "half way" in logs(run))
        assert statuses(run) == {"s": "running"}
    assert statuses(run) == {"s": "succeeded"}
