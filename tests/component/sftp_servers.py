"""A connector to real sftp-server processes on socketpairs: remote without SSH.

Each transport is one process; a further channel is a further process, as with sshd.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from sftpfs.aio import ByteStream
from sftpfs.config import PoolConfig
from sftpfs.errors import Failure, MountError
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.transport.api import Connector, Transport
from sftpfs.transport.messages import HostKey

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
LIMIT = 60.0
"""Seconds any of these tests may take."""


class ServerTransport:
    """One connection: sftp-server processes, one for each channel."""

    def __init__(self, connector: ServerConnector) -> None:
        self.closed = trio.Event()
        self.reason = ""
        self.failure: Failure | None = None
        self.may_be_asking = False
        self.silence = connector.silence
        self.doubted: Callable[[], None] | None = None
        self.address: object = "one"
        self.server = ""
        self.about = ""
        self.host_key: HostKey | None = None
        self.processes: list[subprocess.Popen[bytes]] = []
        self._connector = connector

    async def open_channel(self) -> ByteStream:
        """A further process, unless the connector is to refuse it."""
        await trio.lowlevel.checkpoint()
        if self.closed.is_set() or (self.processes and self._connector.refuse_channels):
            raise MountError(Failure.TRANSPORT, "the server refuses more channels")
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 — a few milliseconds, in a test
                self._connector.command,
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
            )
        self.processes.append(process)
        descriptor = ours.detach()
        return ByteStream(descriptor, descriptor)

    def close(self) -> None:
        """Kill the processes."""
        self.reason = self.reason or "closed"
        self.closed.set()
        for process in self.processes:
            process.kill()


class ServerConnector:
    """Makes transports; what it is to refuse can be set at any time."""

    def __init__(self, *arguments: str, single: bool = False, descriptors: int | None = None) -> None:
        self.command = [SFTP_SERVER, *arguments]
        if descriptors is not None:
            self.command = ["prlimit", f"--nofile={descriptors}", *self.command]
        self.single = single
        self.logging_in = False
        self.silence = math.inf
        self.refuse_channels = False
        self.refusal: Failure | None = None
        self.blackhole = False
        self.transports: list[ServerTransport] = []
        self.attempts = 0

    async def connect(self, *, interactive: bool, beside: Transport | None = None) -> ServerTransport:
        """A transport at once, or MountError, or never."""
        self.attempts += 1
        await trio.lowlevel.checkpoint()
        if self.blackhole:
            await trio.sleep_forever()
        if self.refusal is not None:
            raise MountError(self.refusal, "refused by the test")
        transport = ServerTransport(self)
        self.transports.append(transport)
        return transport

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """Every process started, in order."""
        return [process for transport in self.transports for process in transport.processes]

    async def aclose(self) -> None:
        """End every process and collect it."""
        for process in self.processes:
            process.kill()
            process.send_signal(signal.SIGCONT)
            process.wait(10)


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raise what failed rather than a group of one."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group


@asynccontextmanager
async def serving(
    connector: Connector, **config: int | float
) -> AsyncIterator[tuple[SftpRemote, ConnectionPool]]:
    """A server over a pool that is started, and everything gone afterwards."""
    with ungrouped(), trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            pool = ConnectionPool(connector, PoolConfig(**config), nursery)  # type: ignore[arg-type]
            try:
                await pool.start(interactive=False)
                yield SftpRemote(pool), pool
            finally:
                with trio.CancelScope(shield=True):
                    await pool.aclose()
                    await connector.aclose()
                nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Wait for ``condition``; the test's limit bounds it."""
    while not condition():  # noqa: ASYNC110 — what is waited for tells nobody
        await trio.sleep(0.002)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an async test body."""

    async def body() -> None:
        await test()

    trio.run(body)


def encoded(path: os.PathLike[str]) -> bytes:
    """A path as the server has it."""
    return os.fsencode(path)
