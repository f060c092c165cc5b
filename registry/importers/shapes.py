"""What somebody wrote down about servers, by its shape: a record of any catalogue, `server.json`, a client's file."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from registry.identity import keys_of
from registry.importers import fields
from registry.importers.base import BadRecord, CatalogueRecord, RejectedRecord
from registry.importers.clients import read_client, servers_of
from registry.importers.docker import read_image
from registry.importers.mcp_get import read_package
from registry.importers.official import read_entry
from registry.importers.packages import STARTERS, command_of
from registry.importers.smithery import read_server
from registry.importers.yaml import BadYaml, parse
from registry.models import Server

SOURCE = "file"
MAX_PASTED_CHARACTERS = 1_000_000
TRANSPORTS = {"http": Server.Transport.STREAMABLE_HTTP, "sse": Server.Transport.SSE}
REGISTRIES = {"docker": "oci"}
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|,(?=\s*[}\]])', re.S)

Read = CatalogueRecord | RejectedRecord


def read_pasted(text: str) -> list[CatalogueRecord]:
    """The servers in pasted JSON (comments allowed) or YAML, none where it holds none. Raises BadRecord with the
    reason where it seems to hold some and nothing of it can be used."""
    if len(text) > MAX_PASTED_CHARACTERS:
        raise BadRecord("This is too long to be pasted: import it as a file.")
    found = list(read_document(_parsed(text)))
    records = [one for one in found if isinstance(one, CatalogueRecord)]
    if found and not records:
        raise BadRecord(next(one.reason for one in found if isinstance(one, RejectedRecord)))
    return records


def _parsed(text: str) -> Any:
    """None where it is neither JSON, nor a part of a JSON object, nor YAML."""
    plain = _STRING_OR_COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else "", text).strip()
    if not plain:
        return None
    for candidate in (plain, f"{{{plain.rstrip(',')}}}"):
        try:
            return json.loads(candidate, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            continue
    try:
        return parse(text.encode("utf-8", "replace"))
    except BadYaml:
        return None


def read_document(document: Any) -> Iterator[Read]:
    """Every server of a list, an envelope, a client's file, Docker's catalogue, or of one record."""
    if isinstance(document, list):
        for entry in document:
            yield read_record(entry)
    elif isinstance(document, dict):
        yield from _read_object(document)


def _read_object(document: dict[str, Any]) -> Iterator[Read]:
    if isinstance(document.get("servers"), list):
        yield from map(read_record, document["servers"])
    elif isinstance(document.get("registry"), dict) and all(map(_is_image, document["registry"].values())):
        for name, entry in document["registry"].items():
            yield read_image(str(name), entry, SOURCE)
    elif _is_record(document):
        yield read_record(document)
    elif servers_of(document) is not None:
        yield from read_client(document, SOURCE)
    else:
        yield read_record(document)


def _is_image(entry: Any) -> bool:
    return isinstance(entry, dict) and bool(entry.keys() & {"image", "remote", "metadata", "type"})


def _is_record(document: Mapping[str, Any]) -> bool:
    """Does it name one server?"""
    names = ("external_id", "qualifiedName", "name")
    return any(isinstance(document.get(name), str) for name in names) or "server" in document


def read_record(entry: Any) -> Read:
    """One record. Flat ones name their source and id."""
    if not isinstance(entry, dict):
        return RejectedRecord("(no name)", "It is not an object.")
    if "external_id" in entry:
        return _read_flat(entry)
    if "qualifiedName" in entry:
        return read_server(entry, SOURCE)
    if isinstance(entry.get("content"), str) and "path" in entry:
        return _read_file_record(entry)
    if "server" not in entry and ("sourceUrl" in entry or isinstance(entry.get("environmentVariables"), dict)):
        return read_package(entry, SOURCE)
    if "server" not in entry and ("image" in entry or "remote" in entry) and "name" in entry:
        return read_image(str(entry["name"]), entry, SOURCE)
    return read_entry(entry, SOURCE)


def _read_file_record(entry: Mapping[str, Any]) -> Read:
    """A file of a repository as it was recorded: its path, and its content as text."""
    try:
        content = json.loads(entry["content"])
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return RejectedRecord(fields.text(entry, "path", 200), "Its file does not describe one package.")
    return read_package(content, SOURCE)


def _read_flat(entry: Mapping[str, Any]) -> Read:
    try:
        record = fields.mapping(fields.clean(entry))
        external_id = fields.required_text(record, "external_id", 512)
        source = fields.text(record, "source", 32) or SOURCE
        if source == "custom":
            raise BadRecord("Its source is the name of what people add themselves.")
        tools = fields.tools(record.get("tools"))
        return CatalogueRecord(source, external_id, record, _flat_columns(record), tools, _flat_identity(record))
    except BadRecord as reason:
        return RejectedRecord(str(entry.get("external_id"))[:200], str(reason))


def _flat_identity(record: Mapping[str, Any]) -> tuple[str, ...]:
    package = fields.mapping(record.get("package"))
    return keys_of(
        urls=[fields.text(record, "remote_url")],
        packages=[(fields.text(package, "registry"), fields.text(package, "name"))],
        repository=fields.text(record, "repository"),
    )


def _flat_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    status = fields.text(record, "status")
    stated = {"status": status} if status in Server.Status.values else {}
    return {
        "name": fields.required_text(record, "name", 255),
        "title": fields.text(record, "title", 255),
        "description": fields.text(record, "description"),
        "version": fields.text(record, "version", 255),
        "homepage": fields.web_address(record.get("homepage")),
        "repository": fields.web_address(record.get("repository")),
        "license": fields.text(record, "license", 255),
        "icon_url": fields.web_address(record.get("icon")),
        "tags": fields.tags(record.get("tags")),
        **stated,
        **_flat_address(record),
    }


def _flat_address(record: Mapping[str, Any]) -> dict[str, Any]:
    url = fields.web_address(record.get("remote_url"))
    env_schema = fields.variables(record.get("env"), "header" if url else "env")
    columns = {"url": url, "command": "", "args": [], "env_schema": env_schema, "transport": ""}
    columns["auth_type"] = fields.auth_type(env_schema)
    if url:
        transport = TRANSPORTS.get(fields.text(record, "transport"), Server.Transport.STREAMABLE_HTTP)
        return columns | {"transport": transport}
    package = fields.mapping(record.get("package"))
    registry = fields.text(package, "registry")
    if REGISTRIES.get(registry, registry) not in STARTERS:
        return columns
    try:
        command, args = command_of(
            {
                "registryType": REGISTRIES.get(registry, registry),
                "identifier": package.get("name"),
                "version": package.get("version"),
                "environmentVariables": record.get("env"),
            }
        )
    except BadRecord:  # often a title where a package's name should be: known, but not startable
        return columns
    return columns | {"transport": Server.Transport.STDIO, "command": command, "args": args}
