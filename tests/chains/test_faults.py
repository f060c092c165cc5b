"""What a chain stands on is killed in the middle of it: it ends well, and nobody misses or doubles anything."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.chains.conftest import plan, step
from tests.chains.following import EventSource, Socket, Viewer
from tests.nursery import is_gone
from tests.stack import Stack, running_stack
from tests.toys import Toy, running_toy

pytestmark = pytest.mark.timeout(300)
FINISHED = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def site() -> Iterator[Stack]:
    """The product of this module's own: its services are killed again and again."""
    with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", STDIO_SERVERS="off", EMBEDDING_MODEL="off") as running:
        yield running


@pytest.fixture(scope="module")
def written(site: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], list[str]]]:
    """The servers `text` and `files`, connected; what was written, one entry a call."""
    root = tmp_path_factory.mktemp("files")
    toys = [running_toy("text"), running_toy("files", "--root", str(root))]
    for toy in toys:
        connect(site, toy)
    yield lambda: (root / ".writes").read_text().split() if (root / ".writes").exists() else []
    for toy in toys:
        toy.stop()


def connect(site: Stack, toy: Toy) -> None:
    ask(site, "POST", "/registry", {"name": toy.name, "url": toy.url})
    assert ask(site, "POST", f"/registry/{toy.name}/healthcheck")["health"] == "ok"
    ask(site, "PUT", f"/registry/{toy.name}/connection", {"tools": "all", "approval": {"default": "auto"}})


def ask(site: Stack, method: str, path: str, data: Any = None) -> dict[str, Any]:
    status, answer = site.call(method, path, data, site.token)
    assert status < 400, answer
    return answer


def five_steps(name: str, seconds: float = 2) -> dict[str, Any]:
    return plan(
        step("a", "text.upper", text="a"),
        step("w", "files.write_file", path=name, content={"$ref": "a#/text"}),
        step("b", "text.slow", seconds=seconds) | {"needs": ["w"]},
        step("c", "files.read_file", path=name) | {"needs": ["b"]},
        step("d", "text.upper", text={"$ref": "c#/text"}),
    )


def start(site: Stack, name: str) -> str:
    return str(ask(site, "POST", "/chain/execute", {"plan": five_steps(name)})["run_id"])


def both(site: Stack, run_id: str) -> list[Viewer]:
    return [EventSource(site, run_id), Socket(site, run_id)]


def in_the_middle(viewers: list[Viewer], timeout_s: float = 60) -> None:
    """Returns once every viewer has seen the slow step being called."""
    deadline = time.monotonic() + timeout_s
    while not all(viewer.types()[-1:] == ["TOOL_CALL_PROGRESS"] for viewer in viewers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def process_of(site: Stack, words: str) -> psutil.Process:
    """The living process of the stack whose command line or name holds these words."""
    family = psutil.Process(site.process.pid).children(recursive=True)
    alive = [each for each in family if not is_gone(each)]
    return next(each for each in alive if words in " ".join([each.name(), *each.cmdline()]))


def assert_ended_well(
    site: Stack, run_id: str, viewers: list[Viewer], written: Callable[[], list[str]], name: str
) -> None:
    for viewer in viewers:
        assert viewer.ended().types()[-1] == "RUN_FINISHED"
    for viewer in viewers:
        assert viewer.seqs == list(range(1, viewer.seqs[-1] + 1))
    run = ask(site, "GET", f"/chain/runs/{run_id}")
    assert {each["status"] for each in run["steps"]} == {"succeeded"}
    assert written().count(name) == 1


@pytest.mark.parametrize("back", ["full", "empty"])
def test_redis_is_killed_and_comes_back(site: Stack, written: Callable[[], list[str]], back: str) -> None:
    run_id, waiting = start(site, back), start(site, f"{back}-waiting")
    viewers, others = both(site, run_id), both(site, waiting)
    in_the_middle(viewers)
    process_of(site, "redis-server").kill()
    if back == "empty":
        shutil.rmtree(site.data_dir / "redis")
    assert_ended_well(site, run_id, viewers, written, back)
    assert_ended_well(site, waiting, others, written, f"{back}-waiting")


def test_postgres_is_restarted(site: Stack, written: Callable[[], list[str]]) -> None:
    run_id = start(site, "postgres")
    viewers = both(site, run_id)
    in_the_middle(viewers)
    process_of(site, "bin/postgres").send_signal(signal.SIGQUIT)
    assert_ended_well(site, run_id, viewers, written, "postgres")
    later = start(site, "after")
    assert_ended_well(site, later, both(site, later), written, "after")


def test_the_web_server_is_killed_during_a_stream(site: Stack, written: Callable[[], list[str]]) -> None:
    run_id = start(site, "web")
    viewers = both(site, run_id)
    in_the_middle(viewers)
    process_of(site, "daphne").kill()
    assert_ended_well(site, run_id, viewers, written, "web")
    assert [viewer.lines for viewer in viewers] == [2, 2]


def test_a_websocket_is_dropped(site: Stack, written: Callable[[], list[str]]) -> None:
    run_id = start(site, "dropped")
    viewer = Socket(site, run_id)
    in_the_middle([viewer])
    viewer.drop()
    assert_ended_well(site, run_id, [viewer], written, "dropped")
    assert viewer.lines == 2
