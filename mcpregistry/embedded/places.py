"""Where an embedded service of a DATA_DIR has its socket, its lock and its log."""

import fcntl
import hashlib
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mcpregistry import processes

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15
POLL_S = 0.05
LOG_BYTES = 10_000_000

Service = subprocess.Popen[bytes]
Answers = Callable[[Path], bool]


class EmbeddedError(Exception):
    """An embedded service cannot run here; the message says why and what to do."""


# Sockets: in a short folder of our own, because a socket's path may have 107 bytes and DATA_DIR may be longer.


def socket_folder(data_dir: Path, service: str) -> Path:
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    return Path(f"/tmp/mcp-registry-{os.geteuid()}") / f"{digest}-{service}"  # nosec B108 # _own_folder refuses a stranger


def make_socket_folder(data_dir: Path, service: str, owner: int) -> Path:
    folder = socket_folder(data_dir, service)
    _own_folder(folder.parent, os.geteuid(), 0o711)
    _own_folder(folder, owner, 0o700)
    return folder


def _own_folder(folder: Path, owner: int, mode: int) -> None:
    """Make `folder` or take it as ours; a stranger's folder or link of that name is refused."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), owner}:
        raise EmbeddedError(f"{folder} belongs to another user; remove it, or set DATABASE_URL and REDIS_URL.")
    if found.st_uid != owner:
        os.chown(folder, owner, -1)
    folder.chmod(mode)


# Locks: a service inherits the descriptor that holds its lock, so the lock lives exactly as long as the service.


@contextmanager
def lock_file(data_dir: Path, name: str) -> Iterator[int]:
    descriptor = _open_lock(data_dir, name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_lock(data_dir: Path, name: str) -> int:
    data_dir.mkdir(parents=True, exist_ok=True)
    return os.open(data_dir / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def claim(data_dir: Path, service: str, answers: Answers) -> int | None:
    """A descriptor holding the lock of `service`, or None when who holds it answers.

    One that is just starting or stopping is waited for.
    """
    descriptor = _open_lock(data_dir, service)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if answers(data_dir):
                os.close(descriptor)
                return None
            time.sleep(POLL_S)
        else:
            return descriptor
    os.close(descriptor)
    raise EmbeddedError(f"The {service} of {data_dir} is held by another process and does not answer.")


def wait_until(process: Service, data_dir: Path, service: str, answers: Answers) -> Service:
    """The same process, once it answers; EmbeddedError with the end of its log when it does not."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if answers(data_dir):
            return process
        time.sleep(POLL_S)
    processes.stop(process, [], STOP_TIMEOUT_S)
    log = _log_path(data_dir, service)
    last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
    raise EmbeddedError(f"{service} did not start; its log {log} ends with:\n{last_lines}")


# Logs


def _log_path(data_dir: Path, service: str) -> Path:
    return data_dir / "log" / f"{service}.log"


@contextmanager
def log_file(data_dir: Path, service: str) -> Iterator[int]:
    """A descriptor that appends to the log; a long log is put aside first."""
    path = _log_path(data_dir, service)
    path.parent.mkdir(exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
