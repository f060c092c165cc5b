"""Answers to MCP as strangers give them: speaks the protocol by hand, and something is wrong at every address.

/bad-tools  a tool without inputSchema, one named twice, texts that cannot be stored, a wrong outputSchema
/huge  an answer of 20 MB · /gzip  a compressed one · /endless  an event stream that never comes to the point
/refuses  a call, by JSON-RPC under HTTP 404 · /forgets  its session before a call
/redirect · /forbidden · /broken  (HTTP 307, 403, 500) · /breaks  ends the connection in the middle of a call's answer
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

from serving import arguments, serve_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}
GOOD = {"name": "good", "description": "Good.", "inputSchema": SCHEMA}
BAD_TOOLS = [
    GOOD,
    {"name": "no_schema", "description": "Bad."},
    {"name": "array_schema", "inputSchema": {"type": "array"}},
    GOOD | {"description": "The second of this name."},
    {"name": "odd", "description": "a\x00b", "inputSchema": SCHEMA, "outputSchema": 7, "annotations": "yes"},
    {"inputSchema": SCHEMA},
    "not even an object",
]
RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "toy-odd", "version": "1"},
    },
    "tools/call": {"content": [{"type": "text", "text": "done"}]},
}


def answer(message: dict[str, Any], tools: list[Any]) -> dict[str, Any]:
    result = {"tools": tools} if message["method"] == "tools/list" else RESULTS.get(message["method"])
    if result is None:
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


async def speak(request: Request) -> Response:
    message = await request.json()
    if "id" not in message:
        return Response(status_code=202)
    path = request.url.path
    called = message["method"] == "tools/call"
    if path == "/huge" and called:
        return Response(" " * 20_000_000, media_type="application/json")
    if path == "/gzip" and called:
        body = gzip.compress(json.dumps(answer(message, [])).encode())
        return Response(body, media_type="application/json", headers={"content-encoding": "gzip"})
    if path == "/endless" and called:
        return StreamingResponse(endless(), media_type="text/event-stream")
    if path == "/breaks" and called:
        return Response("{", media_type="application/json", headers={"content-length": "1000"})
    if path == "/refuses" and called:
        error = {"code": -32601, "message": "No such tool today"}
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "error": error}, status_code=404)
    if path == "/forgets" and called:
        return PlainTextResponse("session?", status_code=404)
    headers = {"mcp-session-id": "s1"} if path == "/forgets" else {}
    return JSONResponse(answer(message, BAD_TOOLS if path == "/bad-tools" else [GOOD]), headers=headers)


async def endless() -> AsyncIterator[str]:
    while True:
        yield ": still thinking\n\n"
        await asyncio.sleep(0.05)


async def redirect(request: Request) -> Response:
    return RedirectResponse("http://127.0.0.1:9/elsewhere", status_code=307)


async def forbidden(request: Request) -> Response:
    return PlainTextResponse("no", status_code=403)


async def broken(request: Request) -> Response:
    return PlainTextResponse("oops", status_code=500)


POST = ["POST"]
app = Starlette(
    routes=[
        Route("/redirect", redirect, methods=POST),
        Route("/forbidden", forbidden, methods=POST),
        Route("/broken", broken, methods=POST),
        Route("/{path:path}", speak, methods=POST),
    ]
)

if __name__ == "__main__":
    serve_app(app, arguments().parse_args(), "")
