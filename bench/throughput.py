"""What each main endpoint answers in a second, to one client and to eight at once, over 2,000 invented servers."""

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection
from http.cookiejar import CookieJar
from itertools import count
from typing import Any
from urllib.request import HTTPCookieProcessor, build_opener

from bench.chain import PLAN, call, connect, last_event
from bench.search import NOUNS, VERBS, load, wait_for_vectors
from tests.stack import Stack, running_stack
from tests.toys import running_toy

CLIENTS = (1, 8)
SECONDS = 4
HEAD = [
    "| endpoint | 1 client, requests/s | median ms | p95 ms | 8 clients, requests/s | median ms | p95 ms |",
    "| --- | --- | --- | --- | --- | --- | --- |",
]
Request = tuple[str, str, Any]  # method, path, body
SIGNED_IN = object()  # in the place of a body: a person's page, by their session and not by a token


def endpoints(run_id: str) -> dict[str, Callable[[int], Request]]:
    """By name: the request number n."""

    def words(n: int) -> str:
        return f"{VERBS[n % len(VERBS)]}+{NOUNS[n // len(VERBS) % len(NOUNS)]}"

    return {
        "GET /livez": lambda n: ("GET", "/livez", None),
        "GET /healthz": lambda n: ("GET", "/healthz", None),
        "GET /registry": lambda n: ("GET", "/registry", None),
        "GET /registry/search": lambda n: ("GET", f"/registry/search?q={words(n)}&limit=10", None),
        "GET /registry/tools/search": lambda n: ("GET", f"/registry/tools/search?q={words(n)}&limit=10", None),
        "GET /registry/{id}": lambda n: ("GET", "/registry/toy", None),
        "GET /servers/{id}, the page": lambda n: ("GET", "/servers/toy", SIGNED_IN),
        "GET /servers, the page": lambda n: ("GET", "/servers", SIGNED_IN),
        "GET /chat": lambda n: ("GET", "/chat", None),
        "GET /chain/runs": lambda n: ("GET", "/chain/runs", None),
        "GET /chain/runs/{id}": lambda n: ("GET", f"/chain/runs/{run_id}", None),
        "POST /chain/validate": lambda n: ("POST", "/chain/validate", {"plan": PLAN}),
        "GET /chain/templates": lambda n: ("GET", "/chain/templates", None),
        "GET /metrics": lambda n: ("GET", "/metrics", None),
    }


def endpoint_throughput(repeat: int) -> tuple[list[float], list[str]]:
    """Requests a second of `GET /registry` by one client, and a table of all endpoints."""
    with loaded_stack() as (stack, run_id):
        rows = {name: [taken(stack, ask, clients) for clients in CLIENTS] for name, ask in endpoints(run_id).items()}
    table = [f"| {name} | " + " | ".join(map(numbers, measured)) + " |" for name, measured in rows.items()]
    return [len(rows["GET /registry"][0]) / SECONDS] * repeat, ["", *HEAD, *table]


@contextmanager
def loaded_stack() -> Iterator[tuple[Stack, str]]:
    toy = running_toy("text")
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", STDIO_SERVERS="off") as stack:
            load(stack)
            connect(stack, toy)
            wait_for_vectors(stack, "send mail")
            run = call(stack, "POST", "/chain/execute", {"plan": PLAN, "inputs": {"text": "a b"}})
            last_event(stack, run["stream_url"])
            yield stack, run["run_id"]
    finally:
        toy.stop()


def taken(stack: Stack, ask: Callable[[int], Request], clients: int) -> list[float]:
    """Milliseconds of every request that so many clients made in SECONDS."""
    numbered, took = count(), list[float]()
    until = time.monotonic() + SECONDS
    working = [threading.Thread(target=work, args=(stack, ask, numbered, until, took)) for _ in range(clients)]
    for client in working:
        client.start()
    for client in working:
        client.join()
    return took


def work(stack: Stack, ask: Callable[[int], Request], numbered: "count[int]", until: float, took: list[float]) -> None:
    connection = HTTPConnection("127.0.0.1", stack.port, timeout=30)
    by_token = {"Authorization": f"Token {stack.token}", "Content-Type": "application/json"}
    by_session = {"Cookie": session_of(stack), "Accept": "text/html"}
    while time.monotonic() < until:
        method, path, data = ask(next(numbered))
        began = time.perf_counter()
        headers = by_session if data is SIGNED_IN else by_token
        connection.request(method, path, None if data in (None, SIGNED_IN) else json.dumps(data), headers)
        response = connection.getresponse()
        response.read()
        took.append((time.perf_counter() - began) * 1000)
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status}")
    connection.close()


@cache
def session_of(stack: Stack) -> str:
    """The cookie of the person whom the printed link signs in; the link holds once."""
    jar = CookieJar()
    with build_opener(HTTPCookieProcessor(jar)).open(stack.sign_in_link, timeout=30):  # nosec B310 # of this machine
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def numbers(took: list[float]) -> str:
    ordered = sorted(took)
    p95 = ordered[int(len(ordered) * 0.95)]
    return f"{len(ordered) / SECONDS:.0f} | {statistics.median(ordered):.1f} | {p95:.1f}"
