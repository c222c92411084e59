"""Random use of one file, its server's replies in random order, against a plain bytearray."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from sftpfs.config import DataConfig
from sftpfs.data import Contents, FileHandle
from sftpfs.types import AttributeChange
from tests.component.data_server import (
    Observer,
    SteppedServer,
    attach,
    finish,
    perform,
    settle_tasks,
    start,
)
from tests.harness.server_time import known_clock

SIZE = 700_000
"""Several chunks and extents, the last not whole."""

CONFIG = DataConfig(cache_bytes=400_000, dirty_bytes=600_000, read_ahead_bytes=300_000)
"""Little, so that everything gives way all the time."""


class Shadow:
    """Two handles on one content, and what a local file would hold."""

    def __init__(self, path: Path, seed: int, *, ordered: bool) -> None:
        self.random = random.Random(seed)
        self.server = SteppedServer(path, ordered=ordered, seed=seed)
        self.local = bytearray(self.random.randbytes(SIZE))
        path.write_bytes(self.local)
        self.observer = Observer()
        self.contents = Contents(CONFIG, self.observer, known_clock())
        self.content = self.contents.create(5)
        self.handles: list[FileHandle] = []
        self.nursery: trio.Nursery

    async def perform(self, operation: Callable[..., Any], *args: Any) -> Any:
        return await perform(self.server, self.nursery, operation, *args)

    def open(self) -> None:
        append = self.random.random() < 0.3
        direct = self.random.random() < 0.1
        handle, _ = attach(self.content, self.server, append=append, direct=direct)
        self.handles.append(handle)

    def range(self) -> tuple[int, int]:
        """Somewhere, often near the end, often past it."""
        choose = self.random
        length = choose.choice((1, 100, 4096, 4096, 20_000, 140_000, 300_000))
        end = len(self.local)
        near = choose.choice((0, end - 5000, choose.randrange(end + 10_000), choose.randrange(end + 200_000)))
        return max(0, near), length

    async def read(self, handle: FileHandle) -> None:
        offset, length = self.range()
        found = handle.read_nowait(offset, length)
        if found is None:
            found = await self.perform(handle.read, offset, length)
        assert bytes(found) == self.local[offset : offset + length]

    async def read_on(self, handle: FileHandle) -> None:
        """A few sequential reads."""
        offset, _ = self.range()
        for at in range(offset, offset + 200_000, 50_000):
            found = handle.read_nowait(at, 50_000)
            if found is None:
                found = await self.perform(handle.read, at, 50_000)
            assert bytes(found) == self.local[at : at + 50_000]

    async def write(self, handle: FileHandle) -> None:
        offset, length = self.range()
        for _ in range(self.random.choice((1, 1, 10))):
            data = self.random.randbytes(length)
            if handle.append:
                offset = len(self.local)
            if not handle.write_nowait(offset, data):
                await self.perform(handle.write, offset, data)
            self.local.extend(bytes(max(0, offset + length - len(self.local))))
            self.local[offset : offset + length] = data
            offset += length

    async def read_while_writing(self, reader: FileHandle, writer: FileHandle) -> None:
        """Every byte read is the one before or after the write that came in between."""
        offset, length = self.range()
        before = bytes(self.local)
        outcome = await start(self.nursery, reader.read, offset, length)
        for _ in range(self.random.randrange(4)):
            if self.server.requests:
                self.server.step()
        await settle_tasks()
        await self.write(writer)
        found = bytes(await finish(self.server, outcome))
        after = bytes(self.local)
        assert len(before[offset : offset + length]) <= len(found) <= len(after[offset : offset + length])
        for at, byte in enumerate(found):
            if byte != after[offset + at]:
                old = before[offset + at] if offset + at < len(before) else 0
                assert byte == old

    async def truncate(self, handle: FileHandle) -> None:
        size = self.random.choice((0, 1000, 131_072, SIZE, self.random.randrange(SIZE)))
        attributes = await self.perform(handle.setattr, AttributeChange(size=size))
        assert attributes.size == size
        if size < len(self.local):
            del self.local[size:]
        else:
            self.local.extend(bytes(size - len(self.local)))

    async def flush(self, handle: FileHandle) -> None:
        await self.perform(handle.flush)
        if handle.writable and not self.content.dirty:
            assert self.server.path.read_bytes() == self.local

    async def reopen(self) -> None:
        handle = self.handles.pop(self.random.randrange(len(self.handles)))
        if self.random.random() < 0.7:
            await self.perform(handle.flush)
        await self.perform(handle.release)
        self.open()

    async def step(self) -> None:
        one, other = self.random.sample(self.handles, 2)
        kind = self.random.random()
        if kind < 0.30:
            await self.read(one)
        elif kind < 0.42:
            await self.read_on(one)
        elif kind < 0.60:
            await self.write(one)
        elif kind < 0.65:
            await self.read_while_writing(one, other)
        elif kind < 0.69:
            await self.truncate(one)
        elif kind < 0.85:
            await self.flush(one)
        elif kind < 0.87:
            await self.perform(one.fsync)
        elif kind < 0.92:
            await self.reopen()
        else:
            for _ in range(self.random.randrange(10)):
                if self.server.requests:
                    self.server.step()
        if len(self.local) > 3 * SIZE:
            await self.truncate(one)
        assert (self.content.size if self.content.dirty else len(self.local)) == len(self.local)
        assert 0 <= self.contents.dirty_bytes <= CONFIG.dirty_bytes + 300_000
        assert self.contents.statistics()["cached_bytes"] <= CONFIG.cache_bytes


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_random_use_equals_a_bytearray(tmp_path: Path, seed: int, ordered: bool) -> None:
    async def test() -> None:
        shadow = Shadow(tmp_path / "file", seed, ordered=ordered)
        with trio.fail_after(100):
            async with trio.open_nursery() as shadow.nursery:
                shadow.open()
                shadow.open()
                for _ in range(600):
                    await shadow.step()
                assert await shadow.perform(shadow.contents.drain) == []
                shadow.server.finish_all()
                assert os.stat(shadow.server.path).st_size == len(shadow.local)
                assert shadow.server.path.read_bytes() == shadow.local
                for handle in shadow.handles:
                    await shadow.perform(handle.release)
                statistics = shadow.contents.statistics()
                shadow.content.forget()
        assert statistics["dirty_bytes"] == 0 and statistics["dirty_files"] == 0
        assert shadow.contents.statistics()["cached_bytes"] == 0
        assert shadow.contents.statistics()["read_ahead_held_bytes"] == 0

    trio.run(test)
