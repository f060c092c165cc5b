"""The documents worth scoring: those that share words with the query and those near it in meaning, with both scores.

Two statements, written by hand around the part that differs from search to search: what may be found, a condition
compiled from a queryset of documents. Words are asked for while the query's vector is still computed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from registry.prepared import Statement, array, ask
from registry.search.query import Query

CANDIDATES = 40  # of each kind; more find hardly anything better and cost more
COMMON_ROWS = 1_000  # any of them are scored where all words are common: they say little there

SHARING = """SELECT id, tool_id, server_id::text, bm25 <#> %s::sparsevec AS words_score FROM search_documents
WHERE {among} AND words @@ %s::tsquery ORDER BY words_score LIMIT {limit}"""
SHARING_COMMON = f"""SELECT id, tool_id, server_id::text, bm25 <#> %s::sparsevec AS words_score FROM search_documents
WHERE id IN (SELECT id FROM search_documents WHERE {{among}} AND words @@ %s::tsquery LIMIT {COMMON_ROWS})
ORDER BY words_score LIMIT {{limit}}"""  # nosec B608 # put together from constants; what was typed is a parameter
# The distance of the best by words, and the nearest with what their words score; `asked` holds both sides once.
NEAR = """WITH asked AS MATERIALIZED (SELECT %s::halfvec AS vector, %s::sparsevec AS weights)
SELECT id, NULL, NULL, NULL, embedding <=> (SELECT vector FROM asked) FROM search_documents WHERE id = ANY(%s::bigint[])
UNION ALL (
    SELECT id, tool_id, server_id::text, bm25 <#> (SELECT weights FROM asked),
        embedding <=> (SELECT vector FROM asked) AS distance
    FROM search_documents WHERE {among} AND embedding IS NOT NULL ORDER BY distance LIMIT {limit}
)"""


class Candidate(NamedTuple):
    tool_id: int | None  # None: the server's own text
    server_id: str  # of an UUID, which takes Python longer to make and to compare
    bm25: float
    cosine: float | None


def find_candidates(
    documents: Statement | None, query: Query, *, wanted: int = 0, user_id: int | None = None
) -> list[Candidate]:
    """At most twice CANDIDATES of the documents that fit a condition, or twice as many as are wanted, if that is more.
    `user_id` is what its parameter `user` stands for."""
    if documents is None:
        return []
    among = Statement(f"({documents.sql})", documents.filled(user=user_id))
    limit = max(wanted, CANDIDATES)
    sharing = {row[0]: row[1:] for row in _sharing(among, query, limit)}
    vector = query.vector_text
    if vector is None:
        return [_candidate(row, None) for row in sharing.values()]
    return _with_near(among, sharing, [vector, query.weights], limit)


def _sharing(among: Statement, query: Query, limit: int) -> Sequence[tuple[Any, ...]]:
    if not query.terms:
        return []
    statement = SHARING_COMMON if query.is_common else SHARING
    return ask(statement.format(among=among.sql, limit=limit), [query.weights, *among.parameters, query.tsquery])


def _with_near(among: Statement, sharing: dict[int, tuple[Any, ...]], asked: list[Any], limit: int) -> list[Candidate]:
    """`sharing` is by id; some are found both ways."""
    found = ask(NEAR.format(among=among.sql, limit=limit), [*asked, array(sharing), *among.parameters])
    distances = {row[0]: row[4] for row in found}
    rows = {row[0]: row[1:4] for row in found if row[0] not in sharing}
    return [_candidate(columns, distances.get(pk)) for pk, columns in (sharing | rows).items()]


def _candidate(columns: Sequence[Any], distance: float | None) -> Candidate:
    """The last of the columns is the inner product of words negated, as an index sorts upwards."""
    tool_id, server_id, words = columns
    return Candidate(tool_id, server_id, -(words or 0.0), None if distance is None else 1 - distance)


def by_server(found: Sequence[Candidate]) -> dict[str, list[int]]:
    """Positions of the candidates of each server."""
    groups: dict[str, list[int]] = {}
    for position, candidate in enumerate(found):
        groups.setdefault(candidate.server_id, []).append(position)
    return groups
