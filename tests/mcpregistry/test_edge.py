"""What daphne itself is sent: refused in the API's shape, within limits, and the next one is served."""

import json
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest

from mcpregistry import edge
from tests.stack import Stack

PATIENCE_S = 20
SECURE = ("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy", "cache-control")


@pytest.fixture(autouse=True)
def _unharmed(stack: Stack) -> Iterator[None]:
    """Whatever was sent, the next is answered, and nothing was worth a traceback."""
    told = len(stack.output)
    yield
    assert stack.call("GET", "/registry", token=stack.token)[0] == 200
    output = stack.output[told:]
    assert output.count("Traceback") == output.count("DisallowedHost: "), output  # Django logs those so


def sent(stack: Stack, pieces: Iterable[bytes]) -> bytes:
    """All that is answered until the connection is closed, or is quiet after an answer."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=PATIENCE_S) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
        answer = b""
        connection.settimeout(PATIENCE_S)
        while chunk := connection.recv(65536):
            answer += chunk
            if is_whole(answer):
                break
        return answer


def is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return bool(found) and (not length or len(body) >= int(length[0]))


def parsed(answer: bytes) -> tuple[int, dict[str, str], str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body.decode()


def request(line: str = "GET /registry HTTP/1.1", *headers: str) -> bytes:
    return "\r\n".join([line, "Host: 127.0.0.1", *headers, "", ""]).encode("latin-1")


LARGE = edge.MAX_BODY_BYTES + 1
JSON = "Content-Type: application/json"
REFUSED: dict[str, tuple[bytes, int]] = {
    "a long address": (request(f"GET /registry/{'x' * 60_000} HTTP/1.1"), 414),
    "a long query": (request(f"GET /registry?q={'x' * 200_000} HTTP/1.1"), 414),
    "a long header": (request("GET / HTTP/1.1", "X-Long: " + "x" * 100_000), 431),
    "much in headers": (request("GET / HTTP/1.1", *[f"X-{n}: {'x' * 200}" for n in range(100)]), 431),
    "many headers": (request("GET / HTTP/1.1", *[f"X{n}: 1" for n in range(1_000)]), 431),
    "a header without a name": (request("GET / HTTP/1.1", ": x"), 400),
    "a header without a colon": (request("GET / HTTP/1.1", "nothing"), 400),
    "NUL in a header": (request("GET / HTTP/1.1", "X-A: a\x00b"), 400),
    "a control character in a header": (request("GET / HTTP/1.1", "X-A: a\x0bb"), 400),
    "a byte that is no ASCII in the address": (request("GET /registry/\xe9 HTTP/1.1"), 400),
    "a byte that is no ASCII in the query": (request("GET /registry?q=\xe9 HTTP/1.1"), 400),
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "no version": (b"GET\r\n\r\n", 400),
    "two lengths": (request("POST /chat HTTP/1.1", JSON, "Content-Length: 2", "Content-Length: 3") + b"{}", 400),
    "a length and chunks": (
        request("POST /chat HTTP/1.1", JSON, "Content-Length: 2", "Transfer-Encoding: chunked") + b"{}",
        400,
    ),
    "a length below nothing": (request("POST /chat HTTP/1.1", JSON, "Content-Length: -1"), 400),
    "a length of 5,000 digits": (request("POST /chat HTTP/1.1", JSON, f"Content-Length: {'9' * 5_000}"), 413),
    "a broken chunk": (request("POST /chat HTTP/1.1", JSON, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n", 400),
    "a kind of transfer there is not": (request("POST /chat HTTP/1.1", JSON, "Transfer-Encoding: gzip"), 400),
    "a large body": (
        request("POST /chat HTTP/1.1", JSON, f"Content-Length: {LARGE}") + b" " * LARGE,
        413,
    ),
    "a large body in chunks without a length": (
        request("POST /chat HTTP/1.1", JSON, "Transfer-Encoding: chunked")
        + b"".join(b"40000\r\n" + b" " * 0x40000 + b"\r\n" for _ in range(LARGE // 0x40000 + 1))
        + b"0\r\n\r\n",
        413,
    ),
    "a host that is not ours": (b"GET /registry HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400),
    "two hosts": (request("GET /registry HTTP/1.1", "Host: evil.example"), 400),
    "no host": (b"GET /registry HTTP/1.1\r\n\r\n", 401),
    "a method there is not": (request("NONSENSE /registry HTTP/1.1"), 401),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_understood_is_refused_in_the_apis_shape(stack: Stack, what: str) -> None:
    piece, expected = REFUSED[what]
    status, headers, body = parsed(sent(stack, [piece]))
    assert (status, headers["content-type"]) == (expected, "application/json"), body
    assert json.loads(body)["error"]["message"]
    assert all(headers.get(name) for name in SECURE), headers


def test_whoever_never_stops_sending_is_cut_off_and_nothing_is_kept(stack: Stack) -> None:
    def endless() -> Iterator[bytes]:
        yield request("POST /chat HTTP/1.1", JSON, "Transfer-Encoding: chunked")
        for _ in range(2 * edge.PATIENCE * edge.MAX_BODY_BYTES // 0x100000):
            yield b"100000\r\n" + b" " * 0x100000 + b"\r\n"

    status, _, body = parsed(sent(stack, endless()))
    assert status == 413, body


@dataclass(frozen=True)
class Watched:
    """A run that waits, so that its stream stays open, and the session of whoever watches it."""

    path: str
    cookie: str


MAKE_ONE = """
from django.contrib.auth.models import User
from django.test import Client
from chains.models import Run

