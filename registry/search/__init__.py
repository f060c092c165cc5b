"""Hybrid search over servers and their tools: shared words (BM25) and meaning (cosine), fused by score.

Callers see `search_servers`, `search_tools` and their results; how a score comes about is in `scoring`.
A search is a handful of bounded queries whatever the size of the registry, and says which mode answered.
"""

import time
from collections.abc import Mapping, Sequence

from django.core.exceptions import EmptyResultSet

from registry.embeddings import is_off
from registry.filters import filter_servers
from registry.models import SEARCH_COLUMNS, SearchDocument, Server, ServerQuerySet, Tool, ToolQuerySet
from registry.prepared import Statement, ask
from registry.search import reasons
from registry.search.candidates import score_candidates
from registry.search.query import Query, parse, words_of
from registry.search.results import MatchedTool, Mode, SearchResult, ServerHit, ToolHit, ToolSearchResult
from registry.search.scope import READ_SORTS, Caller, Found, Scope, read_page, scope_of
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
MATCHED_TOOL_SHARE = 0.6  # of the server's best tool's score, to be shown
MAX_NAME = 12  # words; longer ones are no server's name
MAX_EXPLAINED = 40  # words whose place in a hit is told
BEST_TOOLS = "{scored} SELECT tool_id, score, compared FROM scored ORDER BY score DESC, tool_id DESC LIMIT {limit}"

MODEL_LOADING = "The embedding model is not loaded yet: only words are compared."
MODEL_OFF = "The embedding model is switched off here: only words are compared."
NO_EMBEDDINGS = "Nothing found has an embedding yet: only words are compared."


def search_servers(q: str, *, user: Caller, filters: Mapping[str, str] | None = None, limit: int = 20) -> SearchResult:
    """The servers this user may see and the filters let through, the best first. Without words: the newest."""
    started = time.perf_counter()
    limit = max(1, min(limit, MAX_HITS))
    if not words_of(q):
        return _newest(q, filter_servers(Server.objects.visible_to(user), filters or {}, user), user, limit, started)
    query, scope = parse(q), scope_of(user, filters)
    among = scope.among(user)
    found = [] if among is None else _best(query, scope, among, user, limit)
    mode, reason = _mode(query, next((one.compared for one in found if one.compared is not None), None))
    return SearchResult(q, mode, reason, _ms_since(started), _hits(query, found[:limit]))


def _best(query: Query, scope: Scope, among: Statement, user: Caller, limit: int) -> list[Found]:
    """The best first, and before them any server that is called exactly what was typed."""
    named = query.text if len(query.words) <= MAX_NAME else ""
    scored = score_candidates(among, query, wanted=limit)
    read = scope.read_best(scored, named=named, user=user, limit=limit)
    called = {one.server.pk for one in read if one.server.is_called(query.text)}
    found = [one for one in read if one.score is not None or one.server.pk in called]
    return sorted(found, key=lambda one: (one.server.pk not in called, one.score is None, -(one.score or 0.0)))


def search_tools(q: str, *, tools: ToolQuerySet, limit: int = 20) -> ToolSearchResult:
    """The best of the given tools, each with its server loaded. Without words: by name."""
    started = time.perf_counter()
    limit = max(1, min(limit, MAX_HITS))
    if not words_of(q):
        by_name = tools.select_related("server").defer(*_heavy("", "server__"))[:limit]
        hits = [ToolHit(tool, 0.0) for tool in by_name]
        return ToolSearchResult(q, "lexical", reasons.BY_NAME, _ms_since(started), hits)
    query, among = parse(q), _documents_of(tools)
    found = [] if among is None else _best_tools(query, among, limit)
    loaded = Tool.objects.select_related("server").defer(*_heavy("", "server__")).in_bulk([pk for pk, *_ in found])
    mode, reason = _mode(query, found[0][2] if found else None)
    hits = [ToolHit(loaded[pk], round(score, 4)) for pk, score, _ in found if pk in loaded]
    return ToolSearchResult(q, mode, reason, _ms_since(started), hits)


def _best_tools(query: Query, among: Statement, limit: int) -> list[tuple[int, float, int]]:
    """Ids and scores; and how many were compared by meaning."""
    scored = score_candidates(among, query, wanted=limit)
    return ask(BEST_TOOLS.format(scored=scored.sql, limit=limit), scored.parameters)


def _documents_of(tools: ToolQuerySet) -> Statement | None:
    try:
        return Statement.condition_of(SearchDocument.objects.filter(tool__in=tools.order_by().values("pk")))
    except EmptyResultSet:
        return None


def _heavy(*prefixes: str) -> list[str]:
    return [f"{prefix}{name}" for prefix in prefixes for name in SEARCH_COLUMNS]


def _hits(query: Query, found: Sequence[Found]) -> list[ServerHit]:
    telling = [word for word in query.words[:MAX_EXPLAINED] if query.holds(word)]
    words = [reasons.Word.of(word) for word in dict.fromkeys([*telling, *query.meant])]
    return [_hit(one, words) for one in found]


def _hit(one: Found, words: list[reasons.Word]) -> ServerHit:
    least = MATCHED_TOOL_SHARE * max((score for _, _, score in one.tools), default=0.0)
    matched = [MatchedTool(name, text, round(score, 4)) for name, text, score in one.tools if score >= least]
    why = reasons.why(one.server, matched, words, one.cosine)
    return ServerHit(one.server, round(one.score or 0.0, 4), matched, why)


def _newest(q: str, visible: ServerQuerySet, user: Caller, limit: int, started: float) -> SearchResult:
    newest = visible.with_connection_of(user).with_sources().order_by("-created_at", "-id")[:limit]
    hits = [ServerHit(server, 0.0, [], reasons.NEWEST) for server in newest]
    return SearchResult(q, "lexical", reasons.NEWEST, _ms_since(started), hits)


def _mode(query: Query, compared: int | None) -> tuple[Mode, str | None]:
    """`compared`: how many texts were compared by meaning; None: nothing was found."""
    if query.vector is None:
        return "lexical", MODEL_OFF if is_off() else MODEL_LOADING
    return ("lexical", NO_EMBEDDINGS) if compared == 0 else ("hybrid", None)


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
