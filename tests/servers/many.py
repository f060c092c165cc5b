"""A toy MCP server with very many tools, given out in pages; with --loop-cursor its pages never end."""

from typing import Any

from mcp.server.lowlevel import Server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool
from serving import arguments, serve_app

parser = arguments()
parser.add_argument("--tools", type=int, default=1000)
parser.add_argument("--page", type=int, default=50)
parser.add_argument("--loop-cursor", action="store_true")
options = parser.parse_args()


def tool(number: int) -> Tool:
    schema = {"type": "object", "properties": {"value": {"type": "integer"}}}
    return Tool(name=f"tool_{number}", description=f"The tool number {number}.", input_schema=schema)


async def list_tools(context: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
    start = int(params.cursor) if params and params.cursor else 0
    end = min(start + options.page, options.tools)
    following = str(end) if end < options.tools else ("0" if options.loop_cursor else None)
    return ListToolsResult(tools=[tool(number) for number in range(start, end)], next_cursor=following)


async def call_tool(context: Any, params: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=f"{params.name} called")])


server = Server("toy-many", version="1.0.0", on_list_tools=list_tools, on_call_tool=call_tool)

if __name__ == "__main__":
    serve_app(server.streamable_http_app(host=options.host), options, "/mcp")
