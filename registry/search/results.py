"""What a search answers with."""

from dataclasses import dataclass, field
from typing import Literal

from registry.models import Server, Tool

Mode = Literal["hybrid", "lexical"]


@dataclass(frozen=True, slots=True)
class MatchedTool:
    name: str
    description: str
    score: float


@dataclass(frozen=True, slots=True)
class ServerHit:
    server: Server
    score: float
    matched_tools: list[MatchedTool]
    why: str


@dataclass(frozen=True, slots=True)
class ToolHit:
    tool: Tool  # with its server
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    query: str
    mode: Mode
    fallback_reason: str | None
    took_ms: float
    hits: list[ServerHit] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ToolSearchResult:
    query: str
    mode: Mode
    fallback_reason: str | None
    took_ms: float
    hits: list[ToolHit] = field(default_factory=list)
