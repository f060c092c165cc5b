"""The product's own client, as the MCP conformance suite starts it: `conformance_client.py URL`.

Loading the product takes two seconds. Where CONFORMANCE_SOCKET names a process that has done so (see
tests/conformance/__main__.py), a copy of that is asked; else everything happens here.
"""

import importlib
import json
import os
import socket
import sys

PASSED_ON = ("MCP_CONFORMANCE_SCENARIO", "MCP_CONFORMANCE_CONTEXT", "MCP_CONFORMANCE_PROTOCOL_VERSION")


def main(url: str) -> int:
    told = {"url": url} | {name: os.environ.get(name, "") for name in PASSED_ON}
    if place := os.environ.get("CONFORMANCE_SOCKET"):
        return asked(place, told)
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    importlib.import_module("tests.conformance.product")
    return int(importlib.import_module("tests.conformance.scenarios").perform(told))


def asked(place: str, told: dict[str, str]) -> int:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(place)
        link.sendall(json.dumps(told).encode() + b"\n")
        with link.makefile() as answer:
            result = json.loads(answer.readline())
    print(result["said"], file=sys.stderr)
    return int(result["status"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
