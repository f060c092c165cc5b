"""Reading fields of a record that somebody else wrote: the right type and length, or nothing, or a reason."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from registry.connectors import ToolDefinition
from registry.embeddings import storable
from registry.importers.base import BadRecord
from registry.models import Server
from registry.secrets import is_secret

MAX_DEPTH = 60
MAX_DESCRIPTION_CHARACTERS = 20_000
MAX_TAGS = 30
MAX_VARIABLES = 100
MAX_TOOLS = 5_000


def text(record: Mapping[str, Any], name: str, limit: int = MAX_DESCRIPTION_CHARACTERS) -> str:
    """A text field, empty where it is missing or something else."""
    value = record.get(name)
    return value.strip()[:limit] if isinstance(value, str) else ""


def required_text(record: Mapping[str, Any], name: str, limit: int) -> str:
    value = text(record, name)
    if not value:
        raise BadRecord(f"It has no {name}.")
    if len(value) > limit:
        raise BadRecord(f"Its {name} is longer than {limit} characters.")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def web_address(value: Any) -> str:
    """An http(s) address with a host and no password in it, else empty."""
    if not isinstance(value, str):
        return ""
    try:
        parts = urlsplit(value.strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
    except ValueError:
        return ""
    return value.strip() if usable else ""


def tags(value: Any) -> list[str]:
    """Lower-case, without doubles, in order."""
    items = value if isinstance(value, list) else []
    names = [" ".join(item.lower().split())[:64] for item in items if isinstance(item, str)]
    return list(dict.fromkeys(name for name in names if name))[:MAX_TAGS]


def variable(entry: Mapping[str, Any], place: str) -> dict[str, Any]:
    """An entry of env_schema: what to ask a user for. `in` is env or header."""
    name = text(entry, "name", 255)
    stated = entry.get("isSecret", entry.get("secret"))
    described = {
        "name": name,
        "description": text(entry, "description", 1_000),
        "required": bool(entry.get("isRequired", entry.get("required"))),
        "secret": stated if isinstance(stated, bool) else is_secret(name),
        "in": place,
    }
    for optional in ("default", "value", "choices"):
        if entry.get(optional) not in (None, "", []):
            described[optional] = entry[optional]
    return described


def variables(entries: Any, place: str) -> list[dict[str, Any]]:
    described = [variable(entry, place) for entry in mappings(entries)[:MAX_VARIABLES]]
    return [entry for entry in described if entry["name"]]


def schema_variables(schema: Any, place: str) -> list[dict[str, Any]]:
    """The properties of a JSON Schema as variables to ask for."""
    described = mapping(schema)
    needed = described.get("required")
    entries = [
        {**mapping(node), "name": name, "required": isinstance(needed, list) and name in needed}
        for name, node in mapping(described.get("properties")).items()
    ]
    return variables([{**entry, "choices": entry.get("enum")} for entry in entries], place)


def tools(value: Any) -> tuple[ToolDefinition, ...]:
    """The tools a record lists in MCP's own shape, the first of each name."""
    found: dict[str, ToolDefinition] = {}
    for tool in mappings(value)[:MAX_TOOLS]:
        name = text(tool, "name", 512)
        if name and name not in found:
            found[name] = _tool(name, tool)
    return tuple(found.values())


def _tool(name: str, tool: Mapping[str, Any]) -> ToolDefinition:
    output = mapping(tool.get("outputSchema"))
    return ToolDefinition(
        name=name,
        title=text(tool, "title", 512),
        description=text(tool, "description"),
        input_schema=dict(mapping(tool.get("inputSchema"))),
        output_schema=dict(output) if output else None,
        annotations=dict(mapping(tool.get("annotations"))),
    )


def auth_type(env_schema: Iterable[Mapping[str, Any]]) -> str:
    """Catalogues have no field for it: a secret header or variable tells."""
    secrets = [entry for entry in env_schema if entry["secret"]]
    authorization = [entry for entry in secrets if entry["name"].lower() == "authorization"]
    if authorization:
        says = f"{authorization[0].get('value', '')} {authorization[0]['description']}".lower()
        return Server.AuthType.BASIC if "basic " in says else Server.AuthType.BEARER
    return Server.AuthType.API_KEY if secrets else Server.AuthType.NONE


def clean(value: Any, depth: int = 0) -> Any:
    """The same JSON as Postgres can store it."""
    if depth > MAX_DEPTH:
        raise BadRecord(f"It is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(name)): clean(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value]
    return value if isinstance(value, int | float | bool | None) else str(value)
