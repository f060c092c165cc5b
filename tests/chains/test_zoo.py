"""A zoo of hostile servers, each tested and called by real workers: what it does has a name that a person understands,
what it takes is bounded and measured, and nobody else notices."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import django_rq
import psutil
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from redis import Redis

from chains.models import Run
from chains.services import start_run
from registry.commands import fingerprint
from registry.models import Server, Tool
from registry.services import authorise, confirm_command
from registry.services.probing import PROBE_JOB
from tests.chains.conftest import connected, plan, statuses, step, until
from tests.nursery import kill
from tests.toys import ROOT, SERVERS, Toy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.thorough]
MEGABYTE = 1_000_000
MOST_BYTES = 400 * MEGABYTE  # that a job's process may grow by, whatever a server sends
MOST_S = 40.0  # that a job may take: the patience of these workers, and the work on a machine that is busy
PAGE_BYTES = 2 * MEGABYTE
TESTED_S, CALLED_S = 240, 120
WORKERS = 4  # most of their time they wait for somebody who does not answer
STARTED = "commands.py"
LIMITS = {"STDIO_MEMORY_MB": "300", "STDIO_PROCESSES": "30"}


@dataclass(frozen=True)
class Kind:
    """What becomes of a test of the connection, and of a call where it comes to one."""

    name: str
    health: str
    detail: str
    error: str = ""  # code of the step's error; empty: it succeeds
    message: str = ""
    x: Any = "a"
    timeout_s: float = 2
    told: str = ""  # what is said with the step


TOO_LARGE, SILENT = "larger than 10 MB", "did not answer in time"
ZOO = [
    Kind("silent", "timeout", SILENT),
    Kind("dripping", "timeout", SILENT),
    Kind("endless-json", "unreachable", "The server's answer"),
    Kind("endless-events", "ok", "1 tools", "too_large", TOO_LARGE, timeout_s=20),
    Kind("endless-event", "ok", "1 tools", "too_large", TOO_LARGE, timeout_s=20),
    Kind("large", "unreachable", TOO_LARGE),
    Kind("large-call", "ok", "1 tools", "too_large", TOO_LARGE, timeout_s=20),
    Kind("silent-call", "ok", "1 tools", "timeout", SILENT),
    Kind("dripping-call", "ok", "1 tools", "timeout", SILENT),
    Kind("containers", "unreachable", "objects and lists"),
    Kind("strings", "ok", "1 tools", timeout_s=20),
    Kind("bomb", "unreachable", "compressed with gzip"),
    Kind("bomb-call", "ok", "1 tools", "too_large", "compressed with gzip", timeout_s=20),
    Kind("wrong-id", "timeout", SILENT),
    Kind("wrong-id-call", "ok", "1 tools", "timeout", SILENT),
    Kind("not-rpc", "not_mcp", "not MCP"),
    Kind("redirect-loop", "not_mcp", "redirects to"),
    Kind("redirect-inside", "not_mcp", "redirects to http://10.0.0.1/mcp"),
    Kind("redirect-metadata", "not_mcp", "redirects to http://169.254.169.254"),
    Kind("redirect-elsewhere", "ok", "1 tools", "not_mcp", "redirects to https://elsewhere.example"),
    Kind("many", "ok", "10001 tools", timeout_s=20),
    Kind("cursors", "ok", "too long or does not end"),
    Kind("names", "ok", "listed twice"),
    Kind("script", "ok", "2 tools"),
    Kind("long", "ok", "4 tools"),
    Kind("schemas", "ok", "no valid inputSchema"),
    Kind("patterns", "ok", "1 tools", x="a" * 60 + "!"),
    Kind("loops", "ok", "2 tools"),
    Kind("mismatched", "ok", "1 tools", told="does not fit what the server says of it. /n: Must be integer"),
    Kind("changing", "ok", "1 tools"),
    Kind("numbers", "ok", "2 tools", x=10**300),
    Kind("choices", "ok", "1 tools"),
    Kind("infinite", "ok", "1 tools"),
    Kind("deep", "ok", "nested deeper"),
    Kind("deep-event", "ok", "nested deeper"),
    Kind("immense", "ok", "2 tools"),
    Kind("no-text", "ok", "1 tools"),
    Kind("floods", "ok", "1 tools", timeout_s=20),
    Kind("asks", "ok", "1 tools"),
]
COMMANDS = [
    Kind("flood-stdout", "not_mcp", "something else than MCP"),
    Kind("flood-line", "unreachable", "more than 10 MB"),
    Kind("flood-stderr", "ok", "1 tools", timeout_s=20, told="all is well"),
    Kind("grandchildren", "ok", "1 tools", timeout_s=20),
    Kind("deaf", "timeout", SILENT),
    Kind("exits", "unreachable", "MAIL_KEY is missing"),
    Kind("stubborn", "ok", "1 tools", timeout_s=20),
    Kind("crowd", "unreachable", "more than 30 processes"),
    Kind("greedy", "unreachable", "emory"),
]


@contextmanager
def real_worker(kind: str, *queues: str, **environment: str) -> Iterator[None]:
    """One that was not forked of another: what its jobs take is measured from its own beginning."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    command = [sys.executable, "manage.py", "rqworker", *queues, "--worker-class", kind]
    environ = os.environ | {"DATABASE_URL": url} | environment
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        family = psutil.Process(process.pid)
        kill([*family.children(recursive=True), family])
        process.wait()


