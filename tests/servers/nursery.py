"""Forks a toy for each that is asked for (tests/toys.py): importing what they all need takes seconds, done once here.

A request is JSON, `argv` and `env`, with two descriptors, what the toy writes to; the answer is its process id. A toy
ends when this process does, and it ends with whoever holds the other end of its socket.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
from mcpregistry.processes import bound_to_parent

REQUEST_BYTES = 1_000_000
EVERYBODYS = [
    "mcp.server.mcpserver.exceptions",
    "serving",
    "starlette.applications",
    "starlette.requests",
    "starlette.responses",
    "starlette.routing",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "yaml",
]


def main(descriptor: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes note of their ends
    for name in EVERYBODYS:
        importlib.import_module(name)
    gc.freeze()  # what all share stays shared
    with socket.socket(fileno=descriptor) as asked:
        while True:
            content, written_to, _, _ = socket.recv_fds(asked, REQUEST_BYTES, 2)
            if not content:
                return
            bind = bound_to_parent(signal.SIGKILL)
            if not (pid := os.fork()):
                bind()
                asked.close()
                become(written_to, **json.loads(content))
            for each in written_to:
                os.close(each)
            asked.send(str(pid).encode())


def become(written_to: list[int], argv: list[str], env: dict[str, str]) -> None:
    """This process is a script from now on, as if Python had been started with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, each in enumerate(written_to, start=1):
        os.dup2(each, target)
        os.close(each)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    main(int(sys.argv[1]))
