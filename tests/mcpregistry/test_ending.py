"""Asked to end, a process finishes what it has begun and hands on the rest; and its log tells what belongs together."""

import http.client
import json
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.chains.conftest import plan, step, until
from tests.chains.following import EventSource, Socket, signed_in
from tests.mcpregistry.test_up import healthy, one_named
from tests.stack import Stack
from tests.toys import Toy, running_toy

pytestmark = [pytest.mark.timeout(300), pytest.mark.thorough]
COME_AGAIN = 4503


@pytest.fixture(scope="module")
def toys(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Toy]]:
    """Two servers, connected; where `files` writes is its root."""
    root = tmp_path_factory.mktemp("files")
    started = {"end-text": running_toy("text"), "end-files": running_toy("files", "--root", str(root))}
    started["end-files"].root = root
    for name, toy in started.items():
        ask(stack, "POST", "/registry", {"name": name, "url": toy.url})
        assert ask(stack, "POST", f"/registry/{name}/healthcheck")["health"] == "ok"
        ask(stack, "PUT", f"/registry/{name}/connection", {"tools": "all", "approval": {"default": "auto"}})
    yield started
    for toy in started.values():
        toy.stop()


def ask(stack: Stack, method: str, path: str, data: Any = None) -> dict[str, Any]:
    status, answer = stack.call(method, path, data, stack.token)
    assert status < 400, answer
    return answer


def start(stack: Stack, path: str, seconds: float) -> str:
    """A run that writes, then calls something slow, then reads."""
    steps = plan(
        step("w", "end-files.write_file", path=path, content="a"),
        step("b", "end-text.slow", seconds=seconds) | {"needs": ["w"]},
        step("c", "end-files.read_file", path=path) | {"needs": ["b"]},
    )
    return str(ask(stack, "POST", "/chain/execute", {"plan": steps})["run_id"])


def step_of(stack: Stack, run_id: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in ask(stack, "GET", f"/chain/runs/{run_id}")["steps"] if each["id"] == name
    )
    return found


def written(toys: dict[str, Toy], path: str) -> int:
    return (toys["end-files"].root / ".writes").read_text().split().count(path)


class InBackground(threading.Thread):
    """What `work` returned, or the error that it ended with."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.work, self.came = work, None
        self.start()

    def run(self) -> None:
        try:
            self.came = self.work()
        except (OSError, http.client.HTTPException, ConnectionClosed) as error:
            self.came = error

    def result(self) -> Any:
        self.join(60)
        assert not self.is_alive()
        return self.came


def stream_to_its_end(stack: Stack, run_id: str) -> bytes:
    """The last line of the stream; raises IncompleteRead where it breaks off."""
    request = urllib.request.Request(f"{stack.base}/chat/{run_id}/stream?after=1")
    request.add_header("Authorization", f"Token {stack.token}")
    with urllib.request.urlopen(request, timeout=60) as response:
        body: bytes = response.read()
    return body.strip().splitlines()[-1]


def close_code(stack: Stack, run_id: str) -> int:
    headers = {"Cookie": signed_in(stack), "Origin": stack.base}
    url = f"ws://127.0.0.1:{stack.port}/ws/runs/{run_id}?after=1"
    with connect(url, additional_headers=headers, proxy=None) as socket:
        try:
            while True:
                socket.recv(60)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 0


def test_a_web_server_finishes_requests_and_sends_viewers_on(stack: Stack, toys: dict[str, Toy]) -> None:
    run_id = start(stack, "web", 5)
    viewers = [EventSource(stack, run_id), Socket(stack, run_id)]
    clean, code = (
        InBackground(lambda: stream_to_its_end(stack, run_id)),
        InBackground(lambda: close_code(stack, run_id)),
    )
    until(lambda: all("TOOL_CALL_PROGRESS" in viewer.types() for viewer in viewers))
    slow = {"arguments": {"seconds": 1}}
    calling = InBackground(lambda: stack.call("POST", "/registry/end-text/tools/slow/call", slow, stack.token))
    until(one_named(stack, "probes-1").children)
    web = one_named(stack, "daphne")
    web.terminate()
    web.wait(30)
    status, answer = calling.result()
    assert (status, answer["is_error"]) == (200, False), answer
    assert b"RUN_FINISHED" not in clean.result()
    assert code.result() == COME_AGAIN
    for viewer in viewers:
        assert viewer.ended().seqs == list(range(1, viewer.seqs[-1] + 1))
        assert viewer.lines == 2
    until(lambda: healthy(stack))


def test_a_worker_finishes_its_call_and_another_goes_on(stack: Stack, toys: dict[str, Toy]) -> None:
    path = f"worker-{uuid.uuid4()}"
    run_id = start(stack, path, 2)
    until(lambda: step_of(stack, run_id, "b")["status"] == "running")
    worker = one_named(stack, "runs-1")
    worker.terminate()
    worker.wait(30)
    assert step_of(stack, run_id, "b")["status"] == "succeeded"
    assert step_of(stack, run_id, "c")["status"] == "pending"
    assert EventSource(stack, run_id).ended().types()[-1] == "RUN_FINISHED"
    assert step_of(stack, run_id, "b")["attempt"] == 1
    assert written(toys, path) == 1


def lines_of(stack: Stack) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.output.splitlines() if line.startswith("{")]


def answered(stack: Stack, request_id: str, path: str, data: Any = None) -> tuple[str, dict[str, Any]]:
    """The X-Request-ID that came back, and the answer."""
    headers = {"Authorization": f"Token {stack.token}", "Content-Type": "application/json", "X-Request-ID": request_id}
    body = None if data is None else json.dumps(data).encode()
    with urllib.request.urlopen(urllib.request.Request(stack.base + path, body, headers), timeout=30) as response:
        return response.headers["X-Request-ID"], json.load(response)


def test_a_request_is_followed_through_the_queue_into_its_run(stack: Stack, toys: dict[str, Toy]) -> None:
    steps = plan(step("s1", "end-text.upper", text="a"))
    given = f"from-the-proxy-{uuid.uuid4().hex[:8]}"
    returned, run = answered(stack, given, "/chain/execute", {"plan": steps})
    assert returned == given

    def of_request() -> dict[str, dict[str, Any]]:
        return {line["program"]: line for line in lines_of(stack) if line.get("request_id") == given}

    until(lambda: {"web", "runs-1"} <= set(of_request()))
    found = of_request()
    assert found["web"]["status"] == 202 and found["web"]["view"] == "chains.api.Execute"
    assert found["runs-1"]["run_id"] == run["run_id"] and found["runs-1"]["job"] == "chains.jobs.drive_run"


@pytest.mark.parametrize("bad", ["a b", "x" * 65, "<script>", "é"])
def test_an_id_that_is_not_well_formed_is_replaced(stack: Stack, bad: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.request("GET", "/livez", headers={"X-Request-ID": bad.encode("latin-1")})
    returned = connection.getresponse().headers["X-Request-ID"]
    connection.close()
    assert len(returned) == 32 and returned.isalnum()
