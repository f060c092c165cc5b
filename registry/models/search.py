"""What a search reads: one slim row for each text, a tool's or a server's own."""

from typing import TYPE_CHECKING, Any

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q
from pgvector.django import HalfVectorField, HnswIndex, SparseVectorField

from registry.models.base import EMBEDDING_DIMENSIONS, TERM_SPACE
from registry.models.servers import Server, Tool
from registry.models.teams import teams_of

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


UNSORTED_KB = 256  # of new words that each search looks through, until they are sorted into the index


class SearchDocumentQuerySet(models.QuerySet["SearchDocument"]):
    def visible_to(self, user: "User | AnonymousUser") -> "SearchDocumentQuerySet":
        """As `ServerQuerySet.visible_to`, without looking at each row's server."""
        seen = Q(is_open=True)
        if user.pk is not None:
            alive: Any = Server.objects.order_by().exclude(status=Server.Status.DELETED).values("pk")
            # One set of ids from two indexes: an OR of both would look at every server there is.
            seen |= Q(server__in=alive.owned_by(user).union(alive.filter(team__in=teams_of(user)), all=True))
        return self.filter(seen)


class SearchDocument(models.Model):
    """Written by triggers on `tools` and `registries` (migration 0007), so that no writer can forget it; removed tools
    have none, and `tool` is empty for the server's own text. Apart from them, because their rows change with every test
    of a server, and each change of a row would be written into the vector index again."""

    server = models.ForeignKey(Server, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    tool = models.OneToOneField(
        Tool,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
    )
    is_open = models.BooleanField(help_text="everybody may see it")
    words = SearchVectorField()
    bm25 = SparseVectorField(dimensions=TERM_SPACE)
    embedding = HalfVectorField(dimensions=EMBEDDING_DIMENSIONS, null=True)

    objects = SearchDocumentQuerySet.as_manager()

    class Meta:
        db_table = "search_documents"
        constraints = [
            models.UniqueConstraint(fields=["server"], condition=Q(tool=None), name="one_search_document_per_server")
        ]
        indexes = [
            GinIndex(fields=["words"], name="search_document_words", gin_pending_list_limit=UNSORTED_KB),
            HnswIndex(
                name="search_document_embedding",
                fields=["embedding"],
                m=16,
                ef_construction=64,
                opclasses=["halfvec_cosine_ops"],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.server_id} {self.tool_id or ''}".strip()
