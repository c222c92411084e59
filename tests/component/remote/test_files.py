"""Open files over real sftp-server processes: striping, short replies, lost connections."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import random
import signal
from pathlib import Path

import pytest

from sftpfs.errors import Failure, IncompleteWriteError, SessionLostError
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.files.pooled_file import PooledFile
from sftpfs.remote.pool import growth_policy
from sftpfs.remote.pool.connection import FAR_BYTES
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import AttributeChange, OpenFlags
from tests.component.sftp_servers import ServerConnector, encoded, run, serving, until

CREATE = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE
MIB = 1 << 20


@pytest.fixture(autouse=True)
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server counts as far: connections are added whether or not processors are idle here."""
    monkeypatch.setattr(growth_policy, "FULL_RATE", math.inf)
    monkeypatch.setattr(growth_policy, "STRETCH", 0.0)


def content(size: int) -> bytes:
    """Bytes that differ everywhere."""
    return random.Random(size).randbytes(size)


async def opened(server: SftpRemote, path: Path, flags: OpenFlags, mode: int = 0o644) -> PooledFile:
    """``path`` opened and staying where it is."""
    name = encoded(path)
    file, _ = await server.open(name, flags, mode, lambda: name)
    assert isinstance(file, PooledFile)
    return file


async def striped(
    server: SftpRemote, pool: ConnectionPool, path: Path, flags: OpenFlags, count: int
) -> PooledFile:
    """``path`` opened on ``count`` connections."""
    file = await opened(server, path, flags)
    while len(file._handles) < count:
        slots = [file.start_read(at * MIB, MIB) for at in range(6)]
        for slot in slots:
            await slot.wait()
        await until(lambda: not (pool.bulk._growing or file._stripes.busy))
    return file


def test_file_is_read_through_several_sessions(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(20 * MIB + 12345)
    path.write_bytes(data)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=3) as (server, pool):
            file = await striped(server, pool, path, OpenFlags.READ, 3)
            assert not file.ordered
            before = [one.session.statistics.requests.get("read", 0) for one in pool._connections]
            slots = [file.start_read(at, MIB) for at in range(0, len(data), MIB)]
            parts = [bytes(await slot.wait()) for slot in slots]
            assert hashlib.sha256(b"".join(parts)).digest() == hashlib.sha256(data).digest()
            reads = [one.session.statistics.requests.get("read", 0) for one in pool._connections]
            assert reads[0] == before[0], "bulk went over the metadata connection"
            assert all(now > then for now, then in zip(reads[1:], before[1:], strict=True))
            assert all(one.outstanding == 0 for one in pool._connections)
            assert len(connector.processes) == 3
            file.close()

    run(test)


@pytest.mark.parametrize("channels", [True, False])
def test_far_away_the_first_bulk_connection_has_several_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: bool
) -> None:
    """Where the server refuses them, the one there is has to do."""
    monkeypatch.setattr("sftpfs.remote.pool.bulk_connections.FAR", 0.0)
    monkeypatch.setattr(growth_policy, "CHANNELS_RATE", math.inf)
    monkeypatch.setattr(growth_policy, "MOST_CHANNELS", 3)
    path, data = tmp_path / "big", content(12 * MIB)
    connector = ServerConnector()
    connector.refuse_channels = not channels

    async def test() -> None:
        async with serving(connector, max_connections=2) as (server, pool):
            wanted = 3 if channels else 1
            await until(lambda: len(pool.bulk.connections) == wanted)
            assert connector.attempts == 2 and len({one.transport for one in pool.bulk.connections}) == 1
            file = await opened(server, path, CREATE | OpenFlags.TRUNCATE)
            await file.start_write(0, data[: 2 * MIB]).wait()
            await until(lambda: len(file._handles) == 1 + wanted)
            for slot in [file.start_write(at, data[at : at + MIB]) for at in range(2 * MIB, len(data), MIB)]:
                await slot.wait()
            written = [one.session.statistics.requests.get("write", 0) for one in pool.bulk.connections]
            assert all(written), written
            file.close()
            assert path.read_bytes() == data
            assert connector.attempts == 2

    run(test)


