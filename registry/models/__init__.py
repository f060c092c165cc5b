"""Which servers and tools exist, who may use them, and what was seen of their health."""

from registry.models.base import (
    EMBEDDING_DIMENSIONS,
    SEARCH_COLUMNS,
    TERM_SPACE,
    Health,
    LightManager,
    Policy,
)
from registry.models.catalogues import CatalogueSource, ImportRun, SourceRecord
from registry.models.oauth import OAuthClient, OAuthGrant, OAuthGrantQuerySet, ServerProtection, SignIn
from registry.models.observed import Definition, HealthCheck, HealthCheckQuerySet
from registry.models.search import SearchDocument, SearchDocumentQuerySet
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
    "EMBEDDING_DIMENSIONS",
    "SEARCH_COLUMNS",
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
    "OAuthClient",
    "OAuthGrant",
    "OAuthGrantQuerySet",
    "Policy",
    "SearchDocument",
    "SearchDocumentQuerySet",
    "Server",
    "ServerProtection",
    "ServerQuerySet",
    "SignIn",
    "SourceRecord",
    "Tool",
    "ToolQuerySet",
]
