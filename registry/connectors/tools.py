"""Tools as strangers declare them: what can be read is kept, what cannot is named, nothing hides its neighbours."""

import json
import math
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from typing import Any

import mcp_types
from mcp.client._transport import ReadStream, TransportStreams
from mcp.shared.message import SessionMessage
from mcp_types import methods
from pydantic import ValidationError

from registry.connectors.base import ToolDefinition

MAX_NAME = 512
MAX_SCHEMA_DEPTH = 90
MAX_TOOLS = 20_000  # of one server
STRICTEST = "2025-11-25"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def storable(value: Any) -> Any:
    """JSON without what Postgres cannot store: NUL, lone surrogates and numbers that are none."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case str():
            return _UNSTORABLE.sub("", value)
        case dict():
            return {storable(name): storable(each) for name, each in value.items()}
        case list():
            return [storable(each) for each in value]
        case _:
            return value


def problem_of(raw: Any) -> str | None:
    """Why a declared tool cannot be used, or None."""
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or not raw["name"].strip():
        return "A tool has no name and was left out."
    name = storable(raw["name"])[:80]
    if len(raw["name"]) > MAX_NAME:
        return f"The tool {name}… has a name of more than {MAX_NAME} characters and was left out."
    schema = raw.get("inputSchema")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return f"The tool {name} has no valid inputSchema and was left out."
    if depth(schema) > MAX_SCHEMA_DEPTH or depth(raw.get("outputSchema")) > MAX_SCHEMA_DEPTH:
        return f"The tool {name} has a schema nested deeper than {MAX_SCHEMA_DEPTH} levels and was left out."
    return None


def depth(value: Any) -> int:
    """Levels of nesting, counted without recursion."""
    level, count = [value], 0
    while level := [each for node in level for each in _children(node)]:
        count += 1
    return count


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def readable(raw: dict[str, Any]) -> dict[str, Any]:
    """A tool reduced to the fields we use, each of the type MCP asks for."""
    tool: dict[str, Any] = {"name": raw["name"], "inputSchema": raw["inputSchema"]}
    tool |= {field: raw[field] for field in ("title", "description") if isinstance(raw.get(field), str)}
    output = raw.get("outputSchema")
    if isinstance(output, dict) and output.get("type") == "object":
        tool["outputSchema"] = output
    if isinstance(hints := raw.get("annotations"), dict):
        kept = {hint: hints[hint] for hint in _HINTS if isinstance(hints.get(hint), bool)}
        tool["annotations"] = kept | ({"title": hints["title"]} if isinstance(hints.get("title"), str) else {})
    return tool


def is_allowed(tools: list[dict[str, Any]]) -> bool:
    """By the strictest revision of MCP in what it says of a tool."""
    try:
        methods.validate_server_result("tools/list", STRICTEST, {"tools": tools})
    except ValidationError:
        return False
    return True


def definition_of(tool: mcp_types.Tool) -> ToolDefinition:
    data: dict[str, Any] = storable(json.loads(tool.model_dump_json(by_alias=True, exclude_none=True)))
    annotations = data.get("annotations", {})
    return ToolDefinition(
        name=data["name"],
        title=(data.get("title") or annotations.get("title") or "")[:MAX_NAME],
        description=data.get("description", ""),
        input_schema=data["inputSchema"],
        output_schema=data.get("outputSchema"),
        annotations=annotations,
    )


class LenientStream:
    """The stream from a server: tools the SDK would refuse a whole list for are taken out and named."""

    def __init__(self, inner: ReadStream[SessionMessage | Exception], problems: list[str]) -> None:
        self.inner = inner
        self.problems = problems

    @property
    def last_context(self) -> Context | None:
        return getattr(self.inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        return self.clean(await self.inner.receive())

    def clean(self, message: SessionMessage | Exception) -> SessionMessage | Exception:
        if isinstance(message, SessionMessage) and isinstance(message.message, mcp_types.JSONRPCResponse):
            result = message.message.result
            if isinstance(listed := result.get("tools"), list):
                message.message.result = result | {"tools": list(self.keep(listed))}
        return message

    def keep(self, listed: list[Any]) -> Iterable[dict[str, Any]]:
        """The SDK reads a list as a whole: what it would refuse of one tool is found out before."""
        problems = [(raw, problem_of(raw)) for raw in listed[: MAX_TOOLS + 1]]  # one too many is noticed later
        self.problems += [problem for _, problem in problems if problem]
        tools = [readable(raw) for raw, problem in problems if not problem]
        if is_allowed(tools):
            return tools
        refused = [tool["name"] for tool in tools if not is_allowed([tool])]
        self.problems += [f"The tool {storable(name)[:80]} is described against the rules of MCP." for name in refused]
        return [tool for tool in tools if is_allowed([tool])]

    async def aclose(self) -> None:
        await self.inner.aclose()

    def __aiter__(self) -> "LenientStream":
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return self.clean(await self.inner.__anext__())

    async def __aenter__(self) -> "LenientStream":
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> bool | None:
        return await self.inner.__aexit__(*details)


@asynccontextmanager
async def lenient(
    transport: AbstractAsyncContextManager[TransportStreams], problems: list[str]
) -> AsyncIterator[TransportStreams]:
    async with transport as (read, write):
        yield LenientStream(read, problems), write
