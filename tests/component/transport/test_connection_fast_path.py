"""Channel data taken past asyncssh's own parser: in any pieces, paused, forged, and between other packets."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import asyncssh
import pytest

from sftpfs.transport.worker.streams import connection_fast_path
from sftpfs.transport.worker.streams.connection_fast_path import ConnectionFastPath
from tests.sshd import Sshd

MIB = 1 << 20
LIMIT = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


class Received(asyncssh.SSHClientSession[bytes]):
    """Collects what comes back."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.deliveries = 0
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.data += data
        self.deliveries += 1
        self.arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    async def has(self, count: int) -> bytes:
        """The first ``count`` bytes, once they came."""
        while len(self.data) < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), LIMIT)
        return bytes(self.data)


@asynccontextmanager
async def connected(
    server: Sshd, cipher: str = "aes128-gcm@openssh.com", rekey_bytes: int = 1 << 30
) -> AsyncIterator[Client]:
    """A client of ``server`` with the fast path installed."""
    connection = await asyncssh.connect(
        server.host,
        server.port,
        username=server.user,
        client_keys=[dict(server.ssh_options())["IdentityFile"]],
        known_hosts=None,
        config=[],
        encryption_algs=[cipher],
        rekey_bytes=rekey_bytes,
    )
    try:
        yield Client(connection)
    finally:
        connection.abort()
        await asyncio.wait_for(connection.wait_closed(), LIMIT)


