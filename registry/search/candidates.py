"""The documents worth scoring: those that share words with the query and those near it in meaning, with both scores.

One statement, written by hand around the part that differs from search to search: what may be found, a queryset of
documents compiled into it. `asked` holds the query's vector and weights once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection

from registry.models import SearchDocument, SearchDocumentQuerySet
from registry.search.query import Query

CANDIDATES = 60  # of each kind; more find hardly anything better and cost more
COMMON_ROWS = 2_000  # any of them are scored where all words are common: they say little there

ASKED = "WITH asked AS MATERIALIZED (SELECT %s::halfvec AS vector, %s::sparsevec AS weights) "
WORDS_SCORE = "bm25 <#> (SELECT weights FROM asked) AS words_score"
DISTANCE = "embedding <=> (SELECT vector FROM asked) AS distance"
# The distance of the best only: thousands may share a word.
SHARING = f"""SELECT id, tool_id, server_id, words_score, {DISTANCE} FROM (
    SELECT id, tool_id, server_id, embedding, {WORDS_SCORE} FROM search_documents
    WHERE {{among}} AND words @@ %s::tsquery ORDER BY words_score LIMIT %s
) AS sharing"""  # nosec B608 # put together from constants; what was typed is a parameter
SHARING_COMMON = f"""SELECT id, tool_id, server_id, words_score, {DISTANCE} FROM (
    SELECT id, tool_id, server_id, embedding, {WORDS_SCORE} FROM search_documents
    WHERE id IN (SELECT id FROM search_documents WHERE {{among}} AND words @@ %s::tsquery LIMIT {COMMON_ROWS})
    ORDER BY words_score LIMIT %s
) AS sharing"""  # nosec B608 # put together from constants; what was typed is a parameter
NEAR = f"""SELECT id, tool_id, server_id, {WORDS_SCORE}, {DISTANCE} FROM search_documents
WHERE {{among}} AND embedding IS NOT NULL ORDER BY distance LIMIT %s"""  # nosec B608 # put together from constants; what was typed is a parameter


@dataclass(frozen=True, slots=True)
class Candidate:
    tool_id: int | None  # None: the server's own text
    server_id: Any
    bm25: float
    cosine: float | None


def find_candidates(documents: SearchDocumentQuerySet, query: Query, *, wanted: int = 0) -> list[Candidate]:
    """At most twice CANDIDATES of these documents, or twice as many as are wanted, if that is more."""
    try:
        ids, allowed = documents.order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:  # a filter that nothing can fit
        return []
    parts = _parts(f"id IN ({ids})", allowed, query, max(wanted, CANDIDATES))
    if not parts:
        return []
    statement = ASKED + " UNION ALL ".join(f"({sql})" for sql, _ in parts)
    parameters = [query.vector_text, query.weights, *(value for _, values in parts for value in values)]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        once = {row[0]: row[1:] for row in cursor.fetchall()}  # some are found both ways
    return [_candidate(*row) for row in once.values()]


def _candidate(tool_id: int | None, server_id: Any, words: float | None, distance: float | None) -> Candidate:
    """`words` is the inner product negated, as an index sorts upwards."""
    return Candidate(tool_id, server_id, -(words or 0.0), None if distance is None else 1 - distance)


def _parts(among: str, allowed: Sequence[Any], query: Query, limit: int) -> list[tuple[str, list[Any]]]:
    parts = []
    if query.terms:
        statement = SHARING_COMMON if query.is_common else SHARING
        parts.append((statement.format(among=among), [*allowed, query.tsquery, limit]))
    if query.vector is not None:
        parts.append((NEAR.format(among=among), [*allowed, limit]))
    return parts


def documents_of(servers: Any) -> SearchDocumentQuerySet:
    """What the servers of a queryset and their tools are found by."""
    return SearchDocument.objects.filter(server__in=servers.order_by().values("pk"))


def by_server(found: Sequence[Candidate]) -> dict[Any, list[int]]:
    """Positions of the candidates of each server."""
    groups: dict[Any, list[int]] = {}
    for position, candidate in enumerate(found):
        groups.setdefault(candidate.server_id, []).append(position)
    return groups
