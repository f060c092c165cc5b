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
from registry.models.catalogues import CatalogueSource, ImportRun, SourceRecord
from registry.models.observed import Definition, HealthCheck, HealthCheckQuerySet
from registry.models.servers import (
    Acceptance,
    Connection,
    ConnectionQuerySet,
    Server,
    ServerQuerySet,
    Tool,
    ToolQuerySet,
)

__all__ = [
    "BM25_WEIGHTS",
    "EMBEDDING_DIMENSIONS",
    "SEARCH_COLUMNS",
    "SEARCH_WORDS",
    "TERM_SPACE",
    "Acceptance",
    "CatalogueSource",
    "Connection",
    "ConnectionQuerySet",
    "Definition",
    "Health",
    "HealthCheck",
    "HealthCheckQuerySet",
    "ImportRun",
    "LightManager",
    "Policy",
    "Server",
    "ServerQuerySet",
    "SourceRecord",
    "Tool",
    "ToolQuerySet",
]
