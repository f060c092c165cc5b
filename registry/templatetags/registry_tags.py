"""How servers and tools read on a page."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import template

from registry.models import Health, Server, Tool

register = template.Library()

HEALTH = {  # tone, words
    Health.UNTESTED: ("", "not tested"),
    Health.OK: ("ok", "works"),
    Health.NEEDS_AUTH: ("wait", "needs sign-in"),
    Health.WRONG_TRANSPORT: ("bad", "wrong transport"),
    Health.NOT_MCP: ("bad", "neither MCP nor OpenAPI"),
    Health.UNREACHABLE: ("bad", "unreachable"),
    Health.TIMEOUT: ("bad", "too slow"),
    Health.BLOCKED: ("bad", "not allowed"),
}
SOURCES = {
    "official": "Official",
    "smithery": "Smithery",
    "mcp-get": "mcp-get",
    "docker": "Docker",
    "custom": "Added here",
}
TRANSPORTS = {
    "streamable_http": "Streamable HTTP",
    "sse": "SSE",
    "stdio": "command",
    "openapi": "OpenAPI",
    "": "no address",
}
AUTH_TYPES = {
    "none": "no sign-in",
    "bearer": "bearer token",
    "api_key": "API key",
    "basic": "name and password",
    "oauth2": "OAuth",
}
MAX_ROWS = 100
MAX_TYPE_DEPTH = 4


@register.filter
def health_tone(health: str) -> str:
    return HEALTH[Health(health)][0]


@register.filter
def health_words(health: str, transport: str | None = None) -> str:
    """Of a server that is reached by `transport`; None: of any."""
    if health == Health.NOT_MCP and transport is not None:
        return f"not an {'OpenAPI document' if transport == Server.Transport.OPENAPI else 'MCP server'}"
    return HEALTH[Health(health)][1]


CHANGES = {
    Tool.Change.NEW: "new, not accepted yet",
    Tool.Change.CHANGED: "changed, not accepted yet",
    Tool.Change.HELD: "held back",
}


@register.filter
def change_words(change: str) -> str:
    return CHANGES[Tool.Change(change)]


@register.filter
def source_name(source: str) -> str:
    return SOURCES.get(source, source.replace("_", " ").capitalize())


@register.filter
def transport_name(transport: str) -> str:
    return TRANSPORTS.get(transport, transport)


@register.filter
def auth_name(auth_type: str) -> str:
    return AUTH_TYPES.get(auth_type, auth_type)


@register.filter
def initial(server: Server | str) -> str:
    return next((char for char in str(server) if char.isalnum()), "?")


@register.filter
def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


@register.filter
def pretty(text: str) -> str:
    """A text that is a JSON object or list, laid out; any other as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return as_json(json.loads(text))
    except (ValueError, RecursionError):
        return text


@register.filter
def web_address(value: str) -> str:
    """An address that may stand in a link; anything but http(s) becomes nothing."""
    return value if value.startswith(("https://", "http://")) else ""


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    required: bool
    description: str
    choices: str
    default: str


@register.filter
def parameters(schema: Any) -> list[Parameter]:
    """The rows of a tool's parameters table, whatever the server sent as its schema."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return []
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return list(_rows(schema, properties, names))[:MAX_ROWS]


def _rows(schema: dict[str, Any], properties: dict[str, Any], required: list[Any]) -> Iterator[Parameter]:
    for name, item in properties.items():
        part = item if isinstance(item, dict) else {}
        choices = part.get("enum")
        yield Parameter(
            name=name,
            type=type_words(part, schema),
            required=name in required,
            description=str(part.get("description") or part.get("title") or ""),
            choices=", ".join(map(str, choices)) if isinstance(choices, list) else "",
            default=json.dumps(part["default"], ensure_ascii=False) if "default" in part else "",
        )


def type_words(part: Any, root: dict[str, Any], depth: int = 0) -> str:
    """`text`, `list of number`, `text or nothing`: a JSON Schema's type for people."""
    if not isinstance(part, dict) or depth > MAX_TYPE_DEPTH:
        return "anything"
    if isinstance(reference := part.get("$ref"), str):
        return type_words(_definition(reference, root), root, depth + 1)
    for way in ("anyOf", "oneOf"):
        if isinstance(options := part.get(way), list):
            return " or ".join(dict.fromkeys(type_words(option, root, depth + 1) for option in options))
    kind = part.get("type")
    if isinstance(kind, list):
        return " or ".join(_TYPES.get(str(one), str(one)) for one in kind)
    if kind == "array":
        return f"list of {type_words(part.get('items'), root, depth + 1)}"
    return _TYPES.get(str(kind), "one of" if "enum" in part else "anything")


_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "yes or no",
    "object": "object",
    "null": "nothing",
    "array": "list",
}


def _definition(reference: str, root: dict[str, Any]) -> Any:
    found: Any = root
    for token in reference.removeprefix("#/").split("/"):
        found = found.get(token) if isinstance(found, dict) else None
    return found
