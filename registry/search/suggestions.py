"""What `GET /registry?q=` narrows a list to: instant, from the first character, by the beginnings of words."""

from dataclasses import dataclass

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet
from django.db.models import UUIDField, Value
from django.db.models.functions import Cast

from registry.embeddings import split_words, storable
from registry.models import ServerQuerySet, equals_any
from registry.prepared import Statement, ask
from registry.search.query import LAST_CHARACTER
from registry.search.spelling import readings

MAX_WORDS = 8
# Each way is a walk of an index. The ids are found first and then looked up: left to itself, Postgres may join the
# whole list row by row. A word is looked for as typed and as stemmed: `categories` is stored as `categori`, and `to`
# may become `todo`.
FITTING = """
SELECT array_agg(id)::text, count(*) FROM registries WHERE {among} AND id = ANY (ARRAY(
    SELECT id FROM registries WHERE lower(name) ~>=~ %s AND lower(name) ~<~ %s
    UNION SELECT id FROM registries WHERE lower(title) ~>=~ %s AND lower(title) ~<~ %s
    UNION SELECT id FROM registries WHERE slug ~>=~ %s AND slug ~<~ %s
    UNION SELECT server_id FROM search_documents WHERE words @@ ({words})
))"""
BEGUN = "(to_tsquery('simple', %s) || to_tsquery('english', %s) || %s::tsquery)"


@dataclass(frozen=True, slots=True)
class Fitting:
    servers: ServerQuerySet
    total: int | None  # None: nobody counted them yet
    ids: str | None = None  # of all, as an array in Postgres's words, where they were looked for


def list_filter(servers: ServerQuerySet, q: str) -> Fitting:
    """Servers whose name, title or slug begins so, or that have every typed word at the beginning of words of their own
    text or of one tool's. An empty `q` narrows nothing. One letter alone begins too many words to be a help: it is
    looked for at the beginning of names only."""
    text = storable(q).strip().lower()
    words = split_words(text).split()[:MAX_WORDS]
    if not words:
        return Fitting(servers.none(), 0) if text else Fitting(servers, None)
    try:
        among = Statement.condition_of(servers)
    except EmptyResultSet:  # a filter that nothing can fit
        return Fitting(servers.none(), 0)
    slug = text.replace(" ", "-")
    begin_so = [bound for each in (text, text, slug) for bound in (each, f"{each}{chr(LAST_CHARACTER)}")]
    held, asked = _held([word for word in words if len(word) > 1])
    statement = FITTING.format(among=f"({among.sql})", words=held)
    [(ids, total)] = ask(statement, [*among.parameters, *begin_so, *asked])
    # Found once: neither the page nor its count looks for them again.
    by_id = equals_any("pk", Cast(Value(ids), ArrayField(UUIDField())))
    return Fitting(servers.filter(by_id), total, ids) if ids else Fitting(servers.none(), 0)


def _held(words: list[str]) -> tuple[str, list[str]]:
    """A tsquery of SQL that a text with all these words fits, and its parameters."""
    meant: dict[str, list[str]] = {word: [] for word in words}
    for one in readings(words) if words else []:
        meant[one.typed].append(f"'{one.lexeme}'")
    each = [[f"'{word}':*", f"'{word}':*", " | ".join(lexemes)] for word, lexemes in meant.items()]
    return " && ".join([BEGUN] * len(each)) or "NULL::tsquery", [text for texts in each for text in texts]
