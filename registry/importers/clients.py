"""A client's `mcp.json` in its dialects: Claude and Cursor (`mcpServers`), VS Code (`servers` and `inputs`).

What stands there as an environment value or a header is somebody's secret as often as not, and so may be what stands
in an address or among arguments: it becomes the record's `credentials`, which no import stores, and is asked for. Of a
reference like `${input:key}` the name is kept.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from registry.identity import keys_of
from registry.importers import fields
from registry.importers.base import BadRecord, CatalogueRecord, RejectedRecord
from registry.models import Server
from registry.secrets import places, taken_from_args, taken_from_url

ENVELOPES = ("mcpServers", "servers", "context_servers")
ADDRESSES = ("url", "serverUrl", "httpUrl")
STARTERS = {
    "npx": "npm",
    "bunx": "npm",
    "uvx": "pypi",
    "pipx": "pypi",
    "docker": "oci",
    "podman": "oci",
    "dnx": "nuget",
}
_REFERENCE = re.compile(r"\$\{(?:(?:input|env):)?([\w.\-]+)\}")
_VALUE_OPTIONS = {"-e", "--env", "-v", "--volume", "--name", "-p", "--network", "--mount", "--platform", "-u", "--user"}


def servers_of(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The servers of a client's file by name, or None for what is no such file."""
    settings = fields.mapping(document.get("mcp"))  # VS Code's settings.json has them one deeper
    for holder in (document, settings):
        for name in ENVELOPES:
            if isinstance(holder.get(name), dict):
                return dict(holder[name])
    if document and all(isinstance(entry, dict) and _is_entry(entry) for entry in document.values()):
        return dict(document)
    return None


def _is_entry(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("command"), str) or any(isinstance(entry.get(name), str) for name in ADDRESSES)


def read_client(document: Mapping[str, Any], source: str) -> Iterator[CatalogueRecord | RejectedRecord]:
    inputs = document.get("inputs") or fields.mapping(document.get("mcp")).get("inputs")
    asked = {fields.text(one, "id"): one for one in fields.mappings(inputs)}
    for name, entry in (servers_of(document) or {}).items():
        try:
            yield _read(str(name), fields.mapping(fields.clean(entry)), asked, source)
        except BadRecord as reason:
            yield RejectedRecord(str(name)[:200], str(reason))


def _read(name: str, entry: Mapping[str, Any], asked: Mapping[str, Any], source: str) -> CatalogueRecord:
    fields.required_text({"name": name}, "name", 255)
    columns, taken = _remote(entry) if _url(entry) else _command(entry)
    place = "header" if columns["url"] else "env"
    given = fields.mapping(entry.get("headers" if columns["url"] else "env"))
    named = places([columns["url"], *columns["args"]]) - given.keys()
    inside = fields.variables([_variable(key, None, asked) | {"secret": True} for key in sorted(named)], "address")
    env_schema = [*fields.variables([_variable(key, value, asked) for key, value in given.items()], place), *inside]
    columns |= {"name": name, "env_schema": env_schema, "auth_type": fields.auth_type(env_schema)}
    values = {key: value for key, value in given.items() if isinstance(value, str) and not _REFERENCE.search(value)}
    return CatalogueRecord(
        source=source,
        external_id=f"{name}#{_digest(columns)}",
        data={key: columns[key] for key in ("name", "transport", "url", "command", "args", "env_schema")},
        columns=columns,
        identity=_identity(columns),
        credentials=taken | values,
    )


def _url(entry: Mapping[str, Any]) -> str:
    return next((fields.text(entry, name) for name in ADDRESSES if entry.get(name)), "")


def _remote(entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The columns, and the secrets that stood in the address."""
    shown, taken = taken_from_url(_named(_url(entry)))
    url = fields.web_address(shown)
    if not url:
        raise BadRecord(f"It has an impossible address: {shown.partition('?')[0].rpartition('@')[2][:100]!r}.")
    is_sse = fields.text(entry, "type") == "sse" or urlsplit(url).path.rstrip("/").endswith("/sse")
    transport = Server.Transport.SSE if is_sse else Server.Transport.STREAMABLE_HTTP
    return {"transport": transport, "url": url, "command": "", "args": []}, taken


def _command(entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The columns, and the secrets that stood among the arguments."""
    command = fields.text(entry, "command", 2_000)
    if not command:
        raise BadRecord("It has neither a command nor a url.")
    given = entry.get("args")
    shown, taken = taken_from_args([_named(str(part)) for part in given] if isinstance(given, list) else [])
    return {"transport": Server.Transport.STDIO, "url": "", "command": command, "args": shown}, taken


def _named(text: str) -> str:
    """`{name}` for each reference."""
    return _REFERENCE.sub(r"{\1}", text)


def _variable(name: str, value: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    reference = _REFERENCE.search(value) if isinstance(value, str) else None
    described = fields.mapping(asked.get(reference[1])) if reference else {}
    password = described.get("password")
    return {
        "name": name,
        "description": fields.text(described, "description", 1_000),
        "required": True,
        "secret": password if isinstance(password, bool) else None,
    }


def _digest(columns: Mapping[str, Any]) -> str:
    """Names are short and common: two people's `github` need not be one."""
    address = json.dumps([columns["url"], columns["command"], columns["args"]])
    return hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()[:12]


def _identity(columns: Mapping[str, Any]) -> tuple[str, ...]:
    registry = STARTERS.get(columns["command"].rpartition("/")[2].removesuffix(".cmd").removesuffix(".exe"), "")
    return keys_of(urls=[columns["url"]], packages=[(registry, package_of(registry, columns["args"]))])


def package_of(registry: str, args: list[str]) -> str:
    """The package that a starter's arguments name, without its version."""
    if registry == "oci" and args[:1] != ["run"]:
        return ""
    words, takes_value = [], False
    for part in args[1:] if registry == "oci" else args:
        if not takes_value and not part.startswith("-"):
            words.append(part)
        takes_value = part in _VALUE_OPTIONS if registry == "oci" else False
        if registry == "pypi" and part == "--from":
            words.clear()
    name = next((word for word in words if word != "run"), "")
    return name if registry == "oci" else re.sub(r"(==|\[|(?<=.)@).*$", "", name)
