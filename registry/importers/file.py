"""A catalogue in a file: JSON, JSON lines or YAML, gzipped or not, in the shape of any record that is known here."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from registry.connectors import ToolDefinition
from registry.importers import fields
from registry.importers.base import (
    BadRecord,
    CatalogueError,
    CatalogueRecord,
    ImportOptions,
    RejectedRecord,
)
from registry.importers.official import read_entry
from registry.importers.packages import STARTERS, command_of
from registry.models import Server

SOURCE = "file"
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_YAML_BYTES = 20 * 1024 * 1024
MAX_TOOLS = 5_000
GZIP_MAGIC = b"\x1f\x8b"
TRANSPORTS = {"http": Server.Transport.STREAMABLE_HTTP, "sse": Server.Transport.SSE}


class FileImporter:
    name = SOURCE

    def is_complete(self, options: ImportOptions) -> bool:
        return False  # a file need not hold everything its source has

    def records(self, options: ImportOptions) -> Iterator[CatalogueRecord | RejectedRecord]:
        if not options.path:
            raise CatalogueError("Name the file to read with --path.")
        for entry in _entries(_read(Path(options.path)), options.path):
            yield read_record(entry)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == GZIP_MAGIC
        with gzip.open(path) if zipped else path.open("rb") as content:
            body = content.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogueError(f"{path} could not be read: {error}.") from error
    if len(body) > MAX_FILE_BYTES:
        raise CatalogueError(f"{path} holds more than {MAX_FILE_BYTES:,} bytes.")
    return body


def _entries(body: bytes, path: str) -> Iterator[Any]:
    """The records of a JSON or YAML document, or one a line."""
    try:
        yield from _listed(json.loads(body, parse_constant=lambda _: None))
        return
    except (ValueError, RecursionError):
        pass
    if body.lstrip()[:1] == b"{":
        yield from map(_line, body.splitlines())
        return
    if len(body) > MAX_YAML_BYTES:
        raise CatalogueError(f"{path} is neither JSON nor JSON lines, and too large for YAML.")
    try:
        _refuse_deep_yaml(body)
        yield from _listed(yaml.load(body, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CatalogueError(f"{path} is neither JSON nor YAML: {str(error).splitlines()[0]}.") from error


def _refuse_deep_yaml(body: bytes) -> None:
    """The C loader recurses without a limit of its own: deep nesting would end the process, not raise."""
    depth = 0
    for event in yaml.parse(body, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > fields.MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {fields.MAX_DEPTH} levels")


def _line(line: bytes) -> Any:
    """A line's record, or None for one that is no JSON (rejected later, with the others read)."""
    try:
        return json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _listed(document: Any) -> list[Any]:
    """The records: a list, the list in an envelope's `servers`, or the one document."""
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        listed = document.get("servers")
        return listed if isinstance(listed, list) else [document]
    raise ValueError("it holds no records")


def read_record(entry: Any) -> CatalogueRecord | RejectedRecord:
    """By its shape: flat records name their source and id, the others are server.json documents."""
    if not isinstance(entry, dict):
        return RejectedRecord("(no name)", "It is not an object.")
    if "external_id" not in entry:
        return read_entry(entry, SOURCE)
    try:
        record = fields.clean(entry)
        external_id = fields.required_text(record, "external_id", 512)
        source = fields.text(record, "source", 32) or SOURCE
        return CatalogueRecord(source, external_id, record, _flat_columns(record), tuple(_tools(record)))
    except BadRecord as reason:
        return RejectedRecord(str(entry.get("external_id"))[:200], str(reason))


def _flat_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    status = fields.text(record, "status")
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
        "status": status if status in Server.Status.values else Server.Status.ACTIVE,
        **_flat_address(record),
    }


def _flat_address(record: Mapping[str, Any]) -> dict[str, Any]:
    url = fields.web_address(record.get("remote_url"))
    place = "header" if url else "env"
    env_schema = fields.variables(record.get("env"), place)
    columns = {"url": url, "command": "", "args": [], "env_schema": env_schema, "transport": ""}
    columns["auth_type"] = fields.auth_type(env_schema)
    if url:
        transport = TRANSPORTS.get(fields.text(record, "transport"), Server.Transport.STREAMABLE_HTTP)
        return columns | {"transport": transport}
    package = fields.mapping(record.get("package"))
    if fields.text(package, "registry") not in STARTERS:
        return columns
    try:
        command, args = command_of(
            {
                "registryType": package["registry"],
                "identifier": package.get("name"),
                "version": package.get("version"),
                "environmentVariables": record.get("env"),
            }
        )
    except BadRecord:  # often a title where a package's name should be: known, but not startable
        return columns
    return columns | {"transport": Server.Transport.STDIO, "command": command, "args": args}


def _tools(record: Mapping[str, Any]) -> Iterator[ToolDefinition]:
    """The tools it lists, the first of each name."""
    seen: set[str] = set()
    for tool in fields.mappings(record.get("tools"))[:MAX_TOOLS]:
        name = fields.text(tool, "name", 512)
        if name and name not in seen:
            seen.add(name)
            title, description = fields.text(tool, "title", 512), fields.text(tool, "description")
            schema = dict(fields.mapping(tool.get("inputSchema")))
            yield ToolDefinition(name, title, description, schema, None, dict(fields.mapping(tool.get("annotations"))))
