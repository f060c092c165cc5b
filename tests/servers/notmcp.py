"""An ordinary web server that has never heard of MCP: a page at every address, JSON at /json."""

from serving import arguments, serve_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse("<!doctype html><title>A shop</title><h1>Welcome</h1>")


async def data(request: Request) -> JSONResponse:
    return JSONResponse({"shop": "open"})


METHODS = ["GET", "POST"]
app = Starlette(routes=[Route("/json", data, methods=METHODS), Route("/{path:path}", page, methods=METHODS)])

if __name__ == "__main__":
    serve_app(app, arguments().parse_args(), "/")
