"""The official MCP registry: pages of server.json documents behind a cursor, each with the registry's own metadata."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from registry.identity import keys_of
from registry.importers import fields
from registry.importers.base import (
    BadRecord,
    CatalogueError,
    CatalogueRecord,
    Checkpoint,
    ImportOptions,
    Item,
    RejectedRecord,
)
from registry.importers.http import CatalogueClient
from registry.importers.packages import command_of, filled_in, startable
from registry.models import Server

SOURCE = "official"
PAGE_SIZE = 100
META = "io.modelcontextprotocol.registry/official"
TRANSPORTS = {"streamable-http": Server.Transport.STREAMABLE_HTTP, "sse": Server.Transport.SSE}


class OfficialImporter:
    name = SOURCE
    is_incremental = True

    def is_complete(self, options: ImportOptions) -> bool:
        return not options.updated_since

    def records(self, options: ImportOptions) -> Iterator[Item]:
        base = options.url or settings.OFFICIAL_REGISTRY_URL
        with CatalogueClient(base, is_own=options.is_own) as client:
            for entries, cursor in _pages(client, f"{base.rstrip('/')}/v0.1/servers", options):
                for entry in entries:
                    yield read_entry(entry, SOURCE)
                yield Checkpoint(cursor)


def _pages(client: CatalogueClient, url: str, options: ImportOptions) -> Iterator[tuple[list[Any], str]]:
    """Each page's entries, and the cursor of what comes after them."""
    given = {"updated_since": options.updated_since, "cursor": options.cursor}
    params = {"limit": str(PAGE_SIZE), "version": "latest", **{name: value for name, value in given.items() if value}}
    cursors: set[str] = set()
    while True:
        answer = fields.mapping(client.get_json(url, params))
        if not isinstance(answer.get("servers"), list):
            raise CatalogueError(f"{url} does not answer like an MCP registry: it has no list of servers.")
        cursor = fields.text(fields.mapping(answer.get("metadata")), "nextCursor")
        yield answer["servers"], cursor
        if not cursor or cursor in cursors:  # a repeated cursor would never end
            return
        cursors.add(cursor)
        params["cursor"] = cursor


def read_entry(entry: Any, source: str) -> CatalogueRecord | RejectedRecord:
    """One entry of the list, `{"server": …, "_meta": …}`, or a bare server.json."""
    document = fields.mapping(entry)
    server = fields.mapping(document.get("server")) or document
    try:
        cleaned = fields.clean(document)
        name = fields.required_text(server, "name", 255)
        usable = fields.mapping(fields.clean(server))
        return CatalogueRecord(source, name, cleaned, columns_of(usable, _meta(document)), identity=_identity(usable))
    except BadRecord as reason:
        return RejectedRecord(fields.text(server, "name", 200) or "(no name)", str(reason))


def _identity(server: Mapping[str, Any]) -> tuple[str, ...]:
    repository = fields.mapping(server.get("repository"))
    packages = fields.mappings(server.get("packages"))
    return keys_of(
        urls=_same_host([fields.text(remote, "url") for remote in fields.mappings(server.get("remotes"))]),
        packages=[(fields.text(one, "registryType"), fields.text(one, "identifier")) for one in packages],
        repository=fields.text(repository, "url"),
        folder=fields.text(repository, "subfolder"),
    )


def _same_host(urls: list[str]) -> list[str]:
    """Ways to one server. Remotes on several hosts are several servers, and the record does not say which."""
    hosts = {url.split("/")[2] if url.count("/") > 1 else url for url in urls}
    return urls if len(hosts) == 1 else []


def _meta(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The registry's own words about an entry; recorded documents have them under another key."""
    meta = fields.mapping(document.get("_meta"))
    return fields.mapping(meta.get(META)) or fields.mapping(next(iter(meta.values()), {}))


def columns_of(server: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of Server that a server.json speaks of."""
    status = fields.text(meta, "status") or fields.text(server, "status")
    icons = fields.mappings(server.get("icons"))
    return {
        "name": fields.required_text(server, "name", 255),
        "title": fields.text(server, "title", 255),
        "description": fields.text(server, "description"),
        "version": fields.text(server, "version", 255),
        "homepage": fields.web_address(server.get("websiteUrl")),
        "repository": fields.web_address(fields.mapping(server.get("repository")).get("url")),
        "icon_url": fields.web_address(icons[0].get("src")) if icons else "",
        **({"status": status} if status in Server.Status.values else {}),
        **_address(server),
    }


def _address(server: Mapping[str, Any]) -> dict[str, Any]:
    """Where it is reached: its remote where it has one, else the command that starts its package."""
    remotes = [one for one in fields.mappings(server.get("remotes")) if fields.text(one, "type") in TRANSPORTS]
    if remotes:
        return _remote_address(min(remotes, key=lambda one: list(TRANSPORTS).index(fields.text(one, "type"))))
    if package := startable(server.get("packages")):
        return _package_address(package)
    return _columns("", [])


def _remote_address(remote: Mapping[str, Any]) -> dict[str, Any]:
    url = filled_in(fields.text(remote, "url"), fields.mapping(remote.get("variables")))
    if not fields.web_address(url):
        raise BadRecord(f"Its remote has an impossible address: {url[:100]!r}.")
    env_schema = fields.variables(remote.get("headers"), "header")
    return {**_columns(TRANSPORTS[fields.text(remote, "type")], env_schema), "url": url}


def _package_address(package: Mapping[str, Any]) -> dict[str, Any]:
    command, args = command_of(package)
    env_schema = fields.variables(package.get("environmentVariables"), "env")
    return {**_columns(Server.Transport.STDIO, env_schema), "command": command, "args": args}


def _columns(transport: str, env_schema: list[dict[str, Any]]) -> dict[str, Any]:
    auth_type = fields.auth_type(env_schema)
    empty = {"url": "", "command": "", "args": []}
    return {"transport": transport, "env_schema": env_schema, "auth_type": auth_type, **empty}
