"""A small official catalogue on loopback, speaking the real one's pages and cursors, and failing when told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
    """`entries` may be changed between readings; `faults` are used up, one a request: 429, 500, "cut" or None."""

    def __init__(self, page_size: int) -> None:
        self.entries: list[Any] = []
        self.faults: list[int | str | None] = []
        self.requests: list[dict[str, str]] = []
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


def _handler(catalogue: ToyCatalogue) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            catalogue.requests.append(query)
            fault = catalogue.faults.pop(0) if catalogue.faults else None
            if url.path != "/v0.1/servers":
                self.answer(404, b"{}")
            elif isinstance(fault, int):
                self.answer(fault, b"<h1>Not now</h1>")
            else:
                self.answer(200, json.dumps(catalogue.page(query)).encode(), cut=fault == "cut")

        def answer(self, status: int, body: bytes, cut: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "0")
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
