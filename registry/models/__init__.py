"""Which servers and tools exist, who may use them, and what was seen of their health."""

from registry.models.acceptances import Acceptance
from registry.models.base import (
    EMBEDDING_DIMENSIONS,
    SEARCH_COLUMNS,
    TERM_SPACE,
    Health,
    LightManager,
    Policy,
    equals_any,
)
from registry.models.catalogues import CatalogueSource, ImportRun, SourceRecord
from registry.models.oauth import OAuthClient, OAuthGrant, OAuthGrantQuerySet, ServerProtection, SignIn
from registry.models.observed import Definition, HealthCheck, HealthCheckQuerySet
from registry.models.search import SearchDocument, SearchDocumentQuerySet
from registry.models.servers import (
    Connection,
    ConnectionQuerySet,
    Server,
    ServerQuerySet,
    Tool,
    ToolQuerySet,
)
from registry.models.teams import (
    Belonging,
    Invitation,
    OwnedQuerySet,
    Shareable,
    SharedQuerySet,
    Team,
    TeamQuerySet,
    teams_of,
)

__all__ = [
    "EMBEDDING_DIMENSIONS",
    "SEARCH_COLUMNS",
    "TERM_SPACE",
    "Acceptance",
    "Belonging",
    "CatalogueSource",
    "Connection",
    "ConnectionQuerySet",
    "Definition",
    "Health",
    "HealthCheck",
    "HealthCheckQuerySet",
    "ImportRun",
    "Invitation",
    "LightManager",
    "OAuthClient",
    "OAuthGrant",
    "OAuthGrantQuerySet",
    "OwnedQuerySet",
    "Policy",
    "SearchDocument",
    "SearchDocumentQuerySet",
    "Server",
    "ServerProtection",
    "ServerQuerySet",
    "Shareable",
    "SharedQuerySet",
    "SignIn",
    "SourceRecord",
    "Team",
    "TeamQuerySet",
    "Tool",
    "ToolQuerySet",
    "equals_any",
    "teams_of",
]
