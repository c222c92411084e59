"""One file, its stepped server and its content, for tests of what goes when."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from sftpfs.config import DataConfig
from sftpfs.data import Contents, FileContent, FileHandle
from tests.component.data_server import (
    Observer,
    Outcome,
    SteppedServer,
    age,
    attach,
    perform,
    settle_tasks,
    start,
)
from tests.component.sftp_servers import ungrouped
from tests.harness.server_time import known_clock


class Room:
    """One file, its server and its content."""

    def __init__(self, path: Path, data: bytes, *, ordered: bool = True, **config: Any) -> None:
        path.write_bytes(data)
        age(path)
        self.path = path
        self.server = SteppedServer(path, ordered=ordered)
        self.observer = Observer()
        self.contents = Contents(DataConfig(**config), self.observer, known_clock())
        self.content: FileContent = self.contents.create(9)
        self.nursery: trio.Nursery

    def open(self, **options: Any) -> FileHandle:
        return attach(self.content, self.server, **options)[0]

    async def start(self, operation: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await start(self.nursery, operation, *args)

    async def perform(self, operation: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await perform(self.server, self.nursery, operation, *args)

    def kinds(self) -> list[str]:
        """What waits at the server, in the order sent."""
        return [request.kind for request in self.server.requests]

    def statistics(self) -> dict[str, int]:
        return self.contents.statistics()

    async def close(self) -> None:
        self.server.finish_all()
        for handle in list(self.content.handles):
            assert isinstance(handle, FileHandle)
            await self.perform(handle.release)
        self.server.finish_all()


def in_room(
    path: Path,
    test: Callable[[Room], Awaitable[None]],
    data: bytes = b"",
    *,
    ordered: bool = True,
    **config: Any,
) -> None:
    """Run ``test`` over a file of ``data`` below ``path``; nothing dirty may remain."""

    async def inside() -> None:
        room = Room(path / "file", data, ordered=ordered, **config)
        with trio.fail_after(30):
            async with trio.open_nursery() as room.nursery:
                await test(room)
                await room.close()
        assert room.statistics()["dirty_bytes"] == 0
        assert room.statistics()["dirty_files"] == 0
        room.content.forget()
        assert room.statistics()["read_ahead_held_bytes"] == 0

    with ungrouped():
        trio.run(inside)


def content(size: int) -> bytes:
    """Bytes that differ everywhere, the same each time."""
    return random.Random(size).randbytes(size)


async def perform_rest(room: Room, outcome: Outcome) -> Any:
    """Answer whatever waits, in order, until the operation is over; its result."""
    for _ in range(100):
        if outcome.done:
            return outcome.take()
        room.server.finish_all()
        await settle_tasks()
    raise AssertionError("does not end")
