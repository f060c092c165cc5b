"""Small catalogues on loopback, speaking the real ones' pages, cursors and files, and failing when told to."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

META = "io.modelcontextprotocol.registry/official"


def entry(name: str, status: str = "active", **server: Any) -> dict[str, Any]:
    """One entry of the list: a remote server unless told otherwise."""
    document = {
        "name": name,
        "description": f"Invented for tests: {name}.",
        "version": "1.0.0",
        "remotes": [{"type": "streamable-http", "url": f"https://{name.replace('/', '.')}.example/mcp"}],
    }
    return {"server": {**document, **server}, "_meta": {META: {"status": status, "isLatest": True}}}


class ToyCatalogue:
    """`entries` may be changed between readings, and so may those of the other kinds of catalogue: `smithery` (a list
    of servers' own pages), `packages` (mcp-get's files by name) and `images` (Docker's registry). `faults` are used
    up, one a request: 429, 500, "cut" or None."""

    def __init__(self, page_size: int) -> None:
        self.entries: list[Any] = []
        self.faults: list[int | str | None] = []
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.authorizations: list[str | None] = []
        self.smithery: list[dict[str, Any]] = []
        self.packages: dict[str, Any] = {}
        self.images: dict[str, Any] = {}
        self.latency_s = 0.0
        self.retry_after = "0"  # seconds, or a date
        self.page_size = page_size
        self.repeats_cursor = False
        self.url = ""

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        start = int(query.get("cursor", "0"))
        end = start + min(self.page_size, int(query["limit"]))
        metadata: dict[str, Any] = {"count": end - start}
        if end < len(self.entries):
            metadata["nextCursor"] = "0" if self.repeats_cursor and start else str(end)
        return {"servers": self.entries[start:end], "metadata": metadata}

    def smithery_page(self, query: dict[str, str]) -> dict[str, Any]:
        """Pages go on for ever, as the real pager's do."""
        size, page = self.page_size, int(query["page"])
        shown = self.smithery[(page - 1) * size : page * size] or self.smithery[-1:]
        short = [{"qualifiedName": one["qualifiedName"], "useCount": len(self.requests)} for one in shown]
        pages = -(-len(self.smithery) // size)
        pager = {"currentPage": page, "totalPages": pages, "totalCount": len(self.smithery)}
        return {"servers": short, "pagination": pager}

    def answer(self, path: str, query: dict[str, str]) -> bytes | None:
        """The body for a path, None for 404."""
        if path == "/v0.1/servers":
            return json.dumps(self.page(query)).encode()
        if path == "/smithery/servers":
            return json.dumps(self.smithery_page(query)).encode()
        if path.startswith("/smithery/servers/"):
            name = unquote(path.removeprefix("/smithery/servers/"))
            own = {one["qualifiedName"]: json.dumps(one).encode() for one in self.smithery if "is_gone" not in one}
            return own.get(name)
        if path == "/mcp-get/packages":
            at = f"{self.url}/raw/"
            listing = [{"name": name, "type": "file", "download_url": at + name} for name in self.packages]
            return json.dumps(listing).encode()
        if path.startswith("/raw/") and path[5:] in self.packages:
            return json.dumps(self.packages[path[5:]]).encode()
        return yaml.safe_dump({"registry": self.images}).encode() if path == "/docker.yaml" else None


def _handler(catalogue: ToyCatalogue) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            catalogue.requests.append(query)
            fault = catalogue.faults.pop(0) if catalogue.faults else None
            catalogue.paths.append(url.path)
            catalogue.authorizations.append(self.headers.get("Authorization"))
            time.sleep(catalogue.latency_s)
            body = catalogue.answer(url.path, query)
            if body is None:
                self.answer(404, b"{}")
            elif isinstance(fault, int):
                self.answer(fault, b"<h1>Not now</h1>")
            else:
                self.answer(200, body, cut=fault == "cut")

        def answer(self, status: int, body: bytes, cut: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", catalogue.retry_after)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)

    return Handler


@contextmanager
def running_catalogue(*entries: Any, page_size: int = 2) -> Iterator[ToyCatalogue]:
    catalogue = ToyCatalogue(page_size)
    catalogue.entries = list(entries)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(catalogue))
    catalogue.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield catalogue
    finally:
        server.shutdown()
        server.server_close()
