"""A viewer as a browser is one: it follows a run over real sockets and comes back when the line breaks."""

import http.client
import json
import socket
import threading
import time
from http.cookiejar import CookieJar
from typing import Any
from urllib.request import HTTPCookieProcessor, build_opener

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.stack import Stack

LAST = ("RUN_FINISHED", "RUN_ERROR")
PAUSE_S = 0.1
READ_TIMEOUT_S = 20
BROKEN = (OSError, http.client.HTTPException, WebSocketException, TimeoutError)


class Viewer:
    """`events` grows until the run is over; `lines` counts how often a line was opened."""

    def __init__(self, stack: Stack, run_id: str) -> None:
        self.stack, self.run_id = stack, run_id
        self.events: list[dict[str, Any]] = []
        self.lines = 0
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    @property
    def seqs(self) -> list[int]:
        return [event["seq"] for event in self.events]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def ended(self, timeout_s: float = 90) -> "Viewer":
        """This viewer once the run is over."""
        self.thread.join(timeout_s)
        assert not self.thread.is_alive(), f"not over after {timeout_s} s: {self.types()[-5:]}"
        return self

    def _follow(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                self._read()
            except BROKEN:
                time.sleep(PAUSE_S)
            if self.events and self.events[-1]["type"] in LAST:
                return

    def _read(self) -> None:
        raise NotImplementedError


class EventSource(Viewer):
    """Server-sent events, taken up again with Last-Event-ID."""

    def _read(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=READ_TIMEOUT_S)
        after = str(self.seqs[-1] if self.events else 0)
        line.request(
            "GET",
            f"/chat/{self.run_id}/stream",
            headers={"Authorization": f"Token {self.stack.token}", "Last-Event-ID": after},
        )
        response = line.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise ConnectionError(f"status {response.status}")
        self.lines += 1
        for said in response:
            if said.startswith(b"data:"):
                self.events.append(json.loads(said[5:]))


class Socket(Viewer):
    """The websocket of the run's page, taken up again with `?after=`; `drop` pulls the plug."""

    def __init__(self, stack: Stack, run_id: str) -> None:
        self.cookies = signed_in(stack)
        self.socket: Any = None
        super().__init__(stack, run_id)

    def _read(self) -> None:
        after = self.seqs[-1] if self.events else 0
        url = f"ws://127.0.0.1:{self.stack.port}/ws/runs/{self.run_id}?after={after}"
        headers = {"Cookie": self.cookies, "Origin": self.stack.base}
        with connect(url, additional_headers=headers, proxy=None) as self.socket:
            self.lines += 1
            for said in self.socket:
                self.events.append(json.loads(said))

    def drop(self) -> None:
        self.socket.socket.shutdown(socket.SHUT_RDWR)


def signed_in(stack: Stack) -> str:
    """A Cookie header of `admin`, whose sign-in link is used up by it; kept on the stack."""
    if not hasattr(stack, "cookies"):
        jar = CookieJar()
        build_opener(HTTPCookieProcessor(jar)).open(stack.sign_in_link, timeout=READ_TIMEOUT_S).close()
        stack.cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)  # type: ignore[attr-defined]
    return str(stack.cookies)  # type: ignore[attr-defined]
