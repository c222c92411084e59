"""Channel data sent past asyncssh's own queue: every cipher, key exchanges in between, both ways mixed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
import trio

from sftpfs.aio import ByteStream
from sftpfs.transport.worker.streams.channel_fast_path import ChannelFastPath
from tests.sshd import Sshd
from tests.transport_helpers import configure, connector, endpoint_of, receive, run, send

MIB = 1 << 20
ECHO = "/bin/cat"
"""In the place of the SFTP server: what is sent comes back."""


@pytest.fixture(scope="module", params=["", "RekeyLimit 1M"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd"), config_extra=request.param) as running:
        yield running


@pytest.mark.parametrize(
    ("options", "compression"),
    [
        ((), False),
        ((), True),
        ((("RekeyLimit", "1M"),), False),
        ((("Ciphers", "aes256-gcm@openssh.com"),), False),
        ((("Ciphers", "chacha20-poly1305@openssh.com"),), False),
        ((("Ciphers", "aes128-ctr"), ("MACs", "hmac-sha2-256")), False),
    ],
)
def test_every_byte_arrives_in_order(
    server: Sshd, options: tuple[tuple[str, str], ...], compression: bool
) -> None:
    content = os.urandom(3 * MIB)

    async def echo(stream: ByteStream) -> None:
        sizes = [1, 20, 32768, 32769, 255 * 1024, MIB]
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                at = turn = 0
                while at < len(content):
                    size = sizes[turn % len(sizes)]
                    await send(stream, content[at : at + size])
                    at, turn = at + size, turn + 1

            nursery.start_soon(write)
            assert await receive(stream, len(content)) == content

    async def check() -> None:
        config = configure(server, *options, compression=compression, sftp_server=ECHO)
        async with connector(config, endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    stream = await transport.open_channel()
                    nursery.start_soon(echo, stream)
            assert not transport.closed.is_set()

    run(check)


class Received(asyncssh.SSHClientSession[bytes]):
    """Collects what comes back."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.arrived = asyncio.Event()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.data += data
        self.arrived.set()

    async def has(self, count: int) -> bytes:
        """The first ``count`` bytes, once they came."""
        while len(self.data) < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 10)
        return bytes(self.data)


def test_the_short_way_is_taken_and_may_be_mixed_with_asyncssh_s_own(tmp_path: Path) -> None:
    """With the default ciphers nothing goes through ``SSHChannel.write``: a change in asyncssh that
    closes the short way is seen here."""
    parts = [os.urandom(size) for size in (1, 100, 32768, 100_000, 3, 65536)]

    async def check(server: Sshd) -> None:
        options = dict(server.ssh_options())
        connection = await asyncssh.connect(
            server.host,
            server.port,
            username=server.user,
            client_keys=[options["IdentityFile"]],
            known_hosts=None,
            config=[],
            encryption_algs=["aes128-gcm@openssh.com"],
        )
        async with connection:
            chan, session = await connection.create_session(Received, command="cat", encoding=None)
            outlet = ChannelFastPath(connection, chan, lambda: None)
            own, queued = chan.write, 0

            def count(data: bytes, datatype: int | None = None) -> None:
                nonlocal queued
                queued += len(data)
                own(data, datatype)

            chan.write = count  # type: ignore[method-assign]
            for part in parts:
                outlet.write(memoryview(part))
                own(part)
            assert isinstance(session, Received)
            assert await session.has(2 * sum(map(len, parts))) == b"".join(part * 2 for part in parts)
            assert queued == 0
            chan.close()

    with Sshd(tmp_path / "sshd") as server:
        asyncio.run(check(server))