@pytest.fixture
def _workers() -> Iterator[None]:
    with ExitStack() as started:
        for _ in range(WORKERS):
            kind = "tests.chains.measuring.MeasuringWorker"
            started.enter_context(real_worker(kind, "probes", "runs", **LIMITS))
        yield


@dataclass
class Visit:
    """Everything that is tried, and what came of it other than it should."""

    user: User
    redis: "Redis[bytes]"
    servers: dict[Kind, Server] = field(default_factory=dict)
    runs: dict[Kind, Run] = field(default_factory=dict)
    wrong: list[Any] = field(default_factory=list)

    def add(self, kind: Kind, **place: Any) -> None:
        server = Server.objects.create(slug=kind.name, name=kind.name, owner=self.user, **place)
        if server.transport == "stdio":
            confirm_command(user=self.user, server=server, shown=fingerprint(server))
        self.servers[kind] = server

    def test_all(self) -> None:
        """Each by a job of its own, as a click on “Test connection” does."""
        for server in self.servers.values():
            django_rq.get_queue("probes").enqueue(PROBE_JOB, str(server.pk), self.user.pk, job_id=f"zoo-{server.slug}")
        until(lambda: self.redis.hlen("measured") == len(self.servers), TESTED_S)
        for kind, server in self.servers.items():
            server.refresh_from_db()
            if server.health != kind.health or kind.detail not in server.health_detail:
                self.wrong.append((kind.name, server.health, server.health_detail))
            if (server.health == "ok") != Tool.objects.filter(server=server, name="good").exists():
                self.wrong.append((kind.name, "the good one is hidden", server.health_detail))

    def call_all(self) -> None:
        for kind, server in self.servers.items():
            if server.health == "ok":
                self.runs[kind] = self.called(server, kind)
        for kind, run in self.runs.items():
            until(lambda run=run: ended(run), CALLED_S)  # type: ignore[misc]
            self.look(kind, run)

    def called(self, server: Server, kind: Kind) -> Run:
        """A call of the hostile server beside one of a decent one."""
        authorise(user=self.user, server=server, approval={"default": "auto"})
        bad = step("bad", f"{server.slug}.good", x=kind.x) | {"timeout_s": kind.timeout_s, "retries": 0}
        return start_run(user=self.user, plan=plan(bad, step("other", "text.upper", text="a")))

    def look(self, kind: Kind, run: Run) -> None:
        error = run.tool_runs.get(step="bad").error or {"code": "", "message": ""}
        is_said = error["code"] == kind.error and kind.message in error["message"]
        told = "".join(event.data["delta"] for event in run.events.filter(type="TOOL_CALL_LOG"))
        if not is_said or kind.told not in told or statuses(run)["other"] != "succeeded":
            self.wrong.append((kind.name, error, statuses(run), told[:200]))
        if run.events.count() > 200:
            self.wrong.append((kind.name, "too many events", run.events.count()))

    def measure(self) -> None:
        for job, told in self.redis.hgetall("measured").items():
            peak, seconds = map(float, told.split())
            print(f"{job.decode():60} {peak / MEGABYTE:6.0f} MB {seconds:6.2f} s")
            if peak > MOST_BYTES or seconds > MOST_S:
                self.wrong.append((job, peak, seconds))

    def open_pages(self, web: Client) -> None:
        """What a browser is given of them is bounded too, and no schema stops a form."""
        for kind, server in self.servers.items():
            tool = server.tools.filter(name="good").first()
            paths = [f"/servers/{server.slug}", *([f"/servers/{server.slug}/try/{tool.pk}"] if tool else [])]
            for path in paths:
                began, answer = time.monotonic(), web.get(path)
                seconds = time.monotonic() - began
                if answer.status_code != 200 or len(answer.content) > PAGE_BYTES or seconds > MOST_S:
                    self.wrong.append((kind.name, path, answer.status_code, len(answer.content), seconds))


