"""A web server that is asked to end: streams end whole, requests are answered, nobody new is let in."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.chains.conftest import until
from tests.stack import free_port
from tests.toys import SERVERS

COME_AGAIN = 4503


class Web:
    """daphne over tests/servers/draining.py."""

    def __init__(self) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "daphne", "-v", "0", "-p", str(self.port), "draining:application"]
        self.process = subprocess.Popen(command, cwd=SERVERS)

    def answers(self) -> bool:
        try:
            HTTPConnection("127.0.0.1", self.port, timeout=5).connect()
        except OSError:
            return False
        return True

    def opened(self, path: str) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        return connection


@pytest.fixture
def web() -> Iterator[Web]:
    running = Web()
    until(running.answers, 60)
    yield running
    running.process.kill()
    running.process.wait()


def test_streams_end_whole_and_what_is_under_way_is_answered(web: Web) -> None:
    stream = web.opened("/stream").getresponse()
    first = stream.readline()
    with connect(f"ws://127.0.0.1:{web.port}/", proxy=None) as socket:
        slow = web.opened("/slow").getresponse()  # it has begun
        web.process.send_signal(signal.SIGTERM)
        assert (first, stream.read()[-9:]) == (b"data: x\n", b"data: x\n\n")  # IncompleteRead where it breaks off
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
        assert closed.value.rcvd and closed.value.rcvd.code == COME_AGAIN
        assert (slow.status, slow.read()) == (200, b"done")
    assert web.process.wait(20) == 0
