"""MCP over the standard streams of a command we start: its environment, its life, and its last words."""

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from django.conf import settings
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from registry.connectors.base import ConnectorError, Target
from registry.connectors.repair import MAX_CONTAINERS, containers, repaired

SUPERVISOR = Path(__file__).with_name("supervisor.py")
MAX_MESSAGE_BYTES = 10_000_000
STDERR_TAIL_BYTES = 4_096
MAX_ASTRAY_BYTES = 2_000_000  # on end: lines on its output that are no messages
STDERR_FREE_BYTES = 1_000_000  # beyond that it is read slowly, and whoever writes it has to wait
STDERR_PAUSE_S = 0.05
FLUSH_S = 0.2  # for the last message to be written
EXIT_S = 0.4  # for a server to follow the end of its input, before it is told
KILL_S = 1.0  # for the supervisor to ask, then kill
# What package installers need to reach their registries behind a company's proxy or certificate.
INHERITED_PREFIXES = ("UV_", "PIP_", "NPM_CONFIG_")
INHERITED = {
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "TMPDIR", "TZ",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
}  # fmt: skip
NEVER_INHERITED = ("UV_PUBLISH_", "UV_PROJECT", "UV_PYTHON_INSTALL_DIR")
CLOSED = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)

Incoming = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """All a command gets to see: nothing of ours but where programs are and how packages are fetched."""
    home = settings.DATA_DIR / "home"
    home.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if _may_inherit(name)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    places = {"PATH": path, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "LANG": "C.UTF-8"}
    return inherited | places | dict(own)


def _may_inherit(name: str) -> bool:
    upper = name.upper()
    return (upper in INHERITED or upper.startswith(INHERITED_PREFIXES)) and not upper.startswith(NEVER_INHERITED)


