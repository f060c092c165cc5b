"""What `GET /registry?q=` narrows a list to: instant, from the first character, by the beginnings of words."""

from functools import reduce
from operator import and_

from django.contrib.postgres.search import SearchQuery
from django.db.models.functions import Lower

from registry.embeddings import split_words, storable
from registry.models import Server, ServerQuerySet, Tool

MAX_WORDS = 8


def list_filter(servers: ServerQuerySet, q: str) -> ServerQuerySet:
    """Servers whose name, title or slug begins so, or that have every typed word at the beginning of words of their own
    text or of one tool's. Each way is a walk of an index; an empty `q` narrows nothing."""
    text = storable(q).strip().lower()
    words = split_words(text).split()[:MAX_WORDS]
    if not words:
        return servers.none() if text else servers
    begun = reduce(and_, [_begun(word) for word in words])
    all_servers = Server.objects.order_by()
    ways = [
        all_servers.alias(lower_title=Lower("title")).filter(lower_title__startswith=text),
        all_servers.filter(slug__startswith=text.replace(" ", "-")),
        all_servers.filter(search_vector=begun),
    ]
    named = all_servers.alias(lower_name=Lower("name")).filter(lower_name__startswith=text).values("pk")
    tools = Tool.objects.present().order_by().filter(search_vector=begun).values("server_id")
    return servers.filter(pk__in=named.union(*(way.values("pk") for way in ways), tools))


def _begun(word: str) -> SearchQuery:
    """As typed and as stemmed: `categories` is stored as `categori`, and `to` may become `todo`."""
    typed = SearchQuery(f"'{word}':*", config="simple", search_type="raw")
    return typed | SearchQuery(f"'{word}':*", config="english", search_type="raw")
