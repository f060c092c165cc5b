"""How scores of unlike kinds become one. Fusing scores, not ranks, keeps how much better the first hit is."""

from collections.abc import Sequence
from math import fsum, sqrt

LEXICAL_SHARE = 0.4
MEANING_SHARE = 0.6


def standardised(scores: Sequence[float | None]) -> list[float]:
    """Distance from the mean in standard deviations; a missing score counts as the mean."""
    known = [score for score in scores if score is not None]
    if not known:
        return [0.0] * len(scores)
    mean = fsum(known) / len(known)
    deviation = sqrt(fsum((score - mean) ** 2 for score in known) / len(known))
    if not deviation:
        return [0.0] * len(scores)
    return [(score - mean) / deviation if score is not None else 0.0 for score in scores]


def fuse(bm25: Sequence[float], cosine: Sequence[float | None]) -> list[float]:
    """One score for each candidate of a query; comparable within that query only."""
    if not any(score is not None for score in cosine):
        return list(bm25)
    pairs = zip(standardised(bm25), standardised(cosine), strict=True)
    return [LEXICAL_SHARE * words + MEANING_SHARE * meaning for words, meaning in pairs]
