"""The line to a model, which another thread can cut: also while the model says nothing, and between two tries.

A thread that waits for a model is blocked in a read. Cutting shuts that connection down, so the server hears at once
that nobody listens any more and stops writing.
"""

import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore2
import httpx2

_here = threading.local()


class Line:
    """What one thread has to do with models. Nothing goes over it once it is cut."""

    def __init__(self) -> None:
        self.is_cut = False
        self.stream: httpcore2.NetworkStream | None = None

    def hold(self) -> None:
        """The thread that calls this speaks over this line from now on."""
        _here.line = self

    def cut(self) -> None:
        self.is_cut = True
        if (stream := self.stream) is not None and isinstance(open_ := stream.get_extra_info("socket"), socket.socket):
            with suppress(OSError):  # it ended in this moment
                open_.shutdown(socket.SHUT_RDWR)


class _Cuttable(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self.inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        line: Line | None = getattr(_here, "line", None)
        if line is None:
            return self.inner.read(max_bytes, timeout)
        line.stream = self.inner
        try:
            if line.is_cut:
                raise httpcore2.ReadError("cut")
            return self.inner.read(max_bytes, timeout)
        finally:
            line.stream = None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if _is_cut():
            raise httpcore2.WriteError("cut")
        self.inner.write(buffer, timeout)

    def close(self) -> None:
        self.inner.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore2.NetworkStream:
        return _Cuttable(self.inner.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, inner: httpcore2.NetworkBackend) -> None:
        self.inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        if _is_cut():
            raise httpcore2.ConnectError("cut")
        return _Cuttable(self.inner.connect_tcp(host, port, timeout, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.NetworkStream:
        return _Cuttable(self.inner.connect_unix_socket(path, timeout, socket_options))


def _is_cut() -> bool:
    line: Line | None = getattr(_here, "line", None)
    return line is not None and line.is_cut


def make_cuttable(client: httpx2.Client) -> None:
    """The connections this client opens from now on; those the SDKs share need it once."""
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None and not isinstance(pool._network_backend, _Backend):
            pool._network_backend = _Backend(pool._network_backend)
