"""The documents worth scoring: those that share words with the query and those near it in meaning, with both scores.

Two steps, in SQL written by hand around the part that differs from search to search: what may be found, a condition
compiled from a queryset of documents. Words are asked for while the query's vector is still computed; what comes of
both is the beginning of a statement that goes on from `scored`, so that a search is answered in one turn.
"""

from collections.abc import Sequence

from pgvector import HalfVector
from pgvector.psycopg.halfvec import HalfVectorBinaryDumper
from psycopg import adapters

from registry.prepared import Statement, array, ask
from registry.search.query import Query
from registry.search.scoring import scored

CANDIDATES = 40  # of each kind; more find hardly anything better and cost more
COMMON_ROWS = 1_000  # any of them are scored where all words are common: they say little there

# Of texts that are the same the newest first: whoever looks for one has just added it.
SHARING = """SELECT id FROM search_documents WHERE {among} AND words @@ %s::tsquery
ORDER BY bm25 <#> %s::sparsevec, id DESC LIMIT {limit}"""
SHARING_COMMON = f"""SELECT id FROM search_documents
WHERE id IN (SELECT id FROM search_documents WHERE {{among}} AND words @@ %s::tsquery LIMIT {COMMON_ROWS})
ORDER BY bm25 <#> %s::sparsevec, id DESC LIMIT {{limit}}"""  # nosec B608 # put together from constants; what was typed is a parameter
# The nearest, and the best by words that are not among them.
SCORED = """WITH near AS MATERIALIZED (
    SELECT id, tool_id, server_id, bm25 <#> %s::sparsevec AS words, embedding <=> %s::halfvec AS distance
    FROM search_documents WHERE {among} AND embedding IS NOT NULL ORDER BY distance LIMIT {near}
), found AS MATERIALIZED (
    SELECT tool_id, server_id, coalesce(-words, 0) AS words, 1 - distance AS cosine FROM near UNION ALL
    SELECT tool_id, server_id, coalesce(-(bm25 <#> %s::sparsevec), 0), 1 - (embedding <=> %s::halfvec)
    FROM search_documents WHERE id = ANY(%s::bigint[]) AND id NOT IN (SELECT id FROM near)
), {scored}"""

adapters.register_dumper(HalfVector, HalfVectorBinaryDumper)  # of which type it is, each statement says


def score_candidates(among: Statement, query: Query, *, wanted: int = 0) -> Statement:
    """Of at most twice CANDIDATES of the documents that fit a condition, or twice as many as are wanted, if that is
    more: the beginning of a statement, with `scored` (tool_id or NULL, server_id, words, cosine, score, compared)."""
    among = Statement(f"({among.sql})", among.parameters)
    limit = max(wanted, CANDIDATES)
    sharing = _sharing(among, query, limit)
    vector = None if query.vector is None else HalfVector(query.vector)
    sql = SCORED.format(among=among.sql, near=0 if vector is None else limit, scored=scored())
    return Statement(sql, [query.weights, vector, *among.parameters, query.weights, vector, array(sharing)])


def _sharing(among: Statement, query: Query, limit: int) -> Sequence[int]:
    if not query.terms:
        return []
    statement = SHARING_COMMON if query.is_common else SHARING
    rows = ask(statement.format(among=among.sql, limit=limit), [*among.parameters, query.tsquery, query.weights])
    return [pk for (pk,) in rows]
