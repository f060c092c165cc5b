"""Finding results again, by meaning and by words, among a user's own."""

import re
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVectorField
from django.core.exceptions import EmptyResultSet
from django.db.models import F, Func, QuerySet, Value
from django.db.models.fields import FloatField
from pgvector.django import CosineDistance

from chains.models import Result
from registry.embeddings import embed, embed_query, is_off, storable
from registry.prepared import Statement, ask
from registry.search.scoring import scored

CANDIDATES = 50  # of each kind
LEAST_COSINE = 0.3  # texts that have nothing to do with each other stay below it in the packaged model
MAX_WORDS = 30
WEIGHTS = {"title": "A", "summary": "B"}
BATCH = 64
BEST = """WITH found (id, words, cosine) AS (
    SELECT id, words, 1 - distance::float8 FROM ({found}) AS found (id, words, distance)
), {scored} SELECT id, score FROM scored ORDER BY score DESC, id LIMIT {limit}"""


@dataclass(frozen=True, slots=True)
class ResultHit:
    result: Result
    score: float


def search_results(q: str, *, results: QuerySet[Result], limit: int = CANDIDATES) -> list[ResultHit]:
    """Those of the given results that share a word with `q` or its meaning, the best first."""
    compared = _compared(results, storable(q))
    if compared is None:
        return []
    near = compared.exclude(distance=None).filter(distance__lt=1 - LEAST_COSINE).order_by("distance")[:CANDIDATES]
    sharing = compared.filter(rank__gt=0).order_by("-rank")[:CANDIDATES]
    try:
        found = Statement.of(sharing.union(near))
    except EmptyResultSet:  # of no results
        return []
    best = _best(found, limit)
    rows = results.defer("embedding").in_bulk(list(best))
    return [ResultHit(rows[pk], round(score, 4)) for pk, score in best.items() if pk in rows]


def _best(found: Statement, limit: int) -> dict[Any, float]:
    """Scores by key, the best first."""
    return dict(ask(BEST.format(found=found.sql, scored=scored(), limit=limit), found.parameters))


def _compared(results: QuerySet[Result], q: str) -> QuerySet[Any] | None:
    """Keys, with `rank` by words and `distance` by meaning, None where there is no vector; None without words."""
    words = list(dict.fromkeys(re.findall(r"\w+", q)))[:MAX_WORDS]
    if not words:
        return None
    query = SearchQuery(" | ".join(words), search_type="raw", config="english")
    vector = embed_query(q)
    distance: Any = Value(None, output_field=FloatField())
    if vector is not None:
        distance = CosineDistance(F("embedding"), vector)
    ranked = results.annotate(rank=SearchRank(_words(), query), distance=distance)
    return ranked.values_list("pk", "rank", "distance")


def _words() -> Func:
    """As the registry takes words apart: Postgres alone would take QX-7781 for a word and a negative number."""
    columns = [
        Func(Func(F(column), function="search_words"), Value(weight), function="setweight")
        for column, weight in WEIGHTS.items()
    ]
    return Func(*columns, template="%(expressions)s", arg_joiner=" || ", output_field=SearchVectorField())


def text_of(result: Result) -> str:
    """What a result is found by."""
    return f"{result.title}\n{result.summary}"


def embed_results() -> int:
    """A vector for every result that has none; how many were computed. May stop anywhere and be called again."""
    done = 0
    if is_off():
        return done
    while batch := list(Result.objects.filter(embedding=None).only("pk", "title", "summary").order_by("pk")[:BATCH]):
        for result, vector in zip(batch, embed([text_of(result) for result in batch]), strict=True):
            result.embedding = vector
        Result.objects.bulk_update(batch, ["embedding"])
        done += len(batch)
    return done
