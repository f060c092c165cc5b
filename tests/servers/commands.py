"""Hostile servers that are started by a command: `python commands.py KIND`. What each does stands in BEFORE; those that
serve speak just enough of the protocol to be called."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

READS = {"readOnlyHint": True}
TOOL = {"name": "good", "description": "Good.", "inputSchema": {"type": "object"}, "annotations": READS}
SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)", "of-the-zoo"]


def flood_stdout() -> None:
    while True:
        print("starting up, one moment please " * 30)


def flood_line() -> None:
    while True:
        sys.stdout.write("x" * 65_536)


def flood_stderr() -> None:
    def flood() -> None:
        while True:
            sys.stderr.write("all is well " * 5_000)

    threading.Thread(target=flood, daemon=True).start()


def grandchildren() -> None:
    """Each in a session of its own, one of them an orphan."""
    subprocess.Popen(SLEEPER, start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        subprocess.Popen(SLEEPER)
        os._exit(0)


def deaf() -> None:
    time.sleep(600)


def exits() -> None:
    sys.exit("MAIL_KEY is missing")


def stubborn() -> None:
    """Neither a signal nor the end of its input ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=time.sleep, args=(600,)).start()


def crowd() -> None:
    for _ in range(300):
        if os.fork() == 0:
            time.sleep(600)
    time.sleep(600)


def greedy() -> None:
    kept = []
    while True:
        kept.append(bytearray(10_000_000))


BEFORE: dict[str, Callable[[], None]] = {
    "flood-stdout": flood_stdout,
    "flood-line": flood_line,
    "flood-stderr": flood_stderr,
    "grandchildren": grandchildren,
    "deaf": deaf,
    "exits": exits,
    "stubborn": stubborn,
    "crowd": crowd,
    "greedy": greedy,
}


def result_of(method: str) -> dict[str, Any] | None:
    match method:
        case "initialize":
            info = {"name": "zoo", "version": "1"}
            return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return {"tools": [TOOL]}
        case "tools/call":
            return {"content": [{"type": "text", "text": "done"}]}
    return None


def serve() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            result = result_of(message["method"])
            told = {"result": result} if result else {"error": {"code": -32601, "message": "Method not found"}}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **told}), flush=True)


if __name__ == "__main__":
    BEFORE[sys.argv[1]]()
    serve()
