"""mcp-get: a folder of a git repository, one file a package, read through the host's contents API."""

import json
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
from registry.importers.packages import command_of
from registry.models import Server

SOURCE = "mcp-get"
INDEX = "package-list.json"  # an older form of all the files together
REGISTRIES = {"node": "npm", "python": "pypi"}


class McpGetImporter:
    name = SOURCE
    is_incremental = False

    def is_complete(self, options: ImportOptions) -> bool:
        return True

    def records(self, options: ImportOptions) -> Iterator[Item]:
        url = f"{(options.url or settings.MCP_GET_URL).rstrip('/')}/packages"
        with CatalogueClient(url, is_own=options.is_own) as client:
            files = _files(client.get_json(url), url)
            for name, address in files.items():
                if name > options.cursor:
                    yield _read_file(client, name, address)
                    yield Checkpoint(name, len(files))


def _files(listing: Any, url: str) -> dict[str, str]:
    """Download addresses by file name, in the order of names."""
    if not isinstance(listing, list):
        raise CatalogueError(f"{url} does not answer like a folder of a repository: it is no list of files.")
    files = {
        fields.text(entry, "name"): fields.web_address(entry.get("download_url"))
        for entry in fields.mappings(listing)
        if fields.text(entry, "type") == "file"
    }
    wanted = (name for name, address in files.items() if name.endswith(".json") and name != INDEX and address)
    return {name: files[name] for name in sorted(wanted)}


def _read_file(client: CatalogueClient, name: str, address: str) -> Item:
    try:
        entry = json.loads(client.get(address))
    except (ValueError, RecursionError):
        return RejectedRecord(name, "Its file is not JSON.")
    if not isinstance(entry, dict):
        return RejectedRecord(name, "Its file does not describe one package.")
    return read_package(entry, SOURCE)


def read_package(entry: Mapping[str, Any], source: str) -> CatalogueRecord | RejectedRecord:
    try:
        record = fields.mapping(fields.clean(entry))
        name = fields.required_text(record, "name", 255)
        return CatalogueRecord(source, name, record, _columns(record, name), identity=_identity(record, name))
    except BadRecord as reason:
        return RejectedRecord(fields.text(entry, "name", 200) or "(no name)", str(reason))


def _identity(record: Mapping[str, Any], name: str) -> tuple[str, ...]:
    registry = REGISTRIES.get(fields.text(record, "runtime"), "")
    return keys_of(packages=[(registry, name)], repository=fields.text(record, "sourceUrl"))


def _columns(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    described = fields.mapping(record.get("environmentVariables"))
    entries = [{**fields.mapping(entry), "name": variable} for variable, entry in described.items()]
    env_schema = fields.variables(entries, "env")
    return {
        "name": name,
        "description": fields.text(record, "description"),
        "version": fields.text(record, "version", 255),
        "homepage": fields.web_address(record.get("homepage")),
        "repository": fields.web_address(record.get("sourceUrl")),
        "license": fields.text(record, "license", 255),
        "url": "",
        "env_schema": env_schema,
        "auth_type": fields.auth_type(env_schema),
        **_command(record, name, entries),
    }


def _command(record: Mapping[str, Any], name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    registry = REGISTRIES.get(fields.text(record, "runtime"))
    if registry is None:
        return {"transport": "", "command": "", "args": []}
    command, args = command_of(
        {
            "registryType": registry,
            "identifier": name,
            "version": record.get("version"),
            "environmentVariables": entries,
        }
    )
    return {"transport": Server.Transport.STDIO, "command": command, "args": args}
