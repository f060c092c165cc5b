"""A toy MCP server that says when it was called."""

import time

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from serving import arguments, serve

server = MCPServer("toy-clock", version="1.0.0", log_level="ERROR")


@server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
def now() -> str:
    """Tell the time, in seconds since 1970."""
    return repr(time.time())


if __name__ == "__main__":
    serve(server, arguments().parse_args())
