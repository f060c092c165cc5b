"""A toy MCP server that answers 401 to whoever does not bring its Bearer token."""

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from serving import arguments, serve_app
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

parser = arguments()
parser.add_argument("--token", default="sesame")
server = MCPServer("toy-auth", version="1.0.0", log_level="ERROR")


@server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
def secret() -> str:
    """Tell what only the authorised may know."""
    return "the cave is open"


def behind_token(app: ASGIApp, token: str) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] == "http" and headers.get(b"authorization", b"").decode() != f"Bearer {token}":
            refusal = JSONResponse(
                {"error": "invalid_token"},
                status_code=401,
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


if __name__ == "__main__":
    options = parser.parse_args()
    serve_app(behind_token(server.streamable_http_app(host=options.host), options.token), options, "/mcp")
