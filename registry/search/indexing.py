"""Keeping the index true: texts of servers, vectors of what has none yet, how rare each word is."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from registry.embeddings import content_hash, embed, is_off, server_text_of
from registry.models import Server, Tool

logger = logging.getLogger(__name__)

BATCH_SIZE = 2_048  # the more, the more of them are of one length, and computed together
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


def embed_missing() -> Embedded:
    """A vector for every tool and server that has none, batch by batch: it may stop anywhere and be called again."""
    done = Embedded()
    _describe_servers()
    if is_off():
        return done
    for rows in (Tool.objects.without_embedding(), Server.objects.filter(embedding=None)):
        while batch := list(rows.defer(None).only("pk", "search_text", "content_hash").order_by("pk")[:BATCH_SIZE]):
            _embed_batch(batch, done)
    if done.computed or done.copied:
        refresh_terms()
        if done.computed + done.copied >= MANY:
            tidy_index()
        logger.info("Embedded %s rows, copied %s vectors", done.computed, done.copied)
    return done


def _describe_servers() -> None:
    """Servers that were stored without their search text, as the admin or a script may do."""
    servers = list(Server.objects.filter(content_hash=""))
    for server in servers:
        describe(server)
    Server.objects.bulk_update(servers, ["search_text", "content_hash"], batch_size=BATCH_SIZE)


def _embed_batch(batch: Sequence[Any], done: Embedded) -> None:
    rows = type(batch[0])._base_manager.all()
    hashes = {row.content_hash for row in batch}
    vectors = _known_vectors(rows, hashes)
    new = {row.content_hash: row.search_text for row in batch if row.content_hash not in vectors}
    done.copied += sum(row.content_hash in vectors for row in batch)
    done.computed += sum(row.content_hash in new for row in batch)
    vectors |= dict(zip(new, embed(list(new.values())), strict=True))
    for row in batch:
        row.embedding = vectors[row.content_hash]
    rows.filter(content_hash__in=hashes).bulk_update(batch, ["embedding"])  # not where the text changed meanwhile


def _known_vectors(rows: QuerySet[Any], hashes: Iterable[str]) -> dict[str, Any]:
    known = rows.filter(content_hash__in=hashes).exclude(embedding=None)
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
