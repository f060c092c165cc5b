"""Smithery: numbered pages of short entries, then each server's own page for its tools."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

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
    NotThere,
    RejectedRecord,
)
from registry.importers.http import CatalogueClient
from registry.models import Server

SOURCE = "smithery"
PAGE_SIZE = 100
PARALLEL_REQUESTS = 8
MAX_PAGES = 10_000
CHANGING = ("useCount", "verified", "createdAt", "score", "isDeployed", "id")  # of the short entry; no news of a server


class SmitheryImporter:
    name = SOURCE
    is_incremental = False

    def is_complete(self, options: ImportOptions) -> bool:
        return True

    def records(self, options: ImportOptions) -> Iterator[Item]:
        base = (options.url or settings.SMITHERY_URL).rstrip("/")
        key = options.api_key or settings.SMITHERY_API_KEY
        headers = {"Authorization": f"Bearer {key}"} if key else None
        with (
            CatalogueClient(base, is_own=options.is_own, headers=headers) as client,
            ThreadPoolExecutor(PARALLEL_REQUESTS) as threads,
        ):
            for entries, checkpoint in _pages(client, f"{base}/servers", options.cursor):
                yield from threads.map(lambda entry: _server(client, base, entry), entries)
                yield checkpoint


def _pages(client: CatalogueClient, url: str, cursor: str) -> Iterator[tuple[list[Any], Checkpoint]]:
    page = int(cursor) if cursor.isdecimal() else 1
    while page <= MAX_PAGES:
        answer = fields.mapping(client.get_json(url, {"page": str(page), "pageSize": str(PAGE_SIZE)}))
        entries = answer.get("servers")
        if not isinstance(entries, list):
            raise CatalogueError(f"{url} does not answer like Smithery: it has no list of servers.")
        pager = fields.mapping(answer.get("pagination"))
        last, total = pager.get("totalPages"), pager.get("totalCount")
        is_last = not entries or not isinstance(last, int) or page >= last  # the pager goes on for ever
        page += 1
        yield entries, Checkpoint("" if is_last else str(page), total if isinstance(total, int) else None)
        if is_last:
            return


def _server(client: CatalogueClient, base: str, entry: Any) -> Item:
    short = {name: value for name, value in fields.mapping(entry).items() if name not in CHANGING}
    name = fields.text(short, "qualifiedName", 512)
    if not name:
        return RejectedRecord("(no name)", "It has no qualifiedName.")
    try:
        detail = client.get_json(f"{base}/servers/{quote(name, safe='@/')}")
    except NotThere:
        return RejectedRecord(name, "It is listed, but has no page of its own.")
    if not isinstance(detail, dict):
        return RejectedRecord(name, "Its page is not an object.")
    return read_server({**short, **detail}, SOURCE)


def read_server(entry: Mapping[str, Any], source: str) -> CatalogueRecord | RejectedRecord:
    """A server's page, perhaps with what the list says of it."""
    try:
        record = fields.mapping(fields.clean(entry))
        name = fields.required_text(record, "qualifiedName", 255)
        columns = _columns(record, name)
        tools = fields.tools(record.get("tools"))
        return CatalogueRecord(source, name, record, columns, tools, identity=keys_of(urls=[columns["url"]]))
    except BadRecord as reason:
        return RejectedRecord(fields.text(entry, "qualifiedName", 200) or "(no name)", str(reason))


def _columns(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": fields.text(record, "displayName", 255),
        "description": fields.text(record, "description"),
        "homepage": fields.web_address(record.get("homepage")),
        "icon_url": fields.web_address(record.get("iconUrl")),
        **_address(record),
    }


def _address(record: Mapping[str, Any]) -> dict[str, Any]:
    """Where it is deployed. What is only a bundle to download has no address."""
    ways = fields.mappings(record.get("connections"))
    deployed = [way for way in ways if fields.web_address(way.get("deploymentUrl"))]
    way = next(iter(deployed or ways), {})
    env_schema = fields.schema_variables(way.get("configSchema"), "header" if deployed else "env")
    url = fields.web_address(way.get("deploymentUrl"))
    transport = Server.Transport.SSE if fields.text(way, "type") == "sse" else Server.Transport.STREAMABLE_HTTP
    return {
        "transport": transport if url else "",
        "url": url,
        "command": "",
        "args": [],
        "env_schema": env_schema,
        "auth_type": fields.auth_type(env_schema),
    }
