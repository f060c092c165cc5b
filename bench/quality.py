"""How good a search is: nDCG@10 and recall@10 on retrieval benchmarks, through the product's own search over its own
tables, beside shared words alone and meaning alone, which are the same search with all weight on one of them.

    .venv/bin/python -m bench.quality FOLDER

A set is NAME.corpus.jsonl.gz with lines {"server", "tool"?, "name"?, "title"?, "description", "inputSchema"?, "tools"?}
and NAME.queries.jsonl.gz with lines {"query", "relevant": [{"server", "tool"}]}; `tool` is null where it is a server.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.own_database import lines, own_database
from tests.toys import ROOT

SETS = ROOT.parent / "shared" / "data" / "retrieval"
DEPTH = 10
MAX_QUERIES = 500  # of a set, evenly chosen
WAYS = {"fused": None, "words": (1.0, 0.0), "meaning": (0.0, 1.0)}  # shares of BM25 and cosine
HEAD = (
    "| set | queries | texts | nDCG@10 fused | words alone | meaning alone "
    "| recall@10 fused | words alone | meaning alone |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def main() -> None:
    """One JSON line for each set: name, queries, texts and for each way [nDCG, recall]."""
    with own_database():
        for corpus in sorted(Path(sys.argv[1]).glob("*.corpus.jsonl.gz")):
            print(json.dumps(scored(corpus)), flush=True)


def scored(corpus: Path) -> dict[str, Any]:
    name = corpus.name.split(".")[0]
    texts = store(lines(corpus))
    queries = lines(corpus.with_name(f"{name}.queries.jsonl.gz"))
    queries = queries[:: math.ceil(len(queries) / MAX_QUERIES)]
    scores: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for query in queries:
        wanted = {(one["server"], one["tool"]) for one in query["relevant"]}
        for way in WAYS:
            found = search(query["query"], way, of_servers=query["relevant"][0]["tool"] is None)
            scores[way].append((ndcg(found, wanted), recall(found, wanted)))
    means = {way: [fmean(one[0] for one in found), fmean(one[1] for one in found)] for way, found in scores.items()}
    return {"name": name, "queries": len(queries), "texts": texts, **means}


def ndcg(found: Sequence[Any], wanted: set[Any]) -> float:
    gained = sum(1 / math.log2(place + 2) for place, one in enumerate(found[:DEPTH]) if one in wanted)
    return gained / sum(1 / math.log2(place + 2) for place in range(min(DEPTH, len(wanted))))


def recall(found: Sequence[Any], wanted: set[Any]) -> float:
    return len(wanted & set(found[:DEPTH])) / min(DEPTH, len(wanted))


def search(q: str, way: str, *, of_servers: bool) -> list[tuple[str, str | None]]:
    """What the product answers with, by (server, tool)."""
    product: Any = import_module("registry.search")
    scoring: Any = import_module("registry.search.scoring")
    models, auth = import_module("registry.models"), import_module("django.contrib.auth.models")
    usual = scoring.LEXICAL_SHARE, scoring.MEANING_SHARE
    scoring.LEXICAL_SHARE, scoring.MEANING_SHARE = WAYS[way] or usual
    try:
        if of_servers:
            servers = product.search_servers(q, user=auth.AnonymousUser(), limit=DEPTH)
            return [(hit.server.external_id, None) for hit in servers.hits]
        tools = product.search_tools(q, tools=models.Tool.objects.present(), limit=DEPTH)
        return [(hit.tool.server.external_id, hit.tool.name) for hit in tools.hits]
    finally:
        scoring.LEXICAL_SHARE, scoring.MEANING_SHARE = usual


def store(corpus: Sequence[dict[str, Any]]) -> int:
    """The corpus as servers and tools instead of the last one. How many texts are searched?"""
    models, indexing = import_module("registry.models"), import_module("registry.search.indexing")
    models.Server.objects.all().delete()
    servers: dict[str, Any] = {}
    for row in corpus:
        about = row if row.get("tool") is None else {}
        if row["server"] not in servers:
            servers[row["server"]] = server_of(row["server"], about, len(servers))
    tools = {(row["server"], tool.name): tool for row in corpus for tool in tools_of(row, servers[row["server"]])}
    models.Server.objects.bulk_create(servers.values(), batch_size=500)
    models.Tool.objects.bulk_create(tools.values(), batch_size=500)
    indexing.embed_missing()
    import_module("registry.embeddings").load_in_background().join()
    return len(servers) + len(tools)


def server_of(key: str, row: dict[str, Any], number: int) -> Any:
    server = import_module("registry.models").Server(
        slug=f"s{number}", name=row.get("name") or key, title=row.get("title") or "", source="benchmark",
        external_id=key, description=row.get("description") or "", tags=row.get("tags") or [], visibility="public",
    )  # fmt: skip
    import_module("registry.search.indexing").describe(server)
    return server


def tools_of(row: dict[str, Any], server: Any) -> Iterator[Any]:
    """The row's own tool, or those of the server it is about."""
    models, embeddings = import_module("registry.models"), import_module("registry.embeddings")
    for tool in row.get("tools") or [] if row.get("tool") is None else [row | {"title": ""}]:
        name, about = tool.get("tool") or tool["name"], tool.get("description") or ""
        shown = row.get("name") or name if row.get("tool") else name  # the set numbers tools that share a name
        schema = tool.get("inputSchema") or tool.get("input_schema") or {}
        text = embeddings.text_of(name=shown, title=tool.get("title") or "", description=about, input_schema=schema)
        yield models.Tool(
            server=server, name=name, description=about, input_schema=schema, search_text=text,
            content_hash=embeddings.content_hash(text),
        )  # fmt: skip


def quality(repeat: int) -> tuple[list[float], list[str]]:
    """nDCG@10 of each set, and the table beside it."""
    if not SETS.exists():
        raise FileNotFoundError(f"There is no {SETS}.")
    done = subprocess.run(
        [sys.executable, "-m", "bench.quality", str(SETS)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    sets = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    mean: dict[str, Any] = {"name": "mean", "queries": "", "texts": ""}
    mean |= {way: [fmean(one[way][number] for one in sets) for number in (0, 1)] for way in WAYS}
    return [one["fused"][0] for one in sets], ["", HEAD, *(row(one) for one in [*sets, mean])]


def row(one: dict[str, Any]) -> str:
    numbers = [f"{one[way][number]:.3f}" for number in (0, 1) for way in WAYS]
    return f"| {one['name']} | {one['queries']} | {one['texts']} | {' | '.join(numbers)} |"


if __name__ == "__main__":
    main()
