"""Documents for tests of the OpenAPI connector, and what becomes of them."""

import json
from typing import Any

from registry.connectors import Introspection, ToolDefinition
from registry.connectors.openapi.reading import Fetched, read

URL = "https://pets.example/api/openapi.json"


def document(paths: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "Pets", "version": "1"}, "paths": paths} | fields


def get(**fields: Any) -> dict[str, Any]:
    """A path with one GET operation."""
    return {"get": {"operationId": "it"} | fields}


def post(schema: Any, media_type: str = "application/json", **fields: Any) -> dict[str, Any]:
    body = {"required": True, "content": {media_type: {"schema": schema}}}
    return {"post": {"operationId": "it", "requestBody": body} | fields}


def fetched(content: Any, url: str = URL) -> Fetched:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Fetched(url=url, headers={}, body=body, content_type="", latency_ms=1)


async def introspected(content: Any) -> Introspection:
    return (await read(fetched(content)))[0]


async def tool_of(content: Any, name: str = "it") -> ToolDefinition:
    found = await introspected(content)
    return next(tool for tool in found.tools if tool.name == name)
