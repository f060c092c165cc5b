"""What it costs to load, search and list the recorded catalogues, over HTTP."""

import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from urllib.parse import quote

from bench.own_database import lines
from bench.quality import SETS
from bench.site import Client, Site, loaded_site
from tests.toys import ROOT

CLIENTS = 8
SECONDS = 10
WARMING = 40
COPIES = 9  # of each document, with noise in their vectors
NOISE = 0.05  # in each of 384 numbers, at most half of it: the copy's cosine with its original is about 0.96
# Both indexes are made again afterwards: for as many rows that is faster than adding to them.
BIG = "SET maintenance_work_mem = '1GB'"
DROP = "DROP INDEX IF EXISTS search_document_words, search_document_embedding"
COPY = f"""
INSERT INTO search_documents (server_id, tool_id, is_open, words, bm25, embedding)
SELECT server_id, -(copy * 10000000 + id), is_open, words, bm25, l2_normalize(embedding::vector + (
    SELECT array_agg((random() - 0.5) * {NOISE} + 0 * documents.id + 0 * place)::vector(384)
    FROM generate_series(1, 384) AS place
))::halfvec(384) FROM search_documents AS documents, generate_series(1, {COPIES}) AS copy
WHERE tool_id > 0 AND embedding IS NOT NULL
"""  # nosec B608 # put together from constants of this file
INDEXES = (
    "CREATE INDEX search_document_words ON search_documents USING gin (words)",
    "CREATE INDEX search_document_embedding ON search_documents USING hnsw (embedding halfvec_cosine_ops) "
    "WITH (m = 16, ef_construction = 64)",
    "VACUUM ANALYZE search_documents",
    "REFRESH MATERIALIZED VIEW search_terms",
)


def queries() -> list[str]:
    """All of the benchmark sets, shuffled in one way."""
    found = [row["query"] for path in sorted(SETS.glob("*.queries.jsonl.gz")) for row in lines(path)]
    random.Random(5).shuffle(found)
    return list(dict.fromkeys(found))


def loading(repeat: int) -> tuple[list[float], list[str]]:
    """Into an empty registry, and once more."""
    site, first = loaded_site()
    if first is None:
        raise RuntimeError("BENCH_SITE was loaded before: name an empty folder, or none.")
    again = site.load()
    said = [
        "",
        f"Loading: {first.counts}, {first.without} texts left without a vector, peak {first.megabytes:.0f} MB; "
        f"again: {again.counts} in {again.seconds:.1f} s.",
    ]
    return [first.seconds], said


def one_client(repeat: int) -> tuple[list[float], list[str]]:
    """Different queries one after another, and the floor under them, in turns: a machine is not equally fast for
    minutes. A query's floor is taken far from its search, so that neither finds what the other left in memory."""
    site, _ = loaded_site()
    asked, warming = queries()[:repeat], queries()[-WARMING:]
    client, taken, floors = site.client(), [], []
    for query in warming:
        client.search(query)
    with floor_of(site, asked) as floor:
        for number, query in enumerate(asked):
            taken.append(timed(client.search, query))
            floors.append(floor((number + repeat // 2) % repeat))
    least = statistics.median(floors)
    ratio = statistics.median(taken) / least
    return taken, [
        "",
        f"Floor: {least:.1f} ms median (vector, nearest texts, texts that share words); ratio {ratio:.2f}.",
    ]


@contextmanager
def floor_of(site: Site, asked: list[str]) -> Iterator[Callable[[int], float]]:
    """Milliseconds of the floor under the query of this number."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.floor"],
        cwd=ROOT, env=site.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout

        def told(line: str) -> str:
            print(line, file=process.stdin, flush=True)
            return process.stdout.readline() if process.stdout else ""

        if told(json.dumps([" ".join(query.split()) for query in asked])).strip() != "ready":
            raise RuntimeError("The floor could not be measured.")
        yield lambda number: float(told(str(number)))
        process.stdin.close()


def timed(act: Callable[[str], object], argument: str) -> float:
    """Milliseconds."""
    started_at = time.perf_counter()
    act(argument)
    return (time.perf_counter() - started_at) * 1000


def side_by_side(repeat: int) -> list[float]:
    """Searches a second of eight clients, different queries."""
    site, _ = loaded_site()
    rounds = []
    asked = cycle(queries()[600:])
    for _ in range(repeat):
        rounds.append(throughput(site, asked))
    return rounds


def throughput(site: Site, asked: Iterator[str]) -> float:
    clients = [site.client() for _ in range(CLIENTS)]
    lock, ends_at, done = threading.Lock(), time.monotonic() + SECONDS, []

    def search_on(client: Client) -> None:
        while time.monotonic() < ends_at:
            with lock:
                query = next(asked)
            client.search(query)
            done.append(query)

    threads = [threading.Thread(target=search_on, args=[client]) for client in clients]
    started_at = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done) / (time.monotonic() - started_at)


def listing(repeat: int) -> list[float]:
    """GET /registry?q= with the beginnings of queries, as they are typed."""
    site, _ = loaded_site()
    client, chance = site.client(), random.Random(3)
    typed = [query[: chance.randint(1, 12)] for query in queries()[: repeat + WARMING]]
    for beginning in typed[:WARMING]:
        client.read(f"/registry?q={quote(beginning)}")
    return [timed(client.read, f"/registry?q={quote(beginning)}") for beginning in typed[WARMING:]]


def ten_times(repeat: int) -> tuple[list[float], list[str]]:
    """The same searches over ten times the tools; the copies go afterwards."""
    site, _ = loaded_site()
    try:
        site.sql(BIG, DROP, COPY, *INDEXES)
        client = site.client()  # one that waited for so long would be closed
        for query in queries()[-WARMING:]:
            client.search(query)
        taken = [timed(client.search, query) for query in queries()[1000 : 1000 + repeat]]
        documents = site.sql("SELECT count(*) FROM search_documents")
    finally:
        site.sql(BIG, DROP, "DELETE FROM search_documents WHERE tool_id < 0", *INDEXES)
    return taken, ["", f"Texts searched then: {documents}."]
