"""A conversation with the scripted model: what we add to a turn, and how soon a reader sees something of it."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.chain import call, connect
from bench.crowd import Memory, check, events_of
from bench.measure import Figures
from bench.search import wait_for_vectors
from tests.stack import Stack, running_stack
from tests.toys import Toy, running_toy

CONVERSATIONS, TOKENS, TOKENS_A_SECOND = 50, 500, 50
PLAN = {"json": {"say": "", "steps": [{"id": "s1", "server": "toy", "tool": "upper", "arguments": {"text": "a"}}]}}
Reply = dict[str, Any]


@contextmanager
def talking(**environment: str) -> Iterator[tuple[Stack, Toy]]:
    model, toy = running_toy("llm"), running_toy("text")
    provider = {"LLM_PROVIDER": "openai", "OPENAI_API_KEY": "scripted", "OPENAI_BASE_URL": model.url}
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", STDIO_SERVERS="off", **provider, **environment) as stack:
            connect(stack, toy)
            wait_for_vectors(stack, "upper case")  # until the models are loaded, which takes both cores for a while
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


def fifty_conversations(repeat: int) -> tuple[list[float], list[str]]:
    """Tokens a second in each answer, where 50 conversations begin at once; fails where a word is lost or doubled."""
    with talking(WORKERS="2", RUNS_AT_ONCE=str(CONVERSATIONS)) as (stack, model):
        crowds = [crowd(stack, model) for _ in range(repeat)]
    return [rate for rates, _ in crowds for rate in rates], [line for _, line in crowds]


@dataclass(slots=True)
class Talker:
    """One conversation, and what its reader saw of it."""

    stack: Stack
    number: int
    events: list[dict[str, Any]] = field(default_factory=list)
    to_first_token_s: float = 0.0

    def talk(self) -> None:
        began = time.perf_counter()
        sent = call(self.stack, "POST", "/chat", {"user_msg": f"Tell me {self.number}"})
        for event in streamed(self.stack, sent["stream_url"]):
            if event["type"] == "TEXT_MESSAGE_CONTENT" and not self.to_first_token_s:
                self.to_first_token_s = time.perf_counter() - began
            self.events.append(event)

    def pieces(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == "TEXT_MESSAGE_CONTENT"]

    def span(self) -> tuple[datetime, datetime]:
        times = [datetime.fromisoformat(piece["at"]) for piece in self.pieces()]
        return times[0], times[-1]


def crowd(stack: Stack, model: Toy) -> tuple[list[float], str]:
    words = "".join(f"w{number:03d} " for number in range(TOKENS))
    answer = {"text": words, "chunk_characters": 5, "chunk_delay_s": 1 / TOKENS_A_SECOND}
    no_steps: Reply = {"json": {"say": "", "steps": []}, "match": "json_schema"}
    model.script([no_steps] * CONVERSATIONS + [answer] * CONVERSATIONS)
    workers = Memory(stack, "chat")
    before_s, began = workers.cpu_s(), time.monotonic()
    talkers = [Talker(stack, number) for number in range(CONVERSATIONS)]
    threads = [threading.Thread(target=talker.talk) for talker in talkers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s, used_s = time.monotonic() - began, workers.cpu_s() - before_s
    check([talker.events for talker in talkers])
    for talker in talkers:
        if "".join(piece["delta"] for piece in talker.pieces()) != words:
            raise RuntimeError("An answer lost or doubled words on its way.")
    told = (
        f"Talk: at most {most_at_once(talkers)} of {CONVERSATIONS} streamed at once; {first_tokens(talkers)}; the chat "
        f"workers used {used_s:.1f} s of processor time in {took_s:.1f} s and held {workers.peak_mb():.0f} MB."
    )
    return [tokens_a_second(talker) for talker in talkers], told


def most_at_once(talkers: Sequence[Talker]) -> int:
    spans = [talker.span() for talker in talkers]
    return max(sum(start <= moment <= end for start, end in spans) for moment, _ in spans)


def first_tokens(talkers: Sequence[Talker]) -> str:
    waited = Figures.of([talker.to_first_token_s for talker in talkers])
    return f"POST to first token median {waited.median:.2f} s, p95 {waited.p95:.2f} s"


def tokens_a_second(talker: Talker) -> float:
    """The last piece may hold many tokens that are there at its beginning: counted is what came after the first."""
    first, last = talker.span()
    after_first = TOKENS - len(talker.pieces()[0]["delta"].split())
    return after_first / (last - first).total_seconds()
