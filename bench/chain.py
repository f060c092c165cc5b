"""How long a small plan takes from the request to its last event."""

import asyncio
import time
import urllib.request
from datetime import datetime
from typing import Any

from mcp import Client

from tests.stack import Stack, running_stack
from tests.toys import Toy, running_toy

STEPS = [
    {"id": "s1", "server": "toy", "tool": "upper", "arguments": {"text": {"$input": "/text"}}},
    {"id": "s2", "server": "toy", "tool": "reverse", "arguments": {"text": {"$ref": "s1#/text"}}},
    {"id": "s3", "server": "toy", "tool": "count_words", "arguments": {"text": {"$ref": "s2#/text"}}},
]
# Nothing of our own start in the background: no demo server, no embedding model.
QUIET = {"STDIO_SERVERS": "off", "EMBEDDING_MODEL": "off"}
INPUTS = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
PLAN = {"version": 1, "inputs": INPUTS, "steps": STEPS, "outputs": {"words": {"$ref": "s3#/json/words"}}}


def chain_to_finished(repeat: int) -> list[float]:
    toy = running_toy("text")
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", **QUIET) as stack:
            connect(stack, toy)
            run_once(stack)
            return [run_once(stack) for _ in range(repeat)]
    finally:
        toy.stop()


def connect(stack: Stack, toy: Toy) -> None:
    call(stack, "POST", "/registry", {"name": "toy", "url": toy.url})
    found = call(stack, "POST", "/registry/toy/healthcheck")
    if found["health"] != "ok":
        raise RuntimeError(f"The toy server is not reachable: {found}")
    call(stack, "PUT", "/registry/toy/connection", {"tools": "all", "approval": {"default": "auto"}})


def call(stack: Stack, method: str, path: str, data: Any = None) -> dict[str, Any]:
    status, answer = stack.call(method, path, data, stack.token)
    if status >= 400:
        raise RuntimeError(f"{method} {path}: {status} {answer}")
    return answer


def run_once(stack: Stack) -> float:
    """Milliseconds."""
    started_at = time.perf_counter()
    run = call(stack, "POST", "/chain/execute", {"plan": PLAN, "inputs": {"text": "three small words"}})
    last = last_event(stack, run["stream_url"])
    if last != "RUN_FINISHED":
        raise RuntimeError(f"The run ended with {last}")
    return (time.perf_counter() - started_at) * 1000


def last_event(stack: Stack, path: str) -> str:
    url = path if path.startswith("http") else stack.base + path
    request = urllib.request.Request(url, headers={"Authorization": f"Token {stack.token}"})
    kind = ""
    with urllib.request.urlopen(request, timeout=60) as stream:  # nosec B310 # an address of this machine
        for line in stream:
            if line.startswith(b"event:"):
                kind = line.partition(b":")[2].strip().decode()
    return kind


LONG = [{"id": "s0", "server": "toy", "tool": "upper", "arguments": {"text": "a"}}] + [
    {"id": f"s{n}", "server": "toy", "tool": "upper", "arguments": {"text": {"$ref": f"s{n - 1}#/text"}}}
    for n in range(1, 20)
]


def overhead_per_step(repeat: int) -> list[float]:
    """What a step of a 20-step chain costs beyond the same call made directly in one open session; milliseconds."""
    toy = running_toy("text")
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", **QUIET) as stack:
            connect(stack, toy)
            per_step(stack)
            return [per_step(stack) - asyncio.run(per_direct_call(toy)) for _ in range(repeat)]
    finally:
        toy.stop()


def per_step(stack: Stack) -> float:
    started = call(stack, "POST", "/chain/execute", {"plan": {"version": 1, "steps": LONG}})
    last_event(stack, started["stream_url"])
    steps = call(stack, "GET", f"/chain/runs/{started['run_id']}")["steps"]
    took = datetime.fromisoformat(steps[-1]["finished_at"]) - datetime.fromisoformat(steps[1]["started_at"])
    return took.total_seconds() * 1000 / (len(steps) - 1)


async def per_direct_call(toy: Toy) -> float:
    async with Client(toy.url) as client:
        await client.call_tool("upper", {"text": "a"})
        started_at = time.perf_counter()
        for _ in LONG:
            await client.call_tool("upper", {"text": "a"})
        return (time.perf_counter() - started_at) * 1000 / len(LONG)


def request_to_first_call(repeat: int) -> list[float]:
    """From sending the request to the first call's arrival at the tool's server, milliseconds."""
    toy = running_toy("clock")
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", **QUIET) as stack:
            connect(stack, toy)
            first_call(stack)
            return [first_call(stack) for _ in range(repeat)]
    finally:
        toy.stop()


def first_call(stack: Stack) -> float:
    plan = {"version": 1, "steps": [{"id": "s1", "server": "toy", "tool": "now"}]}
    asked_at = time.time()
    started = call(stack, "POST", "/chain/execute", {"plan": plan})
    last_event(stack, started["stream_url"])
    run = call(stack, "GET", f"/chain/runs/{started['run_id']}")
    return (float(run["steps"][0]["result"]["text"]) - asked_at) * 1000
