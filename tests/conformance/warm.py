"""Loads the product once and does each scenario in a copy of itself: `python -m tests.conformance.warm SOCKET`."""

import importlib
import json
import socketserver
import sys

importlib.import_module("tests.conformance.product")  # before anything that needs Django
scenarios = importlib.import_module("tests.conformance.scenarios")


class Asked(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        result = scenarios.performed(json.loads(self.rfile.readline()))
        self.wfile.write(json.dumps(result).encode() + b"\n")


class Copies(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """One process a scenario."""


if __name__ == "__main__":
    with Copies(sys.argv[1], Asked) as server:
        print("ready", flush=True)
        server.serve_forever()
