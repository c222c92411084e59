"""File content over real sftp-server processes: what arrives there, and what comes back."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sftpfs.config import DataConfig
from sftpfs.data import Contents, FileContent, FileHandle
from sftpfs.remote.client import SftpRemote
from sftpfs.types import AttributeChange, OpenFlags, OpenMode
from tests.component.data_server import Observer
from tests.component.sftp_servers import ServerConnector, encoded, serving, until
from tests.harness.server_time import known_clock

MIB = 1 << 20
READ_WRITE = OpenFlags.READ | OpenFlags.WRITE


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


class Mounted:
    """Contents over a server, as vfs uses them."""

    def __init__(self, server: SftpRemote, config: DataConfig) -> None:
        self.server = server
        self.observer = Observer()
        self.contents = Contents(config, self.observer, known_clock())
        self._by_path: dict[Path, FileContent] = {}

    async def open(self, path: Path, flags: OpenFlags = READ_WRITE) -> FileHandle:
        name = encoded(path)
        remote, attributes = await self.server.open(name, flags, 0o644, lambda: name)
        if path not in self._by_path:
            self._by_path[path] = self.contents.create(len(self._by_path) + 2)
        return self._by_path[path].attach(
            remote,
            OpenMode(
                readable=OpenFlags.READ in flags,
                writable=OpenFlags.WRITE in flags,
                append=OpenFlags.APPEND in flags,
            ),
            known=attributes,
        )[0]


@asynccontextmanager
async def mounted(config: DataConfig | None = None, connections: int = 1) -> AsyncIterator[Mounted]:
    async with serving(ServerConnector(), max_connections=connections) as (server, _):
        room = Mounted(server, config or DataConfig())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.contents.run)
            yield room
            assert room.contents.dirty_bytes == 0
            nursery.cancel_scope.cancel()


async def read_all(handle: FileHandle, size: int, block: int) -> bytes:
    found = bytearray()
    for at in range(0, size, block):
        piece = handle.read_nowait(at, block)
        found += await handle.read(at, block) if piece is None else piece
    return bytes(found)


async def write(handle: FileHandle, offset: int, data: bytes) -> None:
    if not handle.write_nowait(offset, data):
        await handle.write(offset, data)


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("block", [4096, 128 << 10, MIB])
def test_what_is_written_arrives_and_comes_back(tmp_path: Path, connections: int, block: int) -> None:
    path, data = tmp_path / "file", content(12 * MIB + 4321)

    async def test() -> None:
        config = DataConfig(dirty_bytes=4 * MIB, cache_bytes=8 * MIB)
        async with mounted(config, connections) as room:
            handle = await room.open(path, READ_WRITE | OpenFlags.CREATE)
            for at in range(0, len(data), block):
                await write(handle, at, data[at : at + block])
            await handle.flush()
            assert path.read_bytes() == data
            assert room.observer.settled[-1][1].size == len(data)
            await handle.release()
            reader = await room.open(path, OpenFlags.READ)
            assert await read_all(reader, len(data), min(block, 128 << 10)) == data
            await reader.release()
            statistics = room.contents.statistics()
            assert statistics["read_ahead_used_bytes"] > len(data) // 2
            assert statistics["cached_bytes"] <= 8 * MIB

    trio.run(test)


def test_many_readers_and_writers_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        config = DataConfig(dirty_bytes=MIB, cache_bytes=2 * MIB, read_ahead_bytes=MIB)

        async def worker(room: Mounted, number: int) -> None:
            path, data = tmp_path / f"file{number}", content(MIB + number * 1000)
            handle = await room.open(path, READ_WRITE | OpenFlags.CREATE)
            offsets = list(range(0, len(data), 10_000))
            random.Random(number).shuffle(offsets)
            for at in offsets:
                await write(handle, at, data[at : at + 10_000])
            assert bytes(await handle.read(0, len(data))) == data
            await handle.fsync()
            assert path.read_bytes() == data
            assert await read_all(handle, len(data), 50_000) == data
            await handle.release()

        async with mounted(config, connections=2) as room, trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(worker, room, number)

    trio.run(test)


def test_append_from_two_handles(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"begin\n")

    async def test() -> None:
        async with mounted() as room:
            one = await room.open(path, READ_WRITE | OpenFlags.APPEND)
            two = await room.open(path, READ_WRITE | OpenFlags.APPEND)
            expected = b"begin\n"
            for number in range(50):
                line = b"line %d\n" % number
                await write(one if number % 3 else two, 0, line)
                expected += line
            assert bytes(await one.read(0, 10_000)) == expected
            for handle in (one, two):
                await handle.flush()
                await handle.release()
            assert path.read_bytes() == expected

    trio.run(test)


def test_data_nobody_flushes_arrives_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"

    async def test() -> None:
        async with mounted() as room:
            handle = await room.open(path, READ_WRITE | OpenFlags.CREATE)
            await write(handle, 0, b"lingering")
            await until(lambda: path.read_bytes() == b"lingering")
            await until(lambda: not handle.content.dirty)
            await handle.release()

    trio.run(test)


def test_write_the_server_refuses_fails_the_close() -> None:
    async def test() -> None:
        async with mounted() as room:
            handle = await room.open(Path("/dev/full"))
            await write(handle, 0, b"no room for this")
            for operation in (handle.flush, handle.fsync):
                with pytest.raises(OSError) as caught:
                    await operation()
                assert caught.value.errno in (errno.ENOSPC, errno.EIO)
            await handle.flush()
            await handle.release()
            (lost,) = room.observer.lost
            assert (lost.offset, bytes(lost.data)) == (0, b"no room for this")

    trio.run(test)


@pytest.mark.parametrize("size", [0, 10, 5 * MIB])
def test_truncation_both_ways(tmp_path: Path, size: int) -> None:
    path, data = tmp_path / "file", content(MIB)
    path.write_bytes(data)

    async def test() -> None:
        async with mounted() as room:
            handle = await room.open(path)
            await write(handle, MIB, b"more")
            attributes = await handle.setattr(AttributeChange(size=size))
            assert attributes.size == size == os.stat(path).st_size
            expected = (data + b"more" + bytes(5 * MIB))[:size]
            assert await read_all(handle, size, 128 << 10) == expected
            await handle.release()

    trio.run(test)


def test_lost_connection_fails_reads_and_writes_within_reason(tmp_path: Path) -> None:
    """Where files are not to survive it, what was dirty is reported and nothing waits for ever."""
    path = tmp_path / "file"
    path.write_bytes(content(MIB))

    async def outcome(operation: Callable[[], Awaitable[object]]) -> int:
        try:
            await operation()
        except OSError as problem:
            return problem.errno or -1
        return 0

    async def test() -> None:
        connector = ServerConnector()
        async with serving(connector, max_connections=1, reconnect=False) as (server, _):
            room = Mounted(server, DataConfig())
            handle = await room.open(path)
            await write(handle, 0, b"dirty")
            for process in connector.processes:
                process.kill()
                process.wait(10)
            with trio.fail_after(20):
                assert await outcome(handle.flush) != 0
                assert await outcome(lambda: handle.read(MIB // 2, 4096)) != 0
                await handle.release()
            assert room.contents.dirty_bytes == 0 and not handle.content.dirty

    trio.run(test)
