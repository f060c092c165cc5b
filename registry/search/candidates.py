"""The rows worth scoring: those that share words with the query and those near it in meaning, with both scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet, Value
from django.db.models.fields import FloatField
from pgvector.django import CosineDistance, MaxInnerProduct

from registry.search.query import Query

CANDIDATES = 100  # of each kind; twice as many find nothing better and cost twice as much
COMMON_ROWS = 2_000  # of each kind, any of them, are scored where all words are common: they say little there
EF_SEARCH = 100  # entries the vector index keeps while it walks; at least as many as candidates


@dataclass(frozen=True, slots=True)
class Candidate:
    pk: Any
    server_id: Any
    bm25: float
    cosine: float | None


def find_candidates(rows: QuerySet[Any], query: Query, *, server: str) -> list[Candidate]:
    """At most twice CANDIDATES rows of a queryset over tools or servers. `server` is the path to the server's id.

    Runs in a transaction of the caller's, after `prepare_index`.
    """
    scored = _with_scores(rows, query, server)
    parts = [part[:CANDIDATES] for part in (_sharing_words(scored, query), _near(scored, query)) if part is not None]
    if not parts:
        return []
    found = parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]
    return [
        Candidate(pk, server_id, -(negative or 0.0), None if distance is None else 1 - distance)
        for pk, server_id, negative, distance in found
    ]


def prepare_index() -> None:
    """For this transaction: walk the vector index far enough, and on where filters leave too few rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)",
            [str(EF_SEARCH)],
        )


def _with_scores(rows: QuerySet[Any], query: Query, server: str) -> QuerySet[Any]:
    """Rows of (id, server id, BM25 negated, cosine distance): negated and distance, as an index sorts upwards."""
    distance: Any = Value(None, output_field=FloatField())
    if query.vector is not None:
        distance = CosineDistance("embedding", query.vector)
    words: Any = MaxInnerProduct("bm25", query.weights) if query.terms else Value(0.0)
    scored = rows.annotate(in_server=F(server), words_score=words, distance=distance).order_by()
    return scored.values_list("id", "in_server", "words_score", "distance")


def _sharing_words(scored: QuerySet[Any], query: Query) -> QuerySet[Any] | None:
    if not query.terms:
        return None
    matching = scored.filter(search_vector=query.any_term)
    if query.is_common:
        matching = scored.filter(pk__in=matching.values("pk")[:COMMON_ROWS])
    return matching.order_by("words_score")


def _near(scored: QuerySet[Any], query: Query) -> QuerySet[Any] | None:
    if query.vector is None:
        return None
    return scored.exclude(embedding=None).order_by("distance")


def by_server(found: Sequence[Candidate]) -> dict[Any, list[int]]:
    """Positions of the candidates of each server."""
    groups: dict[Any, list[int]] = {}
    for position, candidate in enumerate(found):
        groups.setdefault(candidate.server_id, []).append(position)
    return groups