class Client:
    """A connection with the fast path; ``parsed`` counts the bytes of channels that asyncssh took itself."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self.connection = connection
        self.parsed = 0
        ConnectionFastPath(connection)

    async def cat(self) -> tuple[asyncssh.SSHClientChannel[bytes], Received]:
        """A channel that sends back what it is sent."""
        chan, session = await self.connection.create_session(Received, command="cat", encoding=None)
        accept = chan._accept_data

        def count(data: bytes, datatype: int | None = None) -> None:
            self.parsed += len(data)
            accept(data, datatype)

        chan._accept_data = count  # type: ignore[method-assign]
        assert isinstance(session, Received)
        return chan, session

    def receive_by(self, change: Callable[[bytes], list[bytes]]) -> None:
        """What comes from the socket comes as ``change`` makes it from now on."""
        receive = self.connection.data_received

        def changed(data: bytes, datatype: int | None = None) -> None:
            for piece in change(data):
                receive(piece, datatype)

        self.connection.data_received = changed  # type: ignore[method-assign, assignment]


def run(check: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(check(), 60))  # type: ignore[arg-type]


def test_nothing_goes_through_asyncssh_s_parser(server: Sshd) -> None:
    """A change in asyncssh that closes the fast path is seen here. Two windows and more: they are opened."""
    content = os.urandom(5 * MIB)

    async def check() -> None:
        async with connected(server) as client:
            chan, session = await client.cat()
            chan.write(content)
            assert await session.has(len(content)) == content
            assert client.parsed == 0
            chan.write_eof()
            assert await asyncio.wait_for(session.lost, LIMIT) is None
            assert chan.get_exit_status() == 0

    run(check)


@pytest.mark.parametrize("cipher", ["chacha20-poly1305@openssh.com", "aes256-ctr"])
def test_other_ciphers_are_asyncssh_s(server: Sshd, cipher: str) -> None:
    content = os.urandom(MIB)

    async def check() -> None:
        async with connected(server, cipher) as client:
            chan, session = await client.cat()
            chan.write(content)
            assert await session.has(len(content)) == content
            assert client.parsed == len(content)

    run(check)


def test_keys_are_exchanged_in_the_middle_of_a_stream(server: Sshd) -> None:
    content = os.urandom(2 * MIB)
    exchanges = 0

    async def check() -> None:
        nonlocal exchanges
        async with connected(server, rekey_bytes=100_000) as client:
            chan, session = await client.cat()
            key = None
            for start in range(0, len(content), 50_000):
                chan.write(content[start : start + 50_000])
                await session.has(start + 1)
                exchanges += client.connection._recv_encryption is not key
                key = client.connection._recv_encryption
            assert await session.has(len(content)) == content
            assert client.parsed < len(content) // 2

    run(check)
    assert exchanges > 5


@pytest.mark.parametrize("most", [1, 20, 1000, 70_000])
def test_packets_arrive_in_any_pieces(server: Sshd, most: int) -> None:
    """Cut anywhere, in their lengths too; and the connection is as good as before afterwards."""
    chance = random.Random(most)
    sizes = [1, 3, 400, 32768, 5000] if most == 1 else [1, 100, 40_000, 200_000, 3]
    content = [os.urandom(size) for size in sizes]

    def cut(data: bytes) -> list[bytes]:
        pieces = []
        while data:
            size = chance.randint(1, most)
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    async def check() -> None:
        async with connected(server) as client:
            client.receive_by(cut)
            chan, session = await client.cat()
            for part in content:
                chan.write(part)
            assert await session.has(sum(sizes)) == b"".join(content)
            assert client.parsed == 0
            assert (await client.connection.run("echo alive", check=True)).stdout == "alive\n"

    run(check)


def test_two_channels_in_one_read_get_their_own(server: Sshd) -> None:
    """Held back until both have sent: their packets then come in one piece."""
    kept: list[bytes] = []

    async def check() -> None:
        async with connected(server) as client:
            pairs = [await client.cat() for _ in range(2)]
            holding = True
            arrived = asyncio.Event()

            def hold(data: bytes) -> list[bytes]:
                kept.append(data)
                arrived.set()
                if holding:
                    return []
                pieces = [b"".join(kept)]
                kept.clear()
                return pieces

            client.receive_by(hold)
            for turn in range(6):
                pairs[turn % 2][0].write(b"ab"[turn % 2 : turn % 2 + 1] * 100)
                arrived.clear()
                await asyncio.wait_for(arrived.wait(), LIMIT)
            holding = False
            for chan, _ in pairs:
                chan.write(b".")
            assert await pairs[0][1].has(301) == b"a" * 300 + b"."
            assert await pairs[1][1].has(301) == b"b" * 300 + b"."
            assert client.parsed == 0

    run(check)


def test_a_paused_channel_gets_nothing_and_then_everything(server: Sshd) -> None:
    content = os.urandom(MIB)

    async def check() -> None:
        async with connected(server) as client:
            chan, session = await client.cat()
            chan.write(b"x")
            await session.has(1)
            chan.pause_reading()
            chan.write(content)
            other, beside = await client.cat()
            other.write(content)
            await beside.has(len(content))
            assert bytes(session.data) == b"x"
            chan.resume_reading()
            assert await session.has(1 + len(content)) == b"x" + content

    run(check)


def test_a_forged_packet_ends_the_connection(server: Sshd) -> None:
    """What came before it is delivered, nothing of it nor after it, and asyncssh says why."""
    content = os.urandom(2 * MIB)
    spoiled = 300_000

    async def check() -> None:
        async with connected(server) as client:
            chan, session = await client.cat()
            seen = 0

            def spoil(data: bytes) -> list[bytes]:
                nonlocal seen
                start, seen = seen, seen + len(data)
                if not start <= spoiled < seen:
                    return [data]
                changed = bytearray(data)
                changed[spoiled - start] ^= 1
                return [bytes(changed)]

            client.receive_by(spoil)
            chan.write(content)
            error = await asyncio.wait_for(session.lost, LIMIT)
            assert isinstance(error, asyncssh.MACError), error
            assert 0 < len(session.data) < spoiled
            assert content.startswith(bytes(session.data))

    run(check)


def test_a_length_that_cannot_be_ends_the_connection_at_once(server: Sshd) -> None:
    """Not waited for: a packet that says it is shorter than any is, or longer than was allowed."""

    async def check(length: int) -> None:
        async with connected(server) as client:
            _, session = await client.cat()
            client.connection.data_received(length.to_bytes(4, "big") + bytes(100))
            assert isinstance(await asyncio.wait_for(session.lost, LIMIT), asyncssh.DisconnectError)

    for length in (0, 15, 0xFFFFFFFF):
        run(lambda length=length: check(length))  # type: ignore[misc]


def test_what_a_session_raises_ends_the_connection(server: Sshd) -> None:
    """As where asyncssh delivers: the connection is closed, not left half read."""

    class Raises(Received):
        def data_received(self, data: bytes, datatype: int | None) -> None:
            raise RuntimeError("a fault of the session")

    async def check() -> None:
        async with connected(server) as client:
            chan, session = await client.connection.create_session(Raises, command="cat", encoding=None)
            chan.write(b"x")
            assert isinstance(session, Raises)
            assert await asyncio.wait_for(session.lost, LIMIT) is not None

    run(check)


def test_the_clock_of_the_keepalive_starts_again(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends data is not asked whether it lives; one that is silent is."""
    monkeypatch.setattr(connection_fast_path, "KEEPALIVE_STEP", 0.0)

    async def check() -> None:
        async with connected(server) as client:
            chan, session = await client.cat()
            client.connection.set_keepalive(1000, 3)
            timer = client.connection._keepalive_timer
            chan.write(b"x")
            await session.has(1)
            assert client.connection._keepalive_timer is not timer

    run(check)
