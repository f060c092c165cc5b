"""`manage.py up`, from an empty folder to Ctrl-C, with everything that can end badly in between."""

import os
import signal
import socket
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command

from mcpregistry import web
from tests.mcpregistry.test_embedded import holder
from tests.stack import Stack, stack_data_dir

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with stack_data_dir() as folder:
        yield folder


@pytest.fixture
def start(data_dir: Path) -> Iterator[Callable[..., Stack]]:
    """`start()` runs `up`, without demo servers, over the same folder each time and waits until it is ready."""
    started: list[Stack] = []

    def start_one(**environment: str) -> Stack:
        started.append(Stack(data_dir, STDIO_SERVERS="off", EMBEDDING_MODEL="off", **environment))
        started[-1].wait_for("Ctrl-C")
        return started[-1]

    yield start_one
    for running in started:
        running.stop()


def family(running: Stack) -> list[psutil.Process]:
    """Every process of a running stack."""
    own = psutil.Process(running.process.pid)
    return [own, *own.children(recursive=True)]


def one_named(running: Stack, name: str) -> psutil.Process:
    """The first that has this name or runs this program."""
    alive = [each for each in family(running) if each.status() != psutil.STATUS_ZOMBIE]
    return next(each for each in alive if each.name() == name or name in " ".join(each.cmdline()[:3]))


def assert_all_gone(processes: list[psutil.Process], timeout_s: float = 15) -> None:
    _, left = psutil.wait_procs(processes, timeout=timeout_s)
    assert not left


def page_after_sign_in(link: str) -> str:
    """The address where a fresh browser ends that opens the link."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    try:
        with browser.open(link) as response:
            return response.url
    except urllib.error.HTTPError as error:
        return error.url


def test_first_start_is_healthy_and_tells_how_to_sign_in(stack: Stack) -> None:
    status, health = stack.healthz()
    assert (status, health["status"]) == (200, "ok")
    assert set(health["checks"]) == {"database", "redis", "queues"}
    assert all(health["checks"]["queues"][name]["workers"] for name in ("runs", "probes", "chat", "catalogue"))
    for said in (stack.base, "Sign in", "Password", str(stack.data_dir)):
        assert stack.output.count(said) >= 1


def test_sign_in_link_works_exactly_once(stack: Stack) -> None:
    made = "from mcpregistry.accounts import *; print(sign_in_path(User.objects.get(username='admin')))"
    link = stack.base + stack.manage("shell", "--no-imports", "-c", made).strip()
    assert "/signin/" in link
    assert "/login" not in page_after_sign_in(link)
    assert "/login" in page_after_sign_in(link)


def test_token_command_prints_a_working_token_and_nothing_else(stack: Stack) -> None:
    printed = stack.manage("token", "admin")
    assert len(printed.split()) == 1
    assert stack.call("GET", "/chain/runs", token=printed.strip())[0] != 401
    assert stack.call("GET", "/chain/runs")[0] == 401


def test_ctrl_c_leaves_no_process_changes_no_folder_and_keeps_everything(
    start: Callable[..., Stack], data_dir: Path
) -> None:
    above = [data_dir, *data_dir.parents]
    before = [stat.S_IMODE(folder.stat().st_mode) for folder in above]
    first = start()
    token = first.manage("token", "bob", "--create").strip()
    everyone = family(first)
    os.killpg(first.process.pid, signal.SIGINT)
    assert first.process.wait(30) == 0
    assert_all_gone(everyone)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in above] == before

    second = start()
    assert "Password" in first.output
    assert "Password" not in second.output
    assert second.call("GET", "/registry", token=token)[0] == 200


def test_after_kill_minus_nine_nothing_is_left_and_what_hangs_is_ended_by_force(start: Callable[..., Stack]) -> None:
    first = start()
    everyone = family(first)
    first.process.kill()
    first.process.wait()
    assert_all_gone(everyone)

    second = start(WEB_PROCESSES="2")
    assert second.healthz()[0] == 200
    one_named(second, "daphne").kill()
    assert [second.healthz()[0] for _ in range(20)] == [200] * 20  # the other web process takes all that comes
    everyone = family(second)
    one_named(second, "runs-1").suspend()
    assert second.stop(signal.SIGTERM) == 0
    assert_all_gone(everyone)


@pytest.mark.parametrize("victim", ["runs-1", "daphne", "redis-server", "bin/postgres -D"])
def test_what_dies_is_started_again(stack: Stack, victim: str) -> None:
    dead = one_named(stack, victim)
    said_before = stack.output.count("starting it again")
    dead.kill()
    dead.wait(10)
    deadline = time.monotonic() + 60
    while stack.output.count("starting it again") == said_before or not healthy(stack):
        assert time.monotonic() < deadline, stack.output
        time.sleep(0.1)
    assert one_named(stack, victim).pid != dead.pid


def test_services_borrowed_from_another_command_are_replaced_when_it_ends(
    start: Callable[..., Stack], data_dir: Path
) -> None:
    other = holder(data_dir)
    running = start()
    assert not any(each.name() == "postgres" for each in family(running))
    other.communicate(timeout=30)
    running.wait_for("postgres ended (whoever ran it stopped it)")
    deadline = time.monotonic() + 60
    while not (healthy(running) and any(each.name() == "postgres" for each in family(running))):
        assert time.monotonic() < deadline, running.output
        time.sleep(0.1)


def healthy(stack: Stack) -> bool:
    try:
        return stack.healthz()[0] == 200
    except OSError:
        return False


def test_port_in_use_is_one_clear_sentence_and_nothing_starts(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = Stack(data_dir, PORT=str(taken.getsockname()[1]))
        assert running.process.wait(30) == 1
        running.reader.join(5)
    assert "Set PORT to a free one." in running.output
    assert len(running.output.strip().splitlines()) == 1
    assert not (data_dir / "postgres").exists()


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "http"), ("PORT", "70000"), ("WORKERS", "0"), ("WEB_PROCESSES", "x")]
)
def test_bad_setting_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(web, "listen", lambda *_: pytest.fail("it went on"))
    with pytest.raises(CommandError, match=f"{name} must be a number"):
        call_command("up")
