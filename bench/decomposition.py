"""What is gained by searching tools for each part of a message instead of once for the whole of it.

    .venv/bin/python -m bench.decomposition --sets FOLDER [--model] [--limit N]

A set is two files, NAME.corpus.jsonl.gz with lines {"server", "tool", "description", "inputSchema"} and
NAME.queries.jsonl.gz with lines {"query", "relevant": [{"server", "tool", "group"?}]}; tools of a group stand for each
other. Queries that need one tool are left out. With --model the connected model decomposes (docs/models.md), else the
clauses of the message do. Databases are the script's own and go when it ends.
"""

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.own_database import lines, own_database

SHOWN = (5, 12)  # tools that a planner would see
HEAD = "| set | queries | tools | shown | whole query | by parts | all of a query's tools, whole | by parts |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.decomposition")
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--model", action="store_true", help="decompose with the connected model")
    parser.add_argument("--limit", type=int, help="so many queries of each set, chosen at random")
    options = parser.parse_args()
    with own_database():
        print(f"{HEAD}\n|{' --- |' * 8}", flush=True)
        for corpus in sorted(options.sets.glob("*.corpus.jsonl.gz")):
            for row in measured(corpus, options):
                print(row, flush=True)


def measured(corpus: Path, options: argparse.Namespace) -> Iterator[str]:
    name = corpus.name.split(".")[0]
    tools = [row for row in lines(corpus) if row.get("tool")]
    several = [row for row in lines(corpus.with_name(f"{name}.queries.jsonl.gz")) if len(groups(row)) > 1]
    if not tools or not several:
        return
    if options.limit and options.limit < len(several):
        several = random.Random(1).sample(several, options.limit)
    allowed = stored(name, tools)
    search, parts = searcher(allowed), splitter(options.model)
    pairs = [(groups(row), search([row["query"]]), search([row["query"], *parts(row["query"])])) for row in several]
    for shown in SHOWN:
        whole, by_parts = ([recall(wanted, found[way][:shown]) for wanted, *found in pairs] for way in (0, 1))
        shares = [mean(whole), mean(by_parts), mean([r == 1 for r in whole]), mean([r == 1 for r in by_parts])]
        yield (
            f"| {name} | {len(pairs)} | {len(tools)} | {shown} | "
            + " | ".join(f"{share:.3f}" for share in shares)
            + " |"
        )


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def groups(query: dict[str, Any]) -> list[set[tuple[str, str]]]:
    """What a query needs: of each set of tools one."""
    found: dict[str, set[tuple[str, str]]] = {}
    for tool in query["relevant"]:
        if tool.get("tool"):
            key = str(tool.get("group") or (tool["server"], tool["tool"]))
            found.setdefault(key, set()).add((tool["server"], tool["tool"]))
    return list(found.values())


def recall(wanted: Sequence[set[tuple[str, str]]], found: Sequence[tuple[str, str]]) -> float:
    return sum(bool(group & set(found)) for group in wanted) / len(wanted)


def stored(name: str, tools: Sequence[dict[str, Any]]) -> Any:
    """The tools as rows, with embeddings, as a queryset."""
    models, embeddings = import_module("registry.models"), import_module("registry.embeddings")
    servers = {row["server"]: None for row in tools}
    for number, server in enumerate(servers):
        servers[server] = models.Server.objects.create(
            slug=f"{name}-{number}",
            name=server,
            url=f"https://{name}{number}.example.com/mcp",
            transport="streamable_http",
        )
    for row in tools:
        schema = row.get("inputSchema") or {}
        text = embeddings.text_of(name=row["tool"], description=row.get("description") or "", input_schema=schema)
        models.Tool.objects.create(
            server=servers[row["server"]],
            name=row["tool"],
            description=row.get("description") or "",
            input_schema=schema,
            search_text=text,
            content_hash=embeddings.content_hash(text),
        )
    import_module("registry.search.indexing").embed_missing()
    return models.Tool.objects.filter(server__in=[server.pk for server in servers.values() if server])


def searcher(allowed: Any) -> Callable[[Sequence[str]], list[tuple[str, str]]]:
    planner_tools = import_module("chat.planner.tools")

    def search(queries: Sequence[str]) -> list[tuple[str, str]]:
        found = planner_tools.search_each(list(dict.fromkeys(queries)), allowed, limit=max(SHOWN))
        return [(tool.server.name, tool.name) for tool in found]

    return search


def splitter(with_model: bool) -> Callable[[str], list[str]]:
    """The parts of a message, as the planner makes them."""
    words, with_deeds = import_module("chat.offline.words"), import_module("chat.planner.tools").with_deeds
    if not with_model:
        return lambda message: [with_deeds(clause) for clause in words.clauses(message)[:5]]
    llm, prompts, wire = (import_module(f"chat.{name}") for name in ("llm", "planner.prompts", "planner.wire"))
    model = llm.chat_model()

    def ask(message: str) -> list[str]:
        reply, _ = model.ask(prompts.decomposing(message[:4_000]), schema=wire.QUESTIONS_SCHEMA)
        return [with_deeds(question) for question in wire.read_questions(reply)]

    return ask


if __name__ == "__main__":
    main()
