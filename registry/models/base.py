"""What the models share: words for health and policy, and what search reads."""

import random
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

EMBEDDING_DIMENSIONS = 384
TERM_SPACE = 2**29  # a stemmed word's hash is its dimension in a sparse vector of BM25 weights

SEARCH_COLUMNS = ("search_text", "embedding")  # on models of their own; see `SearchDocument` for what a search reads


FIRST_PROBES_OVER = timedelta(hours=6)


def first_probe_at() -> datetime:
    """Some time in the hours after a server became known: a catalogue of thousands is not tested all at once."""
    return timezone.now() + random.random() * FIRST_PROBES_OVER


class Health(models.TextChoices):
    UNTESTED = "untested"
    OK = "ok", "OK"
    NEEDS_AUTH = "needs_auth", "Needs sign-in"
    WRONG_TRANSPORT = "wrong_transport"
    NOT_MCP = "not_mcp", "Not what it should be"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BLOCKED = "blocked"


class Policy(models.TextChoices):
    """May a tool run without asking? Ordered from the loosest to the strictest."""

    AUTO = "auto"
    ASK = "ask"
    NEVER = "never"


def equals_any(column: str, array: models.Expression | models.Subquery) -> models.Func:
    """`column__in` for an array that the statement itself is given or finds."""
    return models.Func(
        models.F(column),
        array,
        arg_joiner=" = ANY (",
        template="(%(expressions)s))",
        output_field=models.BooleanField(),
    )


class LightManager(models.Manager[Any]):
    """Rows without what only search reads: vectors would make every list ten times heavier."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().defer(*SEARCH_COLUMNS)