def test_file_is_written_through_several_sessions(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(20 * MIB + 777)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=3) as (server, pool):
            file = await opened(server, path, CREATE | OpenFlags.TRUNCATE)
            assert file.ordered
            used: set[int] = set()
            slots = []
            for at in range(0, len(data), MIB):
                slots.append(file.start_write(at, memoryview(data)[at : at + MIB]))
                if len(slots) % 4 == 0:  # enough under way for one more connection to be wanted
                    await until(lambda: not (pool.bulk._growing or file._stripes.busy))
            for slot in slots:
                await slot.wait()
            for one in pool._connections:
                if one.session.statistics.requests.get("write"):
                    used.add(one.session.generation)
            assert used == {1, 2, 3}
            file.close()

    run(test)
    assert path.read_bytes() == data


def test_one_connection_carries_everything(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(4 * MIB)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, _):
            file = await opened(server, path, CREATE)
            await file.start_write(0, data).wait()
            assert file.ordered
            assert await file.start_read(0, len(data)).wait() == data
            file.close()

    run(test)
    assert len(connector.processes) == 1


def test_reads_and_writes_go_on_when_a_stripe_dies(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(12 * MIB)
    path.write_bytes(data)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=2) as (server, pool):
            file = await striped(server, pool, path, OpenFlags.READ | OpenFlags.WRITE, 2)
            stripe = connector.processes[1]
            stripe.send_signal(signal.SIGSTOP)  # so that requests are surely under way when it dies
            reads = [file.start_read(at, MIB) for at in range(0, 4 * MIB, MIB)]
            fresh = content(MIB)
            write = file.start_write(8 * MIB, fresh)
            stripe.kill()
            for at, slot in enumerate(reads):
                assert await slot.wait() == data[at * MIB : (at + 1) * MIB]
            await write.wait()
            assert path.read_bytes()[8 * MIB : 9 * MIB] == fresh
            assert file.ordered
            file.close()

    run(test)


def test_bulk_goes_on_when_the_metadata_session_dies(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(6 * MIB)
    path.write_bytes(data)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=2) as (server, pool):
            file = await striped(server, pool, path, OpenFlags.READ, 2)
            first = pool.metadata_nowait()
            connector.processes[0].kill()
            await until(lambda: pool.metadata_nowait() is not first)
            assert await file.start_read(MIB, MIB).wait() == data[MIB : 2 * MIB]
            assert (await file.start_fstat().wait()).size == len(data)
            file.close()

    run(test)


def test_without_reconnect_a_file_of_a_lost_session_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, reconnect=False) as (server, _):
            file = await opened(server, path, CREATE)
            connector.processes[0].kill()
            for start in (
                lambda: file.start_read(0, 10),
                lambda: file.start_write(0, b"y"),
                file.start_fstat,
            ):
                with pytest.raises((SessionLostError, IncompleteWriteError)) as raised:
                    await start().wait()
                assert raised.value.errno == errno.EIO
            file.close()
            with pytest.raises(OSError) as closed:
                await file.start_fsync().wait()
            assert closed.value.errno == errno.EBADF

    run(test)


def test_append_never_stripes_and_keeps_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"begin")
    chunks = [content(300_000 + at) for at in range(12)]
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=3) as (server, pool):
            other = tmp_path / "other"
            other.write_bytes(content(8 * MIB))
            await striped(server, pool, other, OpenFlags.READ, 3)
            file = await opened(server, path, OpenFlags.WRITE | OpenFlags.APPEND)
            slots = [file.start_write(0, chunk) for chunk in chunks]
            for slot in slots:
                await slot.wait()
            assert file.ordered
            file.close()

    run(test)
    assert path.read_bytes() == b"begin" + b"".join(chunks)


def test_another_file_at_the_path_is_not_taken_for_a_stripe(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(6 * MIB)
    path.write_bytes(data)
    other = tmp_path / "other"
    other.write_bytes(bytes(6 * MIB))
    os.utime(other, (1, 1))
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=3) as (server, pool):
            file = await opened(server, path, OpenFlags.READ)
            other.rename(path)  # replaced behind our back
            for _ in range(2):
                slots = [file.start_read(at, MIB) for at in range(0, len(data), MIB)]
                assert b"".join([bytes(await slot.wait()) for slot in slots]) == data
                await until(lambda: pool.bulk.connections and not (pool.bulk._growing or file._stripes.busy))
            assert file.ordered
            file.close()

    run(test)


