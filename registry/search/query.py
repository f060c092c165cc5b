"""What a user typed, as stemmed terms with the rarity of each."""

import math
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property

from registry.embeddings import begin_query, split_words, storable
from registry.models import TERM_SPACE
from registry.prepared import ask
from registry.search.spelling import MAX_WORDS, READINGS

MAX_QUERY_CHARACTERS = 2_000
MAX_LEXICAL_ROWS = 1_000  # that the rarest words of a query may match together
MAX_COMPLETIONS = 8

# The stems of the text; where the last one is in no row yet, the words it may become, the commonest first; what words
# that hardly anybody wrote may have been meant to be; how many rows there are. In one statement, as each costs a turn.
TERMS_SQL = f"""
WITH {READINGS}, stems AS (
    SELECT lexeme, max(position) OVER () = position AS is_last
    FROM unnest(search_words(%(text)s)) AS word (lexeme, positions, weights), unnest(positions[1:1]) AS position
), terms AS (
    SELECT lexeme, is_last, documents FROM stems LEFT JOIN search_terms ON word = lexeme
), completions AS (
    SELECT word, search_terms.documents FROM terms JOIN search_terms ON starts_with(word, lexeme)
    WHERE is_last AND terms.documents IS NULL AND NOT %(ended)s
    ORDER BY 2 DESC LIMIT %(completions)s
)
SELECT NULL, lexeme, term_dimension(lexeme), coalesce(documents, 0), is_last AND NOT %(ended)s FROM terms
UNION ALL SELECT NULL, word, term_dimension(word), documents, false FROM completions
UNION ALL SELECT typed, word, dimension, documents, false FROM readings
UNION ALL SELECT NULL, '', 0, documents, false FROM search_terms WHERE word = ''
"""  # nosec B608 # put together from constants; what was typed is a parameter


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
    embedding: "Future[list[float] | None]"
    meant: tuple[str, ...] = ()  # stems of what mistyped words may be

    @property
    def vector(self) -> list[float] | None:
        """None where the model is not loaded. Waits for what `parse` began."""
        return self.embedding.result()

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

    @property
    def vector_text(self) -> str | None:
        return None if self.vector is None else f"[{','.join(map(str, self.vector))}]"

    def _rarity(self, term: Term) -> float:
        documents = min(term.documents, self.documents)
        return math.log(1 + (self.documents - documents + 0.5) / (documents + 0.5))


def words_of(text: str) -> list[str]:
    """The words a user typed, lower case."""
    return split_words(storable(text)).lower().split()


def parse(text: str) -> Query:
    """One small query for the terms, their rarity and what they may mean; its vector is begun beside it."""
    text = storable(text).strip()[:MAX_QUERY_CHARACTERS]
    embedding = begin_query(text)
    parameters: dict[str, str | int | bool | list[str]] = {
        "text": f"{text} {split_words(text)}",
        "words": words_of(text)[:MAX_WORDS],
        "ended": bool(text) and not text[-1].isalnum(),
        "completions": MAX_COMPLETIONS,
    }
    rows = [(typed, Term(*columns)) for typed, *columns in ask(TERMS_SQL, parameters)]
    return Query(
        text=text,
        terms=tuple({term.lexeme: term for _, term in rows if term.lexeme}.values()),
        documents=next((term.documents for _, term in rows if not term.lexeme), 0),
        meant=tuple(term.lexeme for typed, term in rows if typed),
        embedding=embedding,
    )
