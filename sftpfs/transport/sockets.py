"""Streams that carry SFTP as they are: sockets (TCP, UNIX, vsock), and our stdin and stdout (``passive``).

Owns nothing but the descriptors: one connection a transport, one stream a connection.
"""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import trio

from sftpfs.aio import ByteStream
from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.errors import Failure, MountError
from sftpfs.transport.api import Transport
from sftpfs.transport.connect_errors import connect_failure, name_failure, timeout_failure
from sftpfs.transport.messages import HostKey

LONGEST_KEEPALIVE = 32767
MOST_KEEPALIVES = 127
"""The maximum that Linux takes for TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT."""

QUEUE_RETRY = 0.02
"""Seconds between two tries at a UNIX socket whose queue is full."""


class _Place(NamedTuple):
    """Where a TCP connection leads."""

    family: int
    address: object


class SocketTransport:
    """One connected socket, or one pair of descriptors; its one stream is handed out once."""

    def __init__(self, stream: ByteStream, silence: float = math.inf, address: object = None) -> None:
        self.closed = trio.Event()
        self.reason = ""
        self.failure: Failure | None = None
        self.may_be_asking = False
        self.silence = silence
        self.doubted: Callable[[], None] | None = None
        self.address = address
        self.server = ""
        self.about = ""
        self.host_key: HostKey | None = None
        self._stream = stream
        self._taken = False

    async def open_channel(self) -> ByteStream:
        """The stream, the first time. Raises MountError(TRANSPORT) after that."""
        await trio.lowlevel.checkpoint()
        if self._taken or self.closed.is_set():
            raise MountError(Failure.TRANSPORT, "this kind of connection carries one SFTP session only")
        self._taken = True
        return self._stream

    def close(self) -> None:
        """Close the socket."""
        if not self.closed.is_set():
            self.reason = self.reason or "closed"
            self.closed.set()
            self._stream.close()


class SocketConnector:
    """Connects plain sockets (``directport``, a UNIX path, ``vsock``)."""

    logging_in = False

    def __init__(self, config: TransportConfig, endpoint: Endpoint) -> None:
        self._config = config
        self._endpoint = endpoint

    @property
    def single(self) -> bool:
        """Every connection is a socket of its own."""
        return False

    async def connect(self, *, interactive: bool, beside: Transport | None = None) -> SocketTransport:
        """Connect within ``connect_timeout``. Raises MountError."""
        with trio.move_on_after(self._config.connect_timeout):
            stream, address = await self._open(beside.address if beside is not None else None)
            return SocketTransport(stream, keepalive_time(self._config), address)
        raise timeout_failure(self._where, self._config.connect_timeout, "connecting")

    async def aclose(self) -> None:
        """Nothing is shared between connections."""
        await trio.lowlevel.checkpoint()

    @property
    def _where(self) -> str:
        config = self._config
        if config.kind is TransportKind.UNIX:
            return f"socket '{config.unix_path}'"
        if config.kind is TransportKind.VSOCK and config.vsock is not None:
            return f"vsock {config.vsock[0]}:{config.vsock[1]}"
        return f"{self._endpoint.host} port {config.direct_port}"

    async def _open(self, only: object) -> tuple[ByteStream, object]:
        """A stream and the address it leads to. If ``only`` is not None, no other address is tried."""
        if self._config.kind is TransportKind.TCP:
            return await self._open_tcp(only)
        if self._config.kind is TransportKind.UNIX:
            path = self._config.unix_path
            return await self._connect(socket.AF_UNIX, path), path
        return await self._connect(socket.AF_VSOCK, self._config.vsock), self._config.vsock

    async def _open_tcp(self, only: object) -> tuple[ByteStream, object]:
        places = [only] if isinstance(only, _Place) else await self._places()
        failures: list[BaseException] = []
        for place in places:
            with trio.move_on_after(self._config.connect_timeout / len(places)) as scope:
                try:
                    return await self._attempt(*place), place
                except OSError as error:
                    failures.append(error)
            if scope.cancelled_caught:
                failures.append(TimeoutError())
        raise connect_failure(self._where, failures, self._config.connect_timeout)

    async def _places(self) -> list[_Place]:
        host = self._endpoint.host
        try:
            found = await trio.socket.getaddrinfo(host, self._config.direct_port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise name_failure(host, error) from None
        return [_Place(family, address) for family, _, _, _, address in found]

    async def _connect(self, family: int, address: object) -> ByteStream:
        try:
            return await self._attempt(family, address)
        except FileNotFoundError:
            message = f"{self._where} does not exist; is the server running?"
            raise MountError(Failure.NAME_NOT_FOUND, message) from None
        except OSError as error:
            raise connect_failure(self._where, [error], self._config.connect_timeout) from None

    async def _attempt(self, family: int, address: object) -> ByteStream:
        with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
            if family == socket.AF_UNIX:
                await connect_unix(sock, address)
            else:
                await sock.connect(address)
            if family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                watch_over(sock, self._config)
            fd = sock.detach()
            return ByteStream(fd, fd)


def keepalive_time(config: TransportConfig) -> float:
    """Seconds of silence after which a connection is dead (ServerAliveInterval × ServerAliveCountMax)."""
    return config.keepalive_interval * config.keepalive_count or math.inf


def watch_over(sock: trio.socket.SocketType, config: TransportConfig) -> None:
    """Makes the kernel notice a dead peer in the keepalive time, also while nobody asks anything (tcp(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    interval = min(math.ceil(config.keepalive_interval), LONGEST_KEEPALIVE)
    if not interval:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, min(config.keepalive_count, MOST_KEEPALIVES))


async def connect_unix(sock: trio.socket.SocketType, address: Any) -> None:
    """Connects, waiting while the server's queue is full: the kernel then says EAGAIN, and does not report
    when there is room. Raises OSError."""
    plain = socket.socket(fileno=sock.fileno())
    try:
        while True:
            try:
                plain.connect(address)
                return
            except BlockingIOError:
                await trio.sleep(QUEUE_RETRY)
    finally:
        plain.detach()


class PassiveConnector:
    """Hands out stdin and stdout, once."""

    logging_in = False

    def __init__(self, config: TransportConfig) -> None:
        self._config = config
        self._used = False

    @property
    def single(self) -> bool:
        """There is one stdin."""
        return True

    async def connect(self, *, interactive: bool, beside: Transport | None = None) -> SocketTransport:
        """The session on stdin and stdout. Raises MountError(TRANSPORT) the second time, and if no server can
        be there."""
        await trio.lowlevel.checkpoint()
        if self._used:
            raise MountError(
                Failure.TRANSPORT, "passive: the session on stdin and stdout cannot be made again"
            )
        self._used = True
        for fd, name in ((0, "input"), (1, "output")):
            if not _can_be_waited_for(fd):
                message = (
                    f"passive: standard {name} leads to no server; another program has to connect it to one"
                )
                raise MountError(Failure.TRANSPORT, message)
        return SocketTransport(ByteStream(os.dup(0), os.dup(1)), keepalive_time(self._config))

    async def aclose(self) -> None:
        """Nothing is shared between connections."""
        await trio.lowlevel.checkpoint()


def _can_be_waited_for(fd: int) -> bool:
    """False for a plain file and /dev/null: the kernel reports nothing of them (epoll_ctl(2), EPERM)."""
    with select.epoll() as watch:
        try:
            watch.register(fd)
        except PermissionError:
            return False
    return True
