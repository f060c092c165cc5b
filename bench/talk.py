"""A conversation with the scripted model: what we add to a turn, and how soon a reader sees something of it."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from bench.chain import call, connect
from bench.crowd import check, events_of
from tests.stack import Stack, running_stack
from tests.toys import Toy, running_toy

CONVERSATIONS, TOKENS, TOKENS_A_SECOND = 50, 100, 50
PLAN = {"json": {"say": "", "steps": [{"id": "s1", "server": "toy", "tool": "upper", "arguments": {"text": "a"}}]}}
Reply = dict[str, Any]


@contextmanager
def talking(**environment: str) -> Iterator[tuple[Stack, Toy]]:
    model, toy = running_toy("llm"), running_toy("text")
    provider = {"LLM_PROVIDER": "openai", "OPENAI_API_KEY": "scripted", "OPENAI_BASE_URL": model.url}
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", **provider, **environment) as stack:
            connect(stack, toy)
            turn(stack, model)
            yield stack, model
    finally:
        model.stop()
        toy.stop()


def repeated(repeat: int, measured: Callable[[Stack, Toy], float]) -> list[float]:
    with talking() as (stack, model):
        return [measured(stack, model) for _ in range(repeat)]


def turn_overhead(repeat: int) -> list[float]:
    """Milliseconds of a turn of one step beyond the model's and the tool's own."""
    return repeated(repeat, overhead)


def overhead(stack: Stack, model: Toy) -> float:
    began = time.perf_counter()
    events = turn(stack, model)
    took_ms = (time.perf_counter() - began) * 1000
    steps = sum(event["duration_ms"] for event in events if event["type"] == "STEP_FINISHED")
    return took_ms - steps - model_ms(model, len(model.requests()))


def turn(stack: Stack, model: Toy) -> list[dict[str, Any]]:
    model.script([PLAN, {"text": "It is A."}])
    sent = call(stack, "POST", "/chat", {"user_msg": "Capitals of a"})
    events = events_of(stack, sent["stream_url"])
    check([events])
    return events


def model_ms(model: Toy, requests: int) -> float:
    """What so many requests take the model, asked without us."""
    model.script([PLAN] * requests)
    began = time.perf_counter()
    for _ in range(requests):
        model.post("/v1/chat/completions", {"messages": []})
    return (time.perf_counter() - began) * 1000


def first_event(repeat: int) -> list[float]:
    """From sending POST /chat to the first event on its stream, milliseconds."""
    return repeated(repeat, to_first_event)


def to_first_event(stack: Stack, model: Toy) -> float:
    model.script([PLAN, {"text": "It is A."}])
    began = time.perf_counter()
    sent = call(stack, "POST", "/chat", {"user_msg": "Capitals of a"})
    took = 0.0
    for _ in streamed(stack, sent["stream_url"]):
        took = took or (time.perf_counter() - began) * 1000
    return took


def first_token(repeat: int) -> list[float]:
    """From the moment the model sends the first piece of its answer to its arrival at a reader, milliseconds."""
    return repeated(repeat, to_first_token)


def to_first_token(stack: Stack, model: Toy) -> float:
    model.script([PLAN, {"text": "x" * 80, "stamped": True, "chunk_delay_s": 0.02}])
    sent = call(stack, "POST", "/chat", {"user_msg": "Capitals of a"})
    took = 0.0
    for event in streamed(stack, sent["stream_url"]):
        if event["type"] == "TEXT_MESSAGE_CONTENT" and not took:
            took = (time.time() - float(event["delta"].split()[0])) * 1000
    return took


def streamed(stack: Stack, path: str) -> Iterator[dict[str, Any]]:
    headers = {"Authorization": f"Token {stack.token}", "Last-Event-ID": "0"}
    with urllib.request.urlopen(urllib.request.Request(stack.base + path, headers=headers), timeout=120) as stream:  # nosec B310 # an address of this machine
        for line in stream:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


def fifty_conversations(repeat: int) -> list[float]:
    """Seconds each answer took to stream, where 50 conversations begin at once; fails where a word is lost."""
    with talking(WORKERS="2") as (stack, model):
        return [taken for _ in range(repeat) for taken in crowd(stack, model)]


def crowd(stack: Stack, model: Toy) -> list[float]:
    words = "".join(f"w{number:03d} " for number in range(TOKENS))
    answer = {"text": words, "chunk_characters": 5, "chunk_delay_s": 1 / TOKENS_A_SECOND}
    no_steps: Reply = {"json": {"say": "", "steps": []}, "match": "json_schema"}
    model.script([no_steps] * CONVERSATIONS + [answer] * CONVERSATIONS)
    sent = [call(stack, "POST", "/chat", {"user_msg": f"Tell me {n}"}) for n in range(CONVERSATIONS)]
    heard: list[list[dict[str, Any]]] = []
    readers = [
        threading.Thread(target=lambda url=run["stream_url"]: heard.append(events_of(stack, url))) for run in sent
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    check(heard)
    return [streaming_s(events, words) for events in heard]


def streaming_s(events: list[dict[str, Any]], words: str) -> float:
    pieces = [event for event in events if event["type"] == "TEXT_MESSAGE_CONTENT"]
    if "".join(piece["delta"] for piece in pieces) != words:
        raise RuntimeError("An answer lost words on its way.")
    times = [datetime.fromisoformat(piece["at"]) for piece in pieces]
    return (times[-1] - times[0]).total_seconds()
