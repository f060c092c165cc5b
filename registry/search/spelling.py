"""What a mistyped word may have been meant to be: known words one slip of the finger away."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.prepared import ask

SHORTEST, LONGEST = 4, 20  # letters of a word that may be mistyped
MAX_WORDS = 8  # looked up at once; who types more has other words to be found by
RARE = 3  # documents that hold a word: it may be a slip of their authors
FAR_MORE = 20  # times
CLOSEST = 3  # readings of a word, the commonest first

# A word that many wrote, or that begins one, is taken as it is. Others and their stems are looked for with each letter
# left out; next to a word that a few wrote so, a reading counts only if it is far more common.
# These expressions take `words` and give `readings`.
READINGS = f"""
typed AS (
    SELECT word AS typed, coalesce((ts_lexize('english_stem', word))[1], word) AS stem
    FROM unnest(%(words)s::text[]) AS word WHERE word ~ '^[a-z]{{{SHORTEST},{LONGEST}}}$'
), counted AS MATERIALIZED (
    SELECT typed, stem, (SELECT documents FROM search_terms WHERE word = stem) AS documents FROM typed
), rare AS (
    SELECT typed, stem, coalesce(documents, 0) AS documents FROM counted WHERE documents <= {RARE}
    OR documents IS NULL AND NOT EXISTS (SELECT FROM search_terms WHERE word ~>=~ typed AND word ~<~ (typed || '{{'))
), slips AS (
    SELECT typed, documents,
        CASE place WHEN 0 THEN form ELSE left(form, place - 1) || substr(form, place + 1) END AS spelling
    FROM rare, LATERAL (VALUES (typed), (stem)) AS forms (form), generate_series(0, length(form)) AS place
), near AS MATERIALIZED (
    SELECT * FROM search_spellings WHERE spelling = ANY (ARRAY(SELECT spelling FROM slips))
), known AS (
    SELECT DISTINCT typed, near.word, near.documents FROM slips JOIN near USING (spelling)
    WHERE near.documents > slips.documents * {FAR_MORE}
), ordered AS (
    SELECT *, row_number() OVER (PARTITION BY typed ORDER BY documents DESC, word) AS place FROM known
), readings AS (
    SELECT typed, word, term_dimension(word) AS dimension, documents FROM ordered WHERE place <= {CLOSEST}
)
"""  # nosec B608 # put together from constants; what was typed is a parameter
READINGS_SQL = f"WITH {READINGS} SELECT * FROM readings"  # nosec B608 # put together from constants


@dataclass(frozen=True, slots=True)
class Reading:
    typed: str
    lexeme: str
    dimension: int
    documents: int


def readings(words: Sequence[str]) -> list[Reading]:
    """Of the typed words (lower case) that hardly anybody wrote. One query, if any is long enough to slip in."""
    if not any(SHORTEST <= len(word) <= LONGEST for word in words[:MAX_WORDS]):
        return []
    return [Reading(*row) for row in ask(READINGS_SQL, {"words": list(words[:MAX_WORDS])})]
