"""Docker's catalogue: one YAML file of container images and remote servers, well tagged."""

import re
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
from registry.importers.yaml import BadYaml, parse
from registry.models import Server

SOURCE = "docker"
TRANSPORTS = {"sse": Server.Transport.SSE}
_REFERENCE = re.compile(r"\$\{(\w+)\}")


class DockerImporter:
    name = SOURCE
    is_incremental = False

    def is_complete(self, options: ImportOptions) -> bool:
        return True

    def records(self, options: ImportOptions) -> Iterator[Item]:
        url = options.url or settings.DOCKER_CATALOG_URL
        with CatalogueClient(url, is_own=options.is_own) as client:
            body = client.get(url)
        try:
            document = parse(body)
        except BadYaml as error:
            raise CatalogueError(f"{url} cannot be read as YAML: {error}.") from error
        entries = fields.mapping(document).get("registry")
        if not isinstance(entries, dict):
            raise CatalogueError(f"{url} is not like Docker's catalogue: it has no registry.")
        yield Checkpoint(total=len(entries))
        for name, entry in entries.items():
            yield read_image(str(name), entry, SOURCE)


def read_image(name: str, entry: Any, source: str) -> CatalogueRecord | RejectedRecord:
    if not isinstance(entry, dict):
        return RejectedRecord(name[:200], "It is not an object.")
    try:
        record = {**fields.clean(entry), "name": name}
        fields.required_text(record, "name", 255)
        record["tools"] = [_with_schema(tool) for tool in fields.mappings(record.get("tools"))]
        tools = fields.tools(record["tools"])
        return CatalogueRecord(source, name, record, _columns(record), tools, identity=_identity(record))
    except BadRecord as reason:
        return RejectedRecord(name[:200], str(reason))


def _with_schema(tool: dict[str, Any]) -> dict[str, Any]:
    """Arguments, where it lists them, as the JSON Schema they stand for."""
    described = {
        fields.text(one, "name", 255): {
            "type": fields.text(one, "type", 32) or "string",
            "description": fields.text(one, "desc") or fields.text(one, "description"),
        }
        for one in fields.mappings(tool.get("arguments"))
    }
    return {**tool, "inputSchema": {"type": "object", "properties": described}} if described else tool


def _identity(record: Mapping[str, Any]) -> tuple[str, ...]:
    remote = fields.mapping(record.get("remote"))
    return keys_of(
        urls=[fields.text(remote, "url")],
        packages=[("oci", fields.text(record, "image"))],
        repository=fields.text(record, "source"),
    )


def _columns(record: Mapping[str, Any]) -> dict[str, Any]:
    metadata = fields.mapping(record.get("metadata"))
    tags = metadata.get("tags")
    return {
        "name": record["name"],
        "title": fields.text(record, "title", 255),
        "description": fields.text(record, "description"),
        "repository": fields.web_address(record.get("source")),
        "icon_url": fields.web_address(record.get("icon")),
        "tags": fields.tags([metadata.get("category"), *(tags if isinstance(tags, list) else [])]),
        **(_remote(record) if record.get("remote") else _container(record)),
    }


def _remote(record: Mapping[str, Any]) -> dict[str, Any]:
    remote = fields.mapping(record.get("remote"))
    url = fields.web_address(remote.get("url"))
    if not url:
        raise BadRecord(f"Its remote has an impossible address: {fields.text(remote, 'url', 100)!r}.")
    headers = [
        {"name": name, "value": _REFERENCE.sub(r"{\1}", str(value)), "required": True}
        for name, value in fields.mapping(remote.get("headers")).items()
    ]
    env_schema = fields.variables(headers, "header")
    auth_type = fields.auth_type(env_schema)
    if auth_type == Server.AuthType.NONE and record.get("oauth"):
        auth_type = Server.AuthType.OAUTH2
    transport = TRANSPORTS.get(fields.text(remote, "transport_type"), Server.Transport.STREAMABLE_HTTP)
    address = {"transport": transport, "url": url, "command": "", "args": []}
    return {**address, "env_schema": env_schema, "auth_type": auth_type}


def _container(record: Mapping[str, Any]) -> dict[str, Any]:
    secrets = [{**one, "name": one.get("env"), "secret": True} for one in fields.mappings(record.get("secrets"))]
    plain = [{"name": one.get("name"), "secret": False} for one in fields.mappings(record.get("env"))]
    env_schema = fields.variables([*secrets, *plain], "env")
    address: dict[str, Any] = {"transport": "", "url": "", "command": "", "args": []}
    image = fields.text(record, "image")
    if image:
        package = {"registryType": "oci", "identifier": image, "environmentVariables": [*secrets, *plain]}
        command, args = command_of(package)
        extra = [str(part) for part in record.get("command") or []] if isinstance(record.get("command"), list) else []
        address |= {"transport": Server.Transport.STDIO, "command": command, "args": [*args, *extra]}
    return {**address, "env_schema": env_schema, "auth_type": fields.auth_type(env_schema)}