admin, browser = User.objects.get(username="admin"), Client()
browser.force_login(admin)
run = Run.objects.create(owner=admin, kind="chain", status="awaiting_approval", plan={"version": 1, "steps": []})
print(run.pk, browser.cookies["sessionid"].value)
"""


@pytest.fixture(scope="module")
def watched(stack: Stack) -> Watched:
    run, session = stack.manage("shell", "--no-imports", "-c", MAKE_ONE).split()
    return Watched(f"/ws/runs/{run}", f"Cookie: sessionid={session}")


HANDSHAKE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
KEY = "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="
RUN = "GET /ws/runs/00000000-0000-0000-0000-000000000000 HTTP/1.1"


@pytest.mark.parametrize(
    ("line", "headers", "expected"),
    [
        (RUN, [*HANDSHAKE, KEY, "Origin: http://evil.example"], 403),
        (RUN, [*HANDSHAKE, KEY, "Origin: null"], 403),
        (RUN, [*HANDSHAKE, KEY], 403),
        (RUN, [*HANDSHAKE, KEY, "Origin: \xe9\xff"], 400),
        (RUN, [*HANDSHAKE, "Origin: http://127.0.0.1"], 400),
        (RUN, ["Upgrade: websocket", "Connection: Upgrade", KEY, "Sec-WebSocket-Version: 99"], 400),
        ("GET /ws/nowhere HTTP/1.1", [*HANDSHAKE, KEY, "Origin: http://127.0.0.1"], 403),
        ("GET /ws/runs/%00 HTTP/1.1", [*HANDSHAKE, KEY, "Origin: http://127.0.0.1"], 403),
        (RUN, [*HANDSHAKE, KEY, "Origin: http://127.0.0.1", "Sec-WebSocket-Protocol: \xe9"], 400),
    ],
    ids=["foreign", "null", "none", "nonsense", "no key", "version", "nowhere", "no run", "protocol"],
)
def test_no_websocket_is_opened_from_elsewhere_or_by_halves(
    stack: Stack, line: str, headers: list[str], expected: int
) -> None:
    assert parsed(sent(stack, [request(line, *headers)]))[0] == expected


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (b"\x83\x80\x00\x00\x00\x00", 1002),  # a kind there is not
        (b"\xf1\x80\x00\x00\x00\x00", 1002),  # reserved bits
        (b"\x81\x82\x00\x00\x00\x00\xff\xfe", 1007),  # text that is none
        (b"\x89\xfe\x00\xff" + b"\x00" * 4 + b"x" * 255, 1002),  # a ping of more than 125 bytes
        (b"\x82\xff\x7f" + b"\xff" * 7 + b"\x00" * 4, 1009),  # one of nine million terabytes
        (b"\x80\x80\x00\x00\x00\x00", 1002),  # the rest of nothing
    ],
    ids=["unmasked", "unknown", "reserved", "no UTF-8", "long ping", "huge", "continuation"],
)
def test_a_broken_frame_ends_its_websocket_and_no_other(
    stack: Stack, watched: Watched, frame: bytes, code: int
) -> None:
    handshake = request(f"GET {watched.path} HTTP/1.1", *HANDSHAKE, KEY, f"Origin: {stack.base}", watched.cookie)
    with socket.create_connection(("127.0.0.1", stack.port), timeout=PATIENCE_S) as connection:
        connection.sendall(handshake)
        assert b"101" in connection.recv(65536).split(b"\r\n")[0]
        connection.sendall(frame)
        answer, deadline = b"", time.monotonic() + PATIENCE_S
        while code.to_bytes(2, "big") not in answer and time.monotonic() < deadline:
            chunk = connection.recv(65536)
            if not chunk:
                break
            answer += chunk
    assert b"\x88" in answer and code.to_bytes(2, "big") in answer, answer[-200:]
