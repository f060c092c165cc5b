"""A server that tells back whatever it was told in secret, in every text it may give: an MCP server over HTTP at /mcp
and, with --transport stdio, by command; an OpenAPI service at /openapi.json; at /broken one that only gives errors."""

import json
import os
import sys
from typing import Any

from serving import arguments, serve_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

READS = {"readOnlyHint": True}
SCHEMA = {"type": "object", "properties": {}}


def answer(message: dict[str, Any], told: str) -> dict[str, Any]:
    """The JSON-RPC answer; `told` is what the caller's request held."""
    method, name = message["method"], message.get("params", {}).get("name")
    result: dict[str, Any] | None = None
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
        result["serverInfo"] = {"name": f"leaky {told}"[:200], "version": told[:50]}
    elif method == "tools/list":
        tools = ("echo", "fail", "crash")
        result = {
            "tools": [
                {"name": each, "description": f"{each} tells {told}", "inputSchema": SCHEMA, "annotations": READS}
                for each in tools
            ]
        }
    elif method == "tools/call" and name != "crash":
        result = {"content": [{"type": "text", "text": f"You said {told}"}], "structuredContent": {"said": told}}
        result["isError"] = name == "fail"
    if result is None:
        error = {
            "code": -32000 if method == "tools/call" else -32601,
            "message": f"This does not work with {told}",
            "data": told,
        }
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def told_by(request: Request) -> str:
    secret = {name: value for name, value in request.headers.items() if name in {"authorization", "x-api-key"}}
    return json.dumps(secret) + str(request.url.query)


async def speak(request: Request) -> Response:
    message = await request.json()
    if "id" not in message:
        return Response(status_code=202)
    return JSONResponse(answer(message, told_by(request)))


async def break_down(request: Request) -> Response:
    message = await request.json()
    error = {"code": -32000, "message": f"No entry with {told_by(request)}"}
    return JSONResponse({"jsonrpc": "2.0", "id": message.get("id"), "error": error})


async def document(request: Request) -> Response:
    key = {"type": "apiKey", "in": "query", "name": "api_key"}
    ok = {"200": {"description": "said", "content": {"application/json": {"schema": {"type": "object"}}}}}
    paths = {f"/{name}": {"get": {"operationId": name, "responses": ok}} for name in ("say", "refuse")}
    return JSONResponse(
        {
            "openapi": "3.1.0",
            "info": {"title": "Leaky service", "version": "1"},
            "servers": [{"url": str(request.base_url)}],
            "components": {"securitySchemes": {"key": key}},
            "security": [{"key": []}],
            "paths": paths,
        }
    )


async def say(request: Request) -> Response:
    status = 422 if request.url.path == "/refuse" else 200
    return JSONResponse({"said": told_by(request), "url": str(request.url)}, status_code=status)


def converse() -> None:
    told = json.dumps({"API_KEY": os.environ.get("API_KEY")} | dict(os.environ))
    print(f"started with {told}", file=sys.stderr, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            print(json.dumps(answer(message, told)), flush=True)
            print(f"answered {message['method']} with {told}", file=sys.stderr, flush=True)


ROUTES = [
    Route("/mcp", speak, methods=["POST"]),
    Route("/broken", break_down, methods=["POST"]),
    Route("/openapi.json", document),
    Route("/say", say),
    Route("/refuse", say),
]

if __name__ == "__main__":
    options = arguments().parse_args()
    if options.transport == "stdio":
        converse()
    else:
        serve_app(Starlette(routes=ROUTES), options, "/mcp")
