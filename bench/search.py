"""How long a search takes over a catalogue of invented servers."""

import json
import random
import time
from pathlib import Path
from urllib.parse import quote

from bench.chain import call
from tests.stack import Stack, running_stack

SERVERS = 2_000
EMBEDDED_TIMEOUT_S = 300
VERBS = "send read list create delete search convert translate summarise schedule upload monitor render sign".split()
NOUNS = "mail invoice ticket calendar picture database contract weather map payment document branch song recipe".split()
PLACES = ["for teams", "in the cloud", "from spreadsheets", "over time", "by customer", "without a key"]


def search_latency(repeat: int) -> list[float]:
    with running_stack() as stack:
        load(stack)
        queries = [f"{verb} {noun}" for verb in VERBS for noun in NOUNS]
        random.Random(1).shuffle(queries)
        wait_for_vectors(stack, queries[0])
        return [search_once(stack, queries[number % len(queries)]) for number in range(repeat)]


def load(stack: Stack) -> None:
    path = stack.data_dir / "invented.jsonl"
    write_catalogue(path)
    stack.manage("import_catalogue", "file", "--path", str(path))
    path.unlink()


def write_catalogue(path: Path) -> None:
    """Records as the official registry gives them."""
    chance = random.Random(7)
    with path.open("w") as file:
        for number in range(SERVERS):
            verb, noun, place = chance.choice(VERBS), chance.choice(NOUNS), chance.choice(PLACES)
            name = f"com.example.invented/{noun}-{verb}-{number}"
            server = {"name": name, "description": f"Lets a model {verb} a {noun} {place}.", "version": "1.0.0"}
            server["remotes"] = [{"type": "streamable-http", "url": f"https://{noun}{number}.example.com/mcp"}]
            file.write(json.dumps({"server": server, "_meta": {}}) + "\n")


def wait_for_vectors(stack: Stack, query: str) -> None:
    deadline = time.monotonic() + EMBEDDED_TIMEOUT_S
    while call(stack, "GET", f"/registry/search?q={quote(query)}")["mode"] != "hybrid":
        if time.monotonic() > deadline:
            raise RuntimeError("Search never became hybrid.")
        time.sleep(0.5)


def search_once(stack: Stack, query: str) -> float:
    """Milliseconds."""
    started_at = time.perf_counter()
    found = call(stack, "GET", f"/registry/search?q={quote(query)}&limit=10")
    taken = (time.perf_counter() - started_at) * 1000
    if not found["results"] or found["mode"] != "hybrid":
        raise RuntimeError(f"The search for {query!r} was not what is measured: {found['fallback_reason']}")
    return taken
