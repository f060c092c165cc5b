"""Keeping the index true: texts of servers, vectors of what has none yet, how rare each word is."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from django.db import DatabaseError, connection
from django.db.models import Model, QuerySet

from registry.embeddings import content_hash, embed, ensure_loaded, give_way, is_off, server_text_of
from registry.models import EMBEDDING_DIMENSIONS, Server, Tool
from registry.search import vector_index

logger = logging.getLogger(__name__)

BATCH_SIZE = 2_048  # the more, the more of them are of one length, and computed together
WRITTEN = 256  # of them at once: so long does a row wait for the others
LOOK_S = 0.5
MAX_WAITS = 20  # for rows that others are changing
BESIDE_NICE = 5
VECTOR_TEXT = f"[{','.join(['%.9g'] * EMBEDDING_DIMENSIONS)}]"  # as exactly as Postgres keeps it
WRITE = """WITH new AS (
    SELECT id::{key}, digest, vector::vector FROM unnest(%s::text[], %s::text[], %s::text[]) AS new (id, digest, vector)
), free AS (
    SELECT rows.id, new.vector FROM {table} AS rows JOIN new ON rows.id = new.id AND rows.content_hash = new.digest
    FOR NO KEY UPDATE OF rows SKIP LOCKED
)
UPDATE {table} AS rows SET embedding = free.vector FROM free WHERE rows.id = free.id RETURNING rows.content_hash"""
MANY = 1_000  # new vectors: what their rows were before is cleared away at once


@dataclass(slots=True)
class Embedded:
    """How many rows got a vector: computed, or copied from a row with the same text."""

    computed: int = 0
    copied: int = 0


def describe(server: Server) -> bool:
    """Set what a server is searched by from its columns, unsaved. True when it changed: then its vector is gone."""
    text = server_text_of(name=server.name, title=server.title, description=server.description, tags=server.tags)
    digest = content_hash(text)
    if digest == server.content_hash:
        return False
    server.search_text, server.content_hash, server.embedding = text, digest, None
    return True


def embed_missing(*, words_are_counted: bool = False) -> Embedded:
    """A vector for every tool and server that has none, batch by batch: it may stop anywhere and be called again.
    `words_are_counted`: by whoever wrote the texts."""
    done = Embedded()
    _describe_servers()
    if is_off():
        return done
    for rows in _incomplete():
        for _ in range(MAX_WAITS):
            if not (left := _embed(rows, done)):
                break
            time.sleep(LOOK_S)
        else:
            logger.warning("%s rows stay without a vector: somebody keeps changing them", left)
    if done.computed + done.copied >= MANY:
        tidy_index()
    vector_index.make()
    if done.computed or done.copied:
        if not words_are_counted:
            refresh_terms()
        logger.info("Embedded %s rows, copied %s vectors", done.computed, done.copied)
    return done


def is_lacking() -> bool:
    """As whoever was killed while embedding leaves it: texts without a vector, or vectors without their index."""
    return not is_off() and (_has_incomplete() or vector_index.is_lacking())


@contextmanager
def embedding_beside() -> Iterator[None]:
    """While a catalogue is read, what is stored already gets its vectors in a thread beside: reading keeps one core
    busy at most. Full batches alone; whatever is missing afterwards is for `embed_missing`."""
    if is_off():
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_embed_until, args=[is_over], name="embedding-beside", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _embed_until(is_over: threading.Event) -> None:
    give_way(BESIDE_NICE)
    try:
        while not is_over.wait(LOOK_S):
            if _has_incomplete():
                ensure_loaded()  # while the first batch is still coming together
            for rows in _incomplete():
                _embed(rows, Embedded(), until=is_over)
    except DatabaseError:
        logger.warning("Nothing more is embedded while the catalogue is read", exc_info=True)
    finally:
        connection.close()


def _incomplete() -> Sequence[QuerySet[Any]]:
    return Tool.objects.without_embedding(), Server.objects.filter(embedding=None)


def _has_incomplete() -> bool:
    return any(rows.exists() for rows in _incomplete())


def _embed(rows: QuerySet[Any], done: Embedded, until: threading.Event | None = None) -> int:
    """Each of these rows once, the vectors of one batch being computed while those of the one before are written: both
    take long. With `until`, full batches alone, as long as it is not set. How many were left without?"""
    left = 0
    with ThreadPoolExecutor(1, thread_name_prefix="vectors") as beside:
        ahead: _Batch | None = None
        for read in _batches(rows, until):
            batch = _Batch.begin(read, beside)
            if len(read) == BATCH_SIZE:
                vector_index.step_aside(coming=BATCH_SIZE)
            left += ahead.write(done) if ahead else 0
            ahead = batch
        return left + (ahead.write(done) if ahead else 0)


def _batches(rows: QuerySet[Any], until: threading.Event | None) -> Iterator[list[Any]]:
    slim = rows.defer(None).only("pk", "search_text", "content_hash").order_by("pk")
    batch = list(slim[:BATCH_SIZE])
    while batch and (until is None or (len(batch) == BATCH_SIZE and not until.is_set())):
        yield batch
        batch = list(slim.filter(pk__gt=batch[-1].pk)[:BATCH_SIZE])


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: Sequence[Any]
    known: Mapping[str, Any]  # vectors by content hash
    new: Mapping[str, str]  # texts
    computed: "Future[list[list[float]]]"

    @classmethod
    def begin(cls, rows: Sequence[Any], beside: ThreadPoolExecutor) -> Self:
        known = _known_vectors(type(rows[0]), {row.content_hash for row in rows})
        new = {row.content_hash: row.search_text for row in rows if row.content_hash not in known}
        return cls(rows, known, new, beside.submit(embed, list(new.values())))

    def write(self, done: Embedded) -> int:
        """How many of the rows were left without a vector?"""
        vectors = dict(self.known) | dict(zip(self.new, self.computed.result(), strict=True))
        chunks = [self.rows[start : start + WRITTEN] for start in range(0, len(self.rows), WRITTEN)]
        written = [digest for chunk in chunks for digest in _write(chunk, vectors)]
        copied = sum(digest in self.known for digest in written)
        done.copied += copied
        done.computed += len(written) - copied
        return len(self.rows) - len(written)


def _write(rows: Sequence[Any], vectors: Mapping[str, Sequence[float]]) -> list[str]:
    """The content hashes of those whose text is still the same, and that nobody is changing right now: who waits for
    nobody is in nobody's way for ever, in whatever order others lock."""
    meta = type(rows[0])._meta
    told = [(str(row.pk), row.content_hash, VECTOR_TEXT % tuple(vectors[row.content_hash])) for row in rows]
    with connection.cursor() as cursor:
        columns = [list(column) for column in zip(*told, strict=True)]
        cursor.execute(WRITE.format(table=meta.db_table, key=meta.pk.db_type(connection)), columns)
        return [digest for (digest,) in cursor.fetchall()]


def _describe_servers() -> None:
    """Servers that were stored without their search text, as the admin or a script may do."""
    servers = list(Server.objects.filter(content_hash=""))
    for server in servers:
        describe(server)
    Server.objects.bulk_update(servers, ["search_text", "content_hash"], batch_size=BATCH_SIZE)


def _known_vectors(model: type[Model], hashes: Iterable[str]) -> dict[str, Any]:
    known = model._base_manager.filter(content_hash__in=hashes).exclude(embedding=None)
    return dict(known.order_by("content_hash").distinct("content_hash").values_list("content_hash", "embedding"))


def refresh_terms() -> None:
    """Count again how many rows hold each word, and how it may be misspelt. Searches go on meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY search_terms")
        cursor.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY search_spellings")


def tidy_index() -> None:
    """Until a vacuum, searches walk past the rows that were replaced and through words not yet sorted into their index:
    after thousands of new vectors they take twice as long."""
    if not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) search_documents")
