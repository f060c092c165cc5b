"""How scores of unlike kinds become one, in SQL. Fusing scores, not ranks, keeps how much better the first hit is."""

LEXICAL_SHARE = 0.4
MEANING_SHARE = 0.6
# Each score as its distance from the mean in standard deviations; one that is missing counts as the mean.
SCORED = """spread AS MATERIALIZED (
    SELECT avg(words) AS words, nullif(stddev_pop(words), 0) AS by_words, avg(cosine) AS cosine,
        nullif(stddev_pop(cosine), 0) AS by_cosine, count(cosine) AS compared FROM found
), scored AS MATERIALIZED (
    SELECT found.*, compared, CASE WHEN compared = 0 THEN found.words ELSE
        {lexical} * coalesce((found.words - spread.words) / by_words, 0)
        + {meaning} * coalesce((found.cosine - spread.cosine) / by_cosine, 0) END AS score FROM found, spread
)"""


def scored() -> str:
    """Of `found`, with columns `words` and `cosine` (NULL: unknown), the same rows with `score`, comparable within one
    query only, and how many of them were `compared` by meaning: without any, `words` alone count."""
    return SCORED.format(lexical=LEXICAL_SHARE, meaning=MEANING_SHARE)
