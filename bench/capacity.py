"""What a worker can do, what runs leave behind, and how long a back-up takes: the figures of docs/deployment.md."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from bench.chain import PLAN, QUIET, call, connect
from bench.crowd import check, events_of
from bench.site import Site, loaded_site
from bench.talk import Reply, talking
from mcpregistry import embedded
from tests.stack import Stack, running_stack
from tests.toys import running_toy

TURNS = 200
RUNS = 200
CLIENTS = 8
KEPT = ("runs", "tool_runs", "run_events")
COPY = "bench_restored"


def turns_a_second(repeat: int) -> list[float]:
    """Turns without a step that one worker of `chat` answers in a second, the scripted model answering at once."""
    with talking(RUNS_AT_ONCE=str(TURNS)) as (stack, model):
        plan: Reply = {"json": {"say": "", "steps": []}, "match": "json_schema", "again": True}
        model.script([plan, {"text": "It is so.", "again": True}])
        return [_rate(stack) for _ in range(repeat)]


def _rate(stack: Stack) -> float:
    def talk(number: int) -> None:
        sent = call(stack, "POST", "/chat", {"user_msg": f"Is it so, {number}?"})
        check([events_of(stack, sent["stream_url"])])

    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as people:
        list(people.map(talk, range(TURNS)))
    return TURNS / (time.monotonic() - began)


def left_by_runs(repeat: int) -> tuple[list[float], list[str]]:
    """Megabytes that a thousand runs of three steps take in Postgres, indexes included; told of RUNS of them."""
    toy = running_toy("text")
    try:
        with running_stack(OUTBOUND_ALLOW="127.0.0.0/8", RUNS_AT_ONCE=str(RUNS), **QUIET) as stack:
            connect(stack, toy)
            before, rows_before = _stored(stack)
            inputs = {"text": "three small words"}
            runs = [call(stack, "POST", "/chain/execute", {"plan": PLAN, "inputs": inputs}) for _ in range(RUNS)]
            check([events_of(stack, run["stream_url"]) for run in runs])
            after, rows_after = _stored(stack)
    finally:
        toy.stop()
    rows = (rows_after - rows_before) * 1000 / RUNS
    return [(after - before) / 1e6 * 1000 / RUNS] * repeat, ["", f"A thousand such runs are {rows:,.0f} rows."]


def _stored(stack: Stack) -> tuple[int, int]:
    """Bytes and rows of what is kept of runs."""
    with psycopg.connect(embedded.database_url(stack.data_dir)) as connection:
        size = sum(_asked(connection, "SELECT pg_total_relation_size({})", sql.Literal(name)) for name in KEPT)
        rows = sum(_asked(connection, "SELECT count(*) FROM {}", sql.Identifier(name)) for name in KEPT)
    return size, rows


def _asked(connection: "psycopg.Connection[tuple[int, ...]]", statement: str, name: sql.Composable) -> int:
    row = connection.execute(sql.SQL(statement).format(name)).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


def backed_up(repeat: int) -> tuple[list[float], list[str]]:
    """Seconds to back up the registry of all recorded servers; and what restoring into an empty database says."""
    site, _ = loaded_site()
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive.zip"
        for _ in range(repeat):
            archive.unlink(missing_ok=True)
            began = time.monotonic()
            site.manage("backup", str(archive))
            taken.append(time.monotonic() - began)
        told = _restored(site, archive)
        size = archive.stat().st_size / 1e6
    stored = int(site.sql("SELECT pg_database_size(current_database())")) / 1e6
    return taken, ["", f"Backed up: {stored:.0f} MB of Postgres as {size:.0f} MB; {told}."]


def _restored(site: Site, archive: Path) -> str:
    """The last line of `restore`, into a database beside the site's own."""
    site.sql(f"DROP DATABASE IF EXISTS {COPY}", f"CREATE DATABASE {COPY}")
    own = site.environment
    try:
        site.environment = own | {"DATABASE_URL": beside(embedded.database_url(site.data_dir))}
        return site.manage("restore", str(archive)).strip().splitlines()[-1]
    finally:
        site.environment = own
        site.sql(f"DROP DATABASE {COPY}")


def beside(url: str) -> str:
    """The address of the copy on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{COPY}"))