def test_renamed_file_is_not_opened_by_its_old_path(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(3 * MIB)
    path.write_bytes(data)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=2) as (server, pool):
            file, _ = await server.open(encoded(path), OpenFlags.READ, 0, lambda: None)
            for _ in range(2):
                assert await file.start_read(0, len(data)).wait() == data
                await until(lambda: pool.bulk.connections)
            opens = pool.bulk.connections[0].session.statistics.requests.get("open", 0)
            assert (opens, file.ordered) == (0, True)
            file.close()

    run(test)


def test_reads_end_at_the_end_of_the_file(tmp_path: Path) -> None:
    path, data = tmp_path / "file", content(700_001)
    path.write_bytes(data)

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, _):
            file = await opened(server, path, OpenFlags.READ)
            assert await file.start_read(0, 2 * MIB).wait() == data
            assert await file.start_read(600_000, MIB).wait() == data[600_000:]
            assert await file.start_read(len(data), 10).wait() == b""
            assert await file.start_read(0, 0).wait() == b""
            assert await file.start_read(5, 100).wait() == data[5:105]
            file.close()

    run(test)


def test_hole_reads_as_zeros_and_beyond_four_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "sparse"

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, _):
            file = await opened(server, path, CREATE)
            await file.start_write(5 << 30, b"end").wait()
            assert await file.start_read((5 << 30) - 4, 100).wait() == b"\0\0\0\0end"
            await file.start_setattr(AttributeChange(size=3)).wait()
            assert (await file.start_fstat().wait()).size == 3
            await file.start_fsync().wait()
            file.close()

    run(test)


def test_further_channels_where_nobody_may_be_asked(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(6 * MIB)
    path.write_bytes(data)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, max_connections=3) as (server, pool):
            connector.refusal = Failure.AUTHENTICATION
            file = await striped(server, pool, path, OpenFlags.READ, 3)
            assert len(connector.transports) == 1
            assert len(connector.processes) == 3
            assert connector.attempts == 2, "asked a server for authentication again and again"
            file.close()

    run(test)


@pytest.mark.parametrize("single", [True, False])
def test_one_is_enough_where_channels_are_refused(tmp_path: Path, single: bool) -> None:
    path, data = tmp_path / "big", content(6 * MIB)
    path.write_bytes(data)
    connector = ServerConnector(single=single)

    async def test() -> None:
        async with serving(connector, max_connections=3) as (server, pool):
            connector.refusal = Failure.AUTHENTICATION
            connector.refuse_channels = True
            file = await opened(server, path, OpenFlags.READ)
            for _ in range(3):
                assert await file.start_read(0, len(data)).wait() == data
                await until(lambda: pool.bulk.refused)
            assert pool.statistics()["further_connections_refused"]
            assert len(connector.processes) == 1
            assert connector.attempts == (1 if single else 2)
            file.close()

    run(test)


def test_writes_beyond_what_a_connection_carries_wait_for_room(tmp_path: Path) -> None:
    """All sent at once, they are queued behind FAR_BYTES a connection and all arrive, in place."""
    path, data = tmp_path / "big", content(24 * MIB)
    path.touch()

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=3) as (server, pool):
            file = await opened(server, path, OpenFlags.WRITE)
            slots = [file.start_write(at, data[at : at + MIB]) for at in range(0, len(data), MIB)]
            assert isinstance(file, PooledFile) and file.outbox.queue and not file.ordered
            connections = [pool.metadata_nowait(), *pool.bulk.connections]
            assert all(one is None or one.outstanding <= FAR_BYTES + MIB for one in connections)
            for slot in slots:
                await slot.wait()
            assert not file.outbox.queue
            file.close()
            assert path.read_bytes() == data

    run(test)


def test_a_file_closed_with_writes_waiting_sends_them(tmp_path: Path) -> None:
    path, data = tmp_path / "big", content(12 * MIB)
    path.touch()

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, _):
            file = await opened(server, path, OpenFlags.WRITE)
            slots = [file.start_write(at, data[at : at + MIB]) for at in range(0, len(data), MIB)]
            assert isinstance(file, PooledFile) and file.outbox.queue
            file.close()
            for slot in slots:
                await slot.wait()
            assert path.read_bytes() == data

    run(test)