def ended(run: Run) -> bool:
    run.refresh_from_db()
    return run.finished_at is not None


@pytest.fixture
def visit(alice: User, redis: "Redis[bytes]", text: Server) -> Visit:
    User.objects.filter(pk=alice.pk).update(is_staff=True)  # who may start commands
    alice.refresh_from_db()
    return Visit(alice, redis)


@pytest.mark.usefixtures("_workers")
def test_each_has_a_name_and_its_bounds_and_nobody_else_waits(
    visit: Visit, toy: Callable[..., Toy], web: Client
) -> None:
    zoo = toy("zoo")
    for kind in ZOO:
        visit.add(kind, transport="streamable_http", url=f"{zoo.base}/{kind.name}")
    for kind in COMMANDS:
        visit.add(kind, transport="stdio", command=sys.executable, args=["-S", str(SERVERS / STARTED), kind.name])
    visit.test_all()
    visit.call_all()
    visit.open_pages(web)
    visit.measure()
    assert visit.wrong == []
    heard = zoo.get("/heard")
    assert heard and all("error" in message and "result" not in message for message in heard), heard
    drips = next(kind for kind in ZOO if kind.name == "dripping-call")
    hanging = visit.called(visit.servers[drips], replace(drips, timeout_s=30))
    until(lambda: statuses(hanging)["bad"] == "running")
    others = start_run(user=visit.user, plan=plan(step("s", "text.upper", text="a")))
    until(lambda: ended(others))
    assert statuses(others) == {"s": "succeeded"}
    assert web.get(f"/runs/{hanging.pk}").status_code == 200
    assert statuses(hanging)["bad"] == "running"
    until(lambda: not left_running())


def left_running() -> list[str]:
    lines = [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
    return [line for line in lines if STARTED in line or "of-the-zoo" in line]


def test_a_loop_that_stands_still_ends_its_job_and_is_called_a_time_out(
    alice: User, text: Server, toy: Callable[..., Toy], redis: "Redis[bytes]"
) -> None:
    zoo = toy("zoo")
    zoo.url = f"{zoo.base}/freezes"
    server = connected(alice, zoo, "freezes")
    bad = step("bad", "freezes.good", x="a") | {"retries": 0}
    with real_worker("tests.chains.measuring.FreezingWorker", "probes", "runs"):
        began = time.monotonic()
        run = start_run(user=alice, plan=plan(bad, step("other", "text.upper", text="a")))
        django_rq.get_queue("probes").enqueue(PROBE_JOB, str(server.pk), alice.pk)
        until(lambda: ended(run), CALLED_S)
        until(lambda: server.refresh_from_db() or server.health != "untested", CALLED_S)
    assert time.monotonic() - began < CALLED_S
    assert statuses(run) == {"bad": "failed", "other": "succeeded"}
    assert (run.error["code"], server.health) == ("timeout", "timeout")
    assert "kept us computing" in run.error["message"] and "kept us computing" in server.health_detail
