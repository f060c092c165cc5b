"""Our servers as entries of an MCP registry: a server.json document and what we know about it.

A server that came with a document of its own (from the official registry, or from a file in its shape) keeps its name,
version, remotes, packages and repository as they were said. The others are described from their columns and are named
`local.mcp-registry/SLUG`. A server without a description is described by its title, one without a version is 0.0.0.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from registry.importers.fields import mapping, mappings, text
from registry.models import Server, SourceRecord
from registry.packages import package_of
from registry.secrets import without_secrets

NAMESPACE = "local.mcp-registry"
META = f"{NAMESPACE}/registry"
OFFICIAL_META = "io.modelcontextprotocol.registry/official"
NAMING_SOURCES = ("official", "file")  # the first is believed most
NAME = re.compile(r"[A-Za-z0-9.-]+/[A-Za-z0-9._-]+")
MAX_DESCRIPTION_CHARACTERS = 100
NO_VERSION = "0.0.0"
REMOTE_TYPES = {Server.Transport.STREAMABLE_HTTP: "streamable-http", Server.Transport.SSE: "sse"}
KEPT = ("title", "websiteUrl", "icons", "repository", "remotes", "packages")


def entry_of(server: Server, records: Iterable[SourceRecord]) -> dict[str, Any]:
    """`{"server": document, "_meta": {…}}`; `records` are the server's, of NAMING_SOURCES."""
    record = naming(records)
    return {"server": _document(server, record), "_meta": _meta(server, record)}


def naming(records: Iterable[SourceRecord]) -> SourceRecord | None:
    """The record that names its server, a removed one too: a name is for ever."""
    usable = [one for one in records if NAME.fullmatch(one.external_id)]
    return min(usable, key=_order, default=None)


def _order(record: SourceRecord) -> tuple[bool, int, str]:
    return record.removed_at is not None, NAMING_SOURCES.index(record.source), record.external_id


def own_slug(name: str) -> str:
    """The slug in a name of our namespace, else empty."""
    namespace, _, slug = name.partition("/")
    return slug if namespace == NAMESPACE else ""


def _document(server: Server, record: SourceRecord | None) -> dict[str, Any]:
    said = _said(record)
    kept = {name: said[name] for name in KEPT if said.get(name)} if said else _described(server)
    return {
        "name": record.external_id if record else f"{NAMESPACE}/{server.slug}",
        "description": _short(_first(text(said, "description"), server.description, server.title, server.name)),
        "version": _first(text(said, "version", 255), server.version, NO_VERSION),
        **kept,
    }


def _said(record: SourceRecord | None) -> Mapping[str, Any]:
    data = mapping(record.data) if record and record.removed_at is None else {}
    return mapping(data.get("server")) or data


def _described(server: Server) -> dict[str, Any]:
    """The optional parts of a document, from the columns."""
    package = package_of(server.command, server.args, _variables(server, "env")) if server.command else None
    parts = {
        "title": server.title,
        "websiteUrl": server.homepage,
        "icons": [{"src": server.icon_url}] if server.icon_url else [],
        "repository": _repository(server.repository),
        "remotes": _remotes(server),
        "packages": [package] if package else [],
    }
    return {name: part for name, part in parts.items() if part}


def _repository(url: str) -> dict[str, str]:
    host = re.match(r"https?://(?:www\.)?(github|gitlab)\.com/", url)
    return {"url": url, **({"source": host[1]} if host else {})} if url else {}


def _remotes(server: Server) -> list[dict[str, Any]]:
    if server.transport not in REMOTE_TYPES:
        return []
    headers = _variables(server, "header")
    remote: dict[str, Any] = {"type": REMOTE_TYPES[Server.Transport(server.transport)]}
    return [{**remote, "url": without_secrets(server.url), **({"headers": headers} if headers else {})}]


def _variables(server: Server, place: str) -> list[dict[str, Any]]:
    """The headers or environment variables it asks for, without any value of somebody's."""
    return [_variable(one) for one in mappings(server.env_schema) if one.get("in", place) == place and one.get("name")]


def _variable(asked: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: asked[name] for name in ("description", "default", "choices", "value") if asked.get(name)}
    return {
        "name": asked["name"],
        "isRequired": bool(asked.get("required")),
        "isSecret": bool(asked.get("secret")),
        **said,
    }


def _meta(server: Server, record: SourceRecord | None) -> dict[str, Any]:
    data = mapping(record.data) if record else {}
    official = mapping(mapping(data.get("_meta")).get(OFFICIAL_META))
    ours = {
        "status": server.status,
        "publishedAt": text(official, "publishedAt") or server.created_at.isoformat(),
        "updatedAt": server.updated_at.isoformat(),
        "isLatest": True,  # of each server we keep the newest version only
        "id": str(server.pk),
        "verified": server.verified,
        "health": server.health,
        "toolCount": server.tool_count,
        "tags": server.tags,
    }
    return {META: ours, **({OFFICIAL_META: {**official, "isLatest": True}} if official else {})}


def _first(*texts: str) -> str:
    """That says anything."""
    return next((text.strip() for text in texts if text.strip()), "")


def _short(description: str) -> str:
    words = " ".join(description.split())
    if len(words) <= MAX_DESCRIPTION_CHARACTERS:
        return words
    return f"{words[: MAX_DESCRIPTION_CHARACTERS - 1].rstrip()}…"
