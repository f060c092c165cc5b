"""What `GET /registry?q=` narrows a list to: instant, from the first character, by the beginnings of words."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchQuery
from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet, UUIDField, Value
from django.db.models.functions import Cast, Lower

from registry.embeddings import split_words, storable
from registry.models import SearchDocument, Server, ServerQuerySet, equals_any
from registry.prepared import Statement, ask
from registry.search.spelling import readings

MAX_WORDS = 8


@dataclass(frozen=True, slots=True)
class Fitting:
    servers: ServerQuerySet
    total: int | None  # None: nobody counted them yet


def list_filter(servers: ServerQuerySet, q: str) -> Fitting:
    """Servers whose name, title or slug begins so, or that have every typed word at the beginning of words of their own
    text or of one tool's. Each way is a walk of an index; an empty `q` narrows nothing. One letter alone begins too
    many words to be a help: it is looked for at the beginning of names only."""
    text = storable(q).strip().lower()
    words = split_words(text).split()[:MAX_WORDS]
    if not words:
        return Fitting(servers.none(), 0) if text else Fitting(servers, None)
    first, *others = [*_begin_with(text), *_hold([word for word in words if len(word) > 1])]
    # Found first and then looked up: left to itself, Postgres may join the whole list row by row.
    return _by_id(servers, servers.filter(equals_any("pk", ArraySubquery(first.union(*others)))))


def _by_id(servers: ServerQuerySet, fitting: ServerQuerySet) -> Fitting:
    """Those that fit by their ids, which go to and fro in one string: neither the page nor its count looks for them
    again."""
    try:
        sql, parameters = Statement.of(fitting.order_by().values("pk"))
    except EmptyResultSet:  # a filter that nothing can fit
        return Fitting(servers.none(), 0)
    [(ids, total)] = ask(f"SELECT array_agg(id)::text, count(*) FROM ({sql}) AS fitting (id)", parameters)  # nosec B608
    by_id = equals_any("pk", Cast(Value(ids), ArrayField(UUIDField())))
    return Fitting(servers.filter(by_id) if ids else servers.none(), total)


def _begin_with(text: str) -> Iterator[QuerySet[Any]]:
    servers = Server.objects.order_by()
    yield servers.alias(lower_name=Lower("name")).filter(lower_name__startswith=text).values("pk")
    yield servers.alias(lower_title=Lower("title")).filter(lower_title__startswith=text).values("pk")
    yield servers.filter(slug__startswith=text.replace(" ", "-")).values("pk")


def _hold(words: list[str]) -> Iterator[QuerySet[Any]]:
    if words:
        meant = defaultdict(list)
        for one in readings(words):
            meant[one.typed].append(one.lexeme)
        all_words = reduce(and_, [_any_of(word, meant[word]) for word in words])
        yield SearchDocument.objects.filter(words=all_words).values("server_id")


def _any_of(word: str, meant: list[str]) -> SearchQuery:
    """What begins so, or what an unknown word may have been meant to be."""
    stems = [SearchQuery(f"'{lexeme}'", config="simple", search_type="raw") for lexeme in meant]
    return reduce(or_, stems, _begun(word))


def _begun(word: str) -> SearchQuery:
    """As typed and as stemmed: `categories` is stored as `categori`, and `to` may become `todo`."""
    typed = SearchQuery(f"'{word}':*", config="simple", search_type="raw")
    return typed | SearchQuery(f"'{word}':*", config="english", search_type="raw")
