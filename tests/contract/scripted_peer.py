"""A session whose server is a script of the test."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio

from sftpfs.aio import ByteStream, Slot
from sftpfs.errors import SessionLostError
from sftpfs.sftp.session import Session
from tests.harness import sftp_wire as wire

LIMIT = 30.0
SHORT = 0.5
"""A deadline that a test waits for."""


class Peer:
    """The server's end: reads whole requests, sends whatever a test says."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._unread = b""

    async def _read(self, size: int) -> bytes:
        while len(self._unread) < size:
            more = await self.stream.receive_some()
            assert more, "the session ended before its request"
            self._unread += more
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken

    async def request(self) -> wire.Asked:
        """The next request."""
        head = await self._read(4)
        return wire.asked(head + await self._read(int.from_bytes(head, "big")))

    async def ended(self) -> None:
        """Wait until the session closed its end."""
        try:
            while await self.stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass  # closed with bytes of ours unread


def with_peer(
    script: Callable[[Peer], Awaitable[None]],
    body: Callable[[Session], Awaitable[None]],
    *,
    timeout: float = LIMIT,
    greeting: bytes | None = wire.version(),
) -> Session:
    """Run ``body`` on a session whose server is ``script``; without a ``greeting`` the script does it."""

    async def main() -> Session:
        ours, theirs = socket.socketpair()
        descriptor = ours.detach()
        session = Session(ByteStream(descriptor, descriptor), timeout=timeout, generation=7)
        peer = Peer(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)))

        async def serve() -> None:
            if greeting is not None:
                hello = await peer.request()
                assert (hello.kind, hello.identifier) == (1, 3)
                await peer.stream.send_all(greeting)
            await script(peer)

        with trio.fail_after(LIMIT):
            async with peer.stream, trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                if greeting is not None:
                    await session.start()
                    nursery.start_soon(session.run)
                await body(session)
                session.close("the test is over")
        return session

    return trio.run(main)


async def lost(slot: Slot[object], number: int | None = None) -> None:
    """``slot`` fails as its session ended, with ``number`` where it is given."""
    with pytest.raises(SessionLostError) as caught:
        await slot.wait()
    assert caught.value.errno in ((errno.EIO, errno.EPROTO) if number is None else (number,))