class Command:
    """A command's process while a session is open, and what it left when it ended."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.process: Process | None = None
        self.stderr_tail = b""
        self.astray_bytes = 0
        self.fault: tuple[str, str] | None = None  # code and words: why it is not listened to any more

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.returncode is not None

    @property
    def last_words(self) -> str:
        return self.stderr_tail.decode(errors="replace").replace("\x00", "").strip()

    def error(self, *, sent: bool) -> ConnectorError:
        """Why nothing more comes from it."""
        if self.fault:
            return ConnectorError(*self.fault, sent=sent)
        status = self.process.returncode if self.process else None
        ended = f"`{self.target.command}` ended with status {status}" if self.ended else "The server closed its output"
        said = f" and said: {self.last_words}" if self.last_words else " without a word on its standard error."
        return ConnectorError("unreachable", f"{ended}{said}", sent=sent)


@asynccontextmanager
async def stdio_transport(command: Command) -> AsyncIterator[Streams]:
    """Start the command and speak newline-delimited JSON-RPC with it; at the end nothing of it is left.

    Raises ConnectorError when the command cannot be started.
    """
    to_session, from_server = anyio.create_memory_object_stream[Incoming](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    leash_end, leash = os.pipe()
    try:
        process = await _start(command.target, leash_end)
    except OSError as error:
        os.close(leash)
        raise ConnectorError("unreachable", f"`{command.target.command}` cannot be started: {error}.") from error
    finally:
        os.close(leash_end)
    command.process = process
    written = anyio.Event()
    async with anyio.create_task_group() as tasks, to_session, from_server, to_server, from_session:
        tasks.start_soon(_read_stdout, command, to_session)
        tasks.start_soon(_read_stderr, command)
        tasks.start_soon(_write_stdin, process, from_session, to_session, written)
        try:
            yield from_server, to_server
        finally:
            with anyio.CancelScope(shield=True):
                to_server.close()
                await _end(process, leash, written)
            tasks.cancel_scope.cancel()


async def _start(target: Target, leash_end: int) -> Process:
    env = environment(target.env)
    if shutil.which(target.command, path=env["PATH"]) is None:
        raise ConnectorError(
            "unreachable", f"The command `{target.command}` was not found on this machine: install it or correct it."
        )
    folder = settings.DATA_DIR / "files"
    folder.mkdir(parents=True, exist_ok=True)
    own = [sys.executable, "-I", "-S", str(SUPERVISOR), str(leash_end), limits()]
    supervised = [*own, target.command, *target.args]
    return await anyio.open_process(supervised, cwd=folder, env=env, start_new_session=True, pass_fds=[leash_end])


def limits() -> str:
    """As registry/connectors/supervisor.py reads them."""
    memory_bytes = settings.STDIO_MEMORY_MB * 1_000_000
    return f"{memory_bytes}:{settings.STDIO_PROCESSES}:{settings.STDIO_FILES}:{settings.STDIO_CPU_SECONDS}"


async def _end(process: Process, leash: int, written: anyio.Event) -> None:
    """End of input first, then the supervisor asks and kills; at most two seconds in all."""
    with anyio.move_on_after(FLUSH_S):
        await written.wait()
    assert process.stdin is not None
    with suppress(*CLOSED):
        await process.stdin.aclose()
    await _wait_for_exit(process, EXIT_S)
    os.close(leash)
    await _wait_for_exit(process, KILL_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.aclose()


async def _wait_for_exit(process: Process, timeout_s: float) -> None:
    """Not process.wait(): that also waits for whoever inherited the pipes."""
    with anyio.move_on_after(timeout_s):
        while process.returncode is None:
            await anyio.sleep(0.01)


async def _read_stdout(command: Command, to_session: MemoryObjectSendStream[Incoming]) -> None:
    """Messages for the session until the output ends; then, or at a message too large, the session is closed."""
    assert command.process is not None and command.process.stdout is not None
    unfinished, values = bytearray(), 0
    with suppress(*CLOSED):
        async with to_session:
            async for chunk in command.process.stdout:
                lines, newline, rest = chunk.rpartition(b"\n")
                if newline:
                    for line in bytes(unfinished + lines).split(b"\n"):
                        astray_bytes = await _deliver(line, to_session)
                        command.astray_bytes = command.astray_bytes + astray_bytes if astray_bytes else 0
                    unfinished, values = bytearray(), 0
                unfinished += rest
                values += containers(rest)
                command.fault = fault_of(command.astray_bytes, len(unfinished), values)
                if command.fault:
                    return
            await _wait_for_exit(command.process, EXIT_S)  # so that its status is known to whoever asks why


def fault_of(astray_bytes: int, message_bytes: int, values: int) -> tuple[str, str] | None:
    """What is wrong with an output that brought so many bytes of no message, and a message of such a size."""
    if message_bytes > MAX_MESSAGE_BYTES or values > MAX_CONTAINERS:
        return "too_large", f"The server sent a message of more than {MAX_MESSAGE_BYTES // 1_000_000} MB."
    if astray_bytes > MAX_ASTRAY_BYTES:
        return "not_mcp", "The command writes something else than MCP to its standard output, without end."
    return None


async def _deliver(line: bytes, to_session: MemoryObjectSendStream[Incoming]) -> int:
    """A line that is no JSON-RPC is a log line gone astray: skipped. The number of its bytes."""
    try:
        message = jsonrpc_message_adapter.validate_json(repaired(line), by_name=False)
    except ValueError:
        return len(line) + 1
    await to_session.send(SessionMessage(message))
    return 0


async def _read_stderr(command: Command) -> None:
    assert command.process is not None
    stream: ByteReceiveStream | None = command.process.stderr
    assert stream is not None
    with suppress(*CLOSED):
        read_bytes = 0
        async for chunk in stream:
            read_bytes += len(chunk)
            command.stderr_tail = (command.stderr_tail + chunk)[-STDERR_TAIL_BYTES:]
            if command.target.on_log is not None:
                command.target.on_log(chunk.decode(errors="replace"))
            if read_bytes > STDERR_FREE_BYTES:
                await anyio.sleep(STDERR_PAUSE_S)


async def _write_stdin(
    process: Process,
    from_session: MemoryObjectReceiveStream[SessionMessage],
    to_session: MemoryObjectSendStream[Incoming],
    written: anyio.Event,
) -> None:
    assert process.stdin is not None
    try:
        async for message in from_session:
            data = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            await process.stdin.send(data.encode() + b"\n")
    except CLOSED:
        to_session.close()  # the session learns that nobody listens any more
    finally:
        written.set()
