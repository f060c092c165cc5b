"""Hybrid search over servers and their tools: shared words (BM25) and meaning (cosine), fused by score.

Callers see `search_servers`, `search_tools` and their results; how a score comes about is behind `scoring.fuse`.
A search is a handful of bounded queries whatever the size of the registry, and says which mode answered.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet

from registry.embeddings import is_off
from registry.filters import filter_servers
from registry.models import SEARCH_COLUMNS, SearchDocument, Server, ServerQuerySet, Tool, ToolQuerySet
from registry.prepared import Statement
from registry.search import reasons
from registry.search.candidates import Candidate, by_server, find_candidates
from registry.search.query import Query, parse, words_of
from registry.search.results import MatchedTool, Mode, SearchResult, ServerHit, ToolHit, ToolSearchResult
from registry.search.scope import READ_SORTS, Caller, Scope, ToolText, read_page, scope_of
from registry.search.scoring import fuse
from registry.search.suggestions import list_filter

__all__ = [
    "READ_SORTS",
    "SearchResult",
    "ServerHit",
    "ToolHit",
    "ToolSearchResult",
    "list_filter",
    "read_page",
    "search_servers",
    "search_tools",
]

MAX_HITS = 100
MATCHED_TOOLS = 5  # shown with a server
MATCHED_TOOL_SHARE = 0.6  # of the server's best tool's score, to be shown
MAX_NAME = 12  # words; longer ones are no server's name
MAX_EXPLAINED = 40  # words whose place in a hit is told
BREADTH_BONUS = 0.1  # of the second-best text of a server, added to its best

MODEL_LOADING = "The embedding model is not loaded yet: only words are compared."
MODEL_OFF = "The embedding model is switched off here: only words are compared."
NO_EMBEDDINGS = "Nothing found has an embedding yet: only words are compared."


@dataclass(frozen=True, slots=True)
class _Ranked:
    """One server among the hits: its score and the candidates that earned it, best first."""

    server_id: str
    score: float
    tools: list[tuple[Any, float]]
    cosine: float | None


def search_servers(q: str, *, user: Caller, filters: Mapping[str, str] | None = None, limit: int = 20) -> SearchResult:
    """The servers this user may see and the filters let through, the best first. Without words: the newest."""
    started = time.perf_counter()
    limit = max(1, min(limit, MAX_HITS))
    if not words_of(q):
        return _newest(q, filter_servers(Server.objects.visible_to(user), filters or {}, user), user, limit, started)
    query, scope = parse(q), scope_of(user, filters)
    found = find_candidates(scope.documents, query, wanted=limit, user_id=user.pk)
    hits = _server_hits(query, _rank(found), scope, user, limit)
    mode, reason = _mode(query, found)
    return SearchResult(q, mode, reason, _ms_since(started), hits)


def search_tools(q: str, *, tools: ToolQuerySet, limit: int = 20) -> ToolSearchResult:
    """The best of the given tools, each with its server loaded. Without words: by name."""
    started = time.perf_counter()
    limit = max(1, min(limit, MAX_HITS))
    if not words_of(q):
        by_name = tools.select_related("server").defer(*_heavy("", "server__"))[:limit]
        hits = [ToolHit(tool, 0.0) for tool in by_name]
        return ToolSearchResult(q, "lexical", reasons.BY_NAME, _ms_since(started), hits)
    query = parse(q)
    found = find_candidates(_documents_of(tools), query, wanted=limit)
    scores = dict(zip((one.tool_id for one in found), _fused(found), strict=True))
    best = sorted(scores, key=lambda pk: -scores[pk])[:limit]
    loaded = Tool.objects.select_related("server").defer(*_heavy("", "server__")).in_bulk(best)
    mode, reason = _mode(query, found)
    hits = [ToolHit(loaded[pk], round(scores[pk], 4)) for pk in best if pk in loaded]
    return ToolSearchResult(q, mode, reason, _ms_since(started), hits)


def _documents_of(tools: ToolQuerySet) -> Statement | None:
    try:
        return Statement.condition_of(SearchDocument.objects.filter(tool__in=tools.order_by().values("pk")))
    except EmptyResultSet:
        return None


def _heavy(*prefixes: str) -> list[str]:
    return [f"{prefix}{name}" for prefix in prefixes for name in SEARCH_COLUMNS]


def _fused(found: Sequence[Candidate]) -> list[float]:
    return fuse([one.bm25 for one in found], [one.cosine for one in found])


def _rank(found: list[Candidate]) -> list[_Ranked]:
    """Tools and servers are scored on one scale; a server counts as its best text, and a little for the next."""
    scores = _fused(found)
    ranked = []
    for server_id, positions in by_server(found).items():
        positions.sort(key=lambda position: -scores[position])
        best = scores[positions[0]]
        second = scores[positions[1]] if len(positions) > 1 else 0.0
        own_tools = [(tool, scores[position]) for position in positions if (tool := found[position].tool_id)]
        cosines = [cosine for position in positions if (cosine := found[position].cosine) is not None]
        score = best + BREADTH_BONUS * max(0.0, second)
        ranked.append(_Ranked(server_id, score, own_tools, max(cosines, default=None)))
    return sorted(ranked, key=lambda one: -one.score)


def _server_hits(query: Query, ranked: list[_Ranked], scope: Scope, user: Caller, limit: int) -> list[ServerHit]:
    """The best, and before them any server that is called exactly what was typed. One query for them and their
    tools."""
    typed = words_of(query.text)
    named = query.text if len(typed) <= MAX_NAME else ""
    wanted = (pk for one in ranked for pk, _ in one.tools[:MATCHED_TOOLS])
    read, tools = scope.read_servers((one.server_id for one in ranked[:limit]), named, user, wanted)
    servers = {str(server.pk): server for server in read}
    known = {one.server_id: one for one in ranked if one.server_id in servers}
    exact = [pk for pk in [*known, *servers] if servers[pk].is_called(query.text)]
    chosen = [known.get(pk) or _Ranked(pk, 0.0, [], None) for pk in dict.fromkeys([*exact, *known])][:limit]
    telling = [word for word in typed[:MAX_EXPLAINED] if query.holds(word)]
    words = [reasons.Word.of(word) for word in dict.fromkeys([*telling, *query.meant])]
    return [_server_hit(one, servers[one.server_id], tools, words) for one in chosen]


def _server_hit(one: _Ranked, server: Server, tools: Mapping[Any, ToolText], words: list[reasons.Word]) -> ServerHit:
    shown = [(tools[pk], score) for pk, score in one.tools[:MATCHED_TOOLS] if pk in tools]
    least = MATCHED_TOOL_SHARE * max((score for _, score in shown), default=0.0)
    matched = [MatchedTool(*told, round(score, 4)) for told, score in shown if score >= least]
    return ServerHit(server, round(one.score, 4), matched, reasons.why(server, matched, words, one.cosine))


def _newest(q: str, visible: ServerQuerySet, user: Caller, limit: int, started: float) -> SearchResult:
    newest = visible.with_connection_of(user).with_sources().order_by("-created_at", "-id")[:limit]
    hits = [ServerHit(server, 0.0, [], reasons.NEWEST) for server in newest]
    return SearchResult(q, "lexical", reasons.NEWEST, _ms_since(started), hits)


def _mode(query: Query, found: Sequence[Candidate]) -> tuple[Mode, str | None]:
    if query.vector is None:
        return "lexical", MODEL_OFF if is_off() else MODEL_LOADING
    if found and all(one.cosine is None for one in found):
        return "lexical", NO_EMBEDDINGS
    return "hybrid", None


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
