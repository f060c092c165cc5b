"""How a toy server is started and says that it is ready; shared by the scripts of this folder."""

import argparse
import socket
from collections.abc import Callable

import uvicorn
from mcp.server import MCPServer
from starlette.types import ASGIApp


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=["http", "stdio", "sse"], default="http")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    return parser


class Announcing(uvicorn.Server):
    """Prints its address once it accepts connections."""

    url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.url, flush=True)


def serve_app(
    app: ASGIApp, options: argparse.Namespace, path: str, on_address: Callable[[str], None] | None = None
) -> None:
    """`on_address` is told `http://host:port` before anybody can ask."""
    listener = socket.create_server((options.host, options.port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it only on sockets it made itself
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    server = Announcing(config)
    base = f"http://{options.host}:{listener.getsockname()[1]}"
    if on_address is not None:
        on_address(base)
    server.url = base + path
    server.run(sockets=[listener])


def serve(server: MCPServer, options: argparse.Namespace) -> None:
    """Over the transport that was asked for; streamable HTTP at /mcp, SSE at /sse."""
    if options.transport == "stdio":
        server.run("stdio")
    elif options.transport == "sse":
        serve_app(server.sse_app(host=options.host), options, "/sse")
    else:
        serve_app(server.streamable_http_app(host=options.host), options, "/mcp")
