"""Reads of the kernel's under way, by inode, for who has to wait until they are answered.

Where a read brings less than was asked for, the kernel makes the file as short as that. It does so once:
what else was under way then, or while it was told that the file's attributes are outdated, it
fills up with zeros to the size it knows, and shows them. (Linux 6.18, fuse_short_read: a reply counts only
if the inode's attributes have had no new version since the request.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class _Read:
    """One read under way, of what begins at ``offset``."""

    __slots__ = ("answered", "offset")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.answered: trio.Event | None = None

    async def wait(self) -> None:
        if self.answered is None:
            self.answered = trio.Event()
        await self.answered.wait()


class ReadsUnderWay:
    """All that have to wait; one answered at once is never under way for others."""

    __slots__ = ("_reads",)

    def __init__(self) -> None:
        self._reads: dict[int, list[_Read]] = {}

    @contextmanager
    def one(self, number: int, offset: int) -> Iterator[None]:
        """A read of inode ``number``. To be answered on leaving, without another wait: who waited for it
        goes on after that."""
        read = _Read(offset)
        self._reads.setdefault(number, []).append(read)
        try:
            yield
        finally:
            reads = self._reads[number]
            reads.remove(read)
            if not reads:
                del self._reads[number]
            if read.answered is not None:
                read.answered.set()

    async def answered(self, number: int, below: float = math.inf) -> None:
        """Wait for the reads of inode ``number`` under way now that begin ``below`` an offset."""
        for read in [read for read in self._reads.get(number, ()) if read.offset < below]:
            if read in self._reads.get(number, ()):
                await read.wait()
