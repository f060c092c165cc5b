"""How long two workers take to test 1,000 servers, some of them dead or silent, and how the API answers meanwhile."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.chain import call
from tests.stack import Stack, running_stack
from tests.toys import running_toy

SERVERS = 1_000
DONE_TIMEOUT_S = 600
DEAD = "http://127.0.0.1:9/mcp"
PAUSE_S = 0.1
ADD = """
from django.utils import timezone
from registry.models import Server
urls = {urls!r}
Server.objects.bulk_create(
    Server(slug=f"s{{n}}", name=f"s{{n}}", url=urls[n % len(urls)], transport="streamable_http", visibility="public",
           tags=["measured"], next_probe_at=timezone.now())
    for n in range({count})
)
"""


def thousand_tested(repeat: int) -> list[float]:
    """Seconds from their being due until the last of them was tested."""
    return [_tested()[0] for _ in range(repeat)]


def list_while_testing(repeat: int) -> list[float]:
    """Milliseconds of the first `repeat` answers of `GET /registry` in that time."""
    return _tested()[1][:repeat]


def _tested() -> tuple[float, list[float]]:
    with toy_addresses() as urls, running_stack(WORKERS="2") as stack:
        stack.manage("shell", "-c", ADD.format(urls=urls, count=SERVERS))
        began, answers = time.monotonic(), []
        while untested(stack):
            answers.append(list_once(stack))
            time.sleep(PAUSE_S)
            if time.monotonic() - began > DONE_TIMEOUT_S:
                raise RuntimeError("Not all servers were tested.")
        return time.monotonic() - began, answers


@contextmanager
def toy_addresses() -> Iterator[list[str]]:
    """Of ten servers seven work, one is no MCP server, one says nothing, one is not there."""
    with ExitStack() as stack:
        toys = [running_toy(name) for name in ("text", "changing", "notmcp", "silent")]
        for toy in toys:
            stack.callback(toy.stop)
        text, changing, notmcp, silent = (toy.url for toy in toys)
        yield [*[text] * 4, *[changing] * 3, notmcp, silent, DEAD]


def untested(stack: Stack) -> int:
    return call(stack, "GET", "/registry?tag=measured&health=untested&limit=1")["count"]


def list_once(stack: Stack) -> float:
    started_at = time.perf_counter()
    call(stack, "GET", "/registry?limit=50")
    return (time.perf_counter() - started_at) * 1000
