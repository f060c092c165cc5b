"""Which servers and tools exist, who may use them, and what was seen of their health."""

from registry.models.base import (
    BM25_WEIGHTS,
    EMBEDDING_DIMENSIONS,
    SEARCH_COLUMNS,
    SEARCH_WORDS,
    TERM_SPACE,
    Health,
    LightManager,
    Policy,
)
from registry.models.observed import HealthCheck, ImportRun, SourceRecord
from registry.models.servers import Connection, ConnectionQuerySet, Server, ServerQuerySet, Tool, ToolQuerySet

__all__ = [
    "BM25_WEIGHTS",
    "EMBEDDING_DIMENSIONS",
    "SEARCH_COLUMNS",
    "SEARCH_WORDS",
    "TERM_SPACE",
    "Connection",
    "ConnectionQuerySet",
    "Health",
    "HealthCheck",
    "ImportRun",
    "LightManager",
    "Policy",
    "Server",
    "ServerQuerySet",
    "SourceRecord",
    "Tool",
    "ToolQuerySet",
]
