"""What a user typed, as stemmed terms with the rarity of each."""

import math
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property

from registry.embeddings import Vector, begin_query, split_words, storable
from registry.models import TERM_SPACE
from registry.prepared import ask
from registry.search.spelling import MAX_WORDS, READINGS

MAX_QUERY_CHARACTERS = 2_000
MAX_LEXICAL_ROWS = 1_000  # that the rarest words of a query may match together
MAX_COMPLETIONS = 8
LAST_CHARACTER = 0x10FFFF
BEGINNING = 3  # letters

# The stems of the text; what words that hardly anybody wrote may have been meant to be; how many rows there are. In one
# statement, as each costs a turn. Where the last word may not be typed to its end and is in no row yet, also the words
# that it may become, the commonest first. Postgres plans each of the two once for a connection, as long as it expects
# no plan for one text to be cheaper than the one for all.
STEMS = f"""
WITH {READINGS}, stems AS (
    SELECT lexeme, max(position) OVER () = position AS is_last
    FROM unnest(search_words(%(text)s)) AS word (lexeme, positions, weights), unnest(positions[1:1]) AS position
), terms AS (
    SELECT lexeme, is_last, documents FROM stems LEFT JOIN search_terms ON word = lexeme
)"""  # nosec B608 # put together from constants; what was typed is a parameter
COUNTED = """
UNION ALL SELECT typed, word, dimension, documents, false FROM readings
UNION ALL SELECT NULL, '', 0, documents, false FROM search_terms WHERE word = ''"""
ENDED_SQL = f"""{STEMS}
SELECT NULL, lexeme, term_dimension(lexeme), coalesce(documents, 0), false FROM terms {COUNTED}"""  # nosec B608 # as above
OPEN_SQL = f"""{STEMS}, completions AS (
    SELECT completion.* FROM terms, LATERAL (
        SELECT word, documents FROM search_terms WHERE word ~>=~ lexeme AND word ~<~ (lexeme || chr({LAST_CHARACTER}))
        ORDER BY documents DESC LIMIT {MAX_COMPLETIONS}
    ) AS completion WHERE is_last AND terms.documents IS NULL
)
SELECT NULL, lexeme, term_dimension(lexeme), coalesce(documents, 0), is_last FROM terms
UNION ALL SELECT NULL, word, term_dimension(word), documents, false FROM completions {COUNTED}"""  # nosec B608 # as above


@dataclass(frozen=True, slots=True)
class Term:
    lexeme: str
    dimension: int
    documents: int
    is_open: bool = False  # the last word, perhaps not typed to its end

    @property
    def as_tsquery(self) -> str:
        quoted = self.lexeme.replace("\\", "\\\\").replace("'", "''")
        return f"'{quoted}':*" if self.is_open and not self.documents else f"'{quoted}'"


@dataclass(frozen=True)
class Query:
    text: str
    terms: tuple[Term, ...]
    documents: int
    embedding: "Future[Vector | None]"
    meant: tuple[str, ...] = ()  # stems of what mistyped words may be

    @property
    def vector(self) -> Vector | None:
        """None where the model is not loaded. Waits for what `parse` began."""
        return self.embedding.result()

    @cached_property
    def words(self) -> list[str]:
        """As they were typed, lower case."""
        return words_of(self.text)

    @cached_property
    def selective(self) -> tuple[Term, ...]:
        """The rarest terms, as many as together match a bounded number of rows: they find, all of them score."""
        chosen: list[Term] = []
        rows = 0
        for term in sorted(self.terms, key=lambda term: term.documents):
            rows += term.documents
            if rows > MAX_LEXICAL_ROWS and any(earlier.documents for earlier in chosen):
                break
            chosen.append(term)
        return tuple(chosen)

    @property
    def is_common(self) -> bool:
        """Does even the rarest term match too many rows to score them all?"""
        return sum(term.documents for term in self.selective) > MAX_LEXICAL_ROWS

    @property
    def tsquery(self) -> str:
        """Any of the terms that find. They are stems as they are stored: nothing is parsed or stemmed again."""
        return " | ".join(term.as_tsquery for term in self.selective)

    def holds(self, word: str) -> bool:
        """Is it more than a filler, like "the"? By its beginning, which its stem shares."""
        return word[:BEGINNING] in self._beginnings

    @cached_property
    def _beginnings(self) -> set[str]:
        return {term.lexeme[:BEGINNING] for term in self.terms}

    @property
    def weights(self) -> str | None:
        """Inverse document frequency by dimension, as a sparsevec in words: its inner product with a row's `bm25` is
        the row's BM25 score. (pgvector's own class looks into scipy, which the model may be loading just now.)"""
        if not self.terms:
            return None
        rarities = {term.dimension: self._rarity(term) for term in self.terms}
        return (
            f"{{{','.join(f'{dimension}:{rarities[dimension]:.6g}' for dimension in sorted(rarities))}}}/{TERM_SPACE}"
        )

    def _rarity(self, term: Term) -> float:
        documents = min(term.documents, self.documents)
        return math.log(1 + (self.documents - documents + 0.5) / (documents + 0.5))


def begin_vector(text: str) -> "Future[Vector | None]":
    """Of what a user typed, in a thread beside."""
    return begin_query(_cleaned(text))


def _cleaned(text: str) -> str:
    return storable(text).strip()[:MAX_QUERY_CHARACTERS]


def words_of(text: str) -> list[str]:
    """The words a user typed, lower case."""
    return split_words(storable(text)).lower().split()


def parse(text: str) -> Query:
    """One small query for the terms, their rarity and what they may mean; its vector is begun beside it."""
    embedding = begin_vector(text)
    text = _cleaned(text)
    is_ended = bool(text) and not text[-1].isalnum()
    asked = {"text": f"{text} {split_words(text)}", "words": words_of(text)[:MAX_WORDS]}
    rows = [(typed, Term(*columns)) for typed, *columns in ask(ENDED_SQL if is_ended else OPEN_SQL, asked)]
    return Query(
        text=text,
        terms=tuple({term.lexeme: term for _, term in rows if term.lexeme}.values()),
        documents=next((term.documents for _, term in rows if not term.lexeme), 0),
        meant=tuple(term.lexeme for typed, term in rows if typed),
        embedding=embedding,
    )
