"""A toy MCP server that works on text."""

import asyncio
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field
from serving import arguments, serve

READS = ToolAnnotations(read_only_hint=True)
server = MCPServer("toy-text", version="1.0.0", log_level="ERROR")


class Count(BaseModel):
    words: int
    characters: int


@server.tool(annotations=READS, structured_output=False)
def upper(text: str) -> str:
    """Turn text into capital letters."""
    return text.upper()


@server.tool(annotations=READS, structured_output=False)
def reverse(text: str) -> str:
    """Turn text around, last letter first."""
    return text[::-1]


@server.tool(annotations=READS, structured_output=False)
def render(template: str, values: dict[str, Any]) -> str:
    """Fill the {names} of a template with values."""
    return template.format_map(values)


@server.tool(annotations=READS)
def count_words(text: str = Field(description="the text whose words are counted")) -> Count:
    """Count the words and characters of a text."""
    return Count(words=len(text.split()), characters=len(text))


@server.tool(annotations=READS, structured_output=False)
async def slow(context: Context, seconds: float) -> str:
    """Take some time, and tell how far it is."""
    steps = 10
    for step in range(1, steps + 1):
        await asyncio.sleep(seconds / steps)
        await context.report_progress(step, steps, f"step {step} of {steps}")
    return f"waited {seconds} s"


@server.tool(annotations=READS, structured_output=False)
def fail(message: str) -> str:
    """Fail with a message."""
    raise ToolError(message)


if __name__ == "__main__":
    serve(server, arguments().parse_args())
