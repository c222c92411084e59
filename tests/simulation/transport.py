"""In the place of the product's transport: connections in memory; see ``network``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import trio

from tests.simulation.network import CONNECT_TIMEOUT, MOUNT, Channel, Network
from tests.simulation.server_extensions import ServerSession


class MemoryStream:
    """Implements ``sftpfs.aio.ByteStream`` for the session: its descriptors are the channel itself."""

    def __init__(self, channel: Channel) -> None:
        self.read_fd = self.write_fd = channel
        self.closed = False

    def read_into(self, space: memoryview) -> int:
        """As ``ByteStream.read_into``."""
        return self.read_fd.readv((space,))

    def write(self, buffers: Sequence[Any]) -> int:
        """As ``ByteStream.write``."""
        return self.write_fd.writev(buffers)

    async def writable(self) -> None:
        """As ``ByteStream.writable``."""
        await self.write_fd.wait_writable()

    async def serve(self, read: Callable[[], object]) -> None:
        """As ``ByteStream.serve``, by trio's public means."""
        while not self.closed:
            await self.read_fd.wait_readable()
            read()
        raise trio.ClosedResourceError

    def close(self) -> None:
        """As ``ByteStream.close``."""
        if not self.closed:
            self.closed = True
            self.read_fd.close()


class MemoryTransport:
    """Implements ``transport.api.Transport``: one connection, a process at the server for each channel."""

    may_be_asking = False
    doubted = None
    failure = None
    address = "one"
    server = ""
    about = ""

    def __init__(self, network: Network, number: int) -> None:
        self.network = network
        self.number = number
        self.closed = trio.Event()
        self.reason = ""
        self.silence = math.inf
        self.dead = False
        """Nothing passes any more."""
        self.silent_until = self.mute_until = -math.inf
        """No request arrives until then; no answer does."""
        self.channels: list[Channel] = []

    async def open_channel(self) -> MemoryStream:
        """As ``Transport.open_channel``."""
        from sftpfs.errors import Failure, MountError

        await trio.sleep(2 * self.network.delay())
        while not self.closed.is_set() and (until := self.quiet_until) > trio.current_time():
            with trio.move_on_at(until):
                await self.closed.wait()
        if self.closed.is_set() or self.dead:
            raise MountError(Failure.TRANSPORT, "the connection is gone")
        session = ServerSession(self.network.disk, MOUNT, largest=self.network.largest)
        session.listed = self.network.listed
        session.proc = self.network.proc
        session.refuse = self.network.refusal
        channel = Channel(self.network, self, session)
        self.channels.append(channel)
        return MemoryStream(channel)

    @property
    def quiet_until(self) -> float:
        return max(self.network.hole_until, self.silent_until, self.mute_until)

    def cut(self, refused: float = 0.0) -> None:
        """The connection breaks now; nobody is let in for ``refused`` seconds."""
        if refused:
            self.network.refused_until = max(self.network.refused_until, trio.current_time() + refused)
        self.network.on_cut(trio.current_time(), max(trio.current_time(), self.network.refused_until))
        self.dead = True
        self.reason = "cut"
        self.network.at(trio.current_time(), self._noticed)

    def cut_if_alive(self) -> None:
        if not self.dead:
            self.cut()

    def lose(self, until: float) -> None:
        """The other side is gone without a word; somebody there says so at ``until``."""
        self.dead = True
        self.reason = "reset"
        self.network.at(until, self._noticed)

    def _noticed(self) -> None:
        self.closed.set()
        for channel in self.channels:
            channel.hang_up()

    def close(self) -> None:
        """As ``Transport.close``."""
        if self.quiet_until > trio.current_time() or (self.dead and not self.closed.is_set()):
            self.network.on_cut(trio.current_time(), trio.current_time())  # given up as silent
        self.reason = self.reason or "closed"
        self.dead = True
        self.closed.set()
        for channel in self.channels:
            channel.hang_up()


class MemoryConnector:
    """Implements ``transport.api.Connector``."""

    single = False
    logging_in = False

    def __init__(self, network: Network) -> None:
        self.network = network
        self._numbers = itertools.count()

    async def connect(self, *, interactive: bool, beside: object = None) -> MemoryTransport:
        """As ``Connector.connect``: a few round trips, or MountError."""
        from sftpfs.errors import Failure, MountError

        network = self.network
        await trio.sleep(4 * network.delay() + 0.001)
        with trio.move_on_after(CONNECT_TIMEOUT) as scope:
            while network.hole_until > trio.current_time():  # noqa: ASYNC110 — a clock, no event
                await trio.sleep_until(network.hole_until)
        if scope.cancelled_caught:
            raise MountError(Failure.TIMED_OUT, "no answer")
        if network.refused_until > trio.current_time():
            raise MountError(Failure.TRANSPORT, "Connection refused")
        transport = MemoryTransport(network, next(self._numbers))
        network.transports.append(transport)
        return transport

    async def aclose(self) -> None:
        """Nothing is left."""


class _LowLevel:
    """``trio.lowlevel`` with channels for descriptors."""

    @staticmethod
    async def wait_readable(channel: Channel) -> None:
        if channel == -1 or channel is None:
            raise trio.ClosedResourceError
        await channel.wait_readable()

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)


class _Trio:
    lowlevel = _LowLevel()

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


def install() -> None:
    """Give ``sftpfs.sftp`` channels for descriptors."""
    from sftpfs.sftp import handshake

    handshake.trio = _Trio()  # type: ignore[assignment]
