"""Reads of the kernel's under way, by inode, and which of them may not tell it the end of the file any more.

Where a read brings less than was asked for, the kernel makes the file as short as that. It does so once:
what else was under way then, or while it was told of the file's attributes, or that they are outdated, it
fills up with zeros to the size it knows, and shows them. (Linux 6.18, fuse_short_read: a reply counts only
if the inode's attributes have had no new version since the request.) Such a read is *overtaken*. It is to
fail if it ends early: of a page whose read ahead failed the kernel asks again before the program hears of it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from sftpfs import clock
from sftpfs.types import Buffer
from sftpfs.vfs.inodes import Inode

SETTLE_SECONDS = 0.02
"""Within which a program has taken in the attributes it was told, which get their new version only then, on a
processor that is busy. (Four readers of a file that is cut 20 times a second: of 23,000 reads 77 filled up
with zeros; 71 where only what is told while a read is here counts, 10 of 48,000 so.) So it is of the end that
a read brought. (Four readers of a file that grows 500 times a second: 12 of 4,100 reads had zeros at the
end; none of 4,600 where the longer one is told of after that.)"""

QUIET_SECONDS = 0.1
"""A longer file is told of after so long in any case, however many read its end meanwhile."""


class _Read:
    """One read under way, of what is from ``offset`` to ``end``."""

    __slots__ = ("answered", "end", "offset", "overtaken")

    def __init__(self, offset: int, end: int) -> None:
        self.offset = offset
        self.end = end
        self.answered: trio.Event | None = None
        self.overtaken = False

    async def wait(self) -> None:
        if self.answered is None:
            self.answered = trio.Event()
        await self.answered.wait()


class ReadsUnderWay:
    """All that have to wait; one answered at once is never under way for others.

    INVARIANT: ``_told`` has what is in ``_order``, which ends ``SETTLE_SECONDS`` before the last telling.
    """

    __slots__ = ("_ended", "_order", "_reads", "_told")

    def __init__(self) -> None:
        self._reads: dict[int, list[_Read]] = {}
        self._told: dict[int, dict[int, float]] = {}
        """By inode number and process, or its thread, when it was told of the attributes last."""
        self._order: deque[tuple[float, int, int]] = deque()
        self._ended: dict[int, float] = {}
        """By inode number when a read last brought the end of the file; the oldest first, the last
        ``SETTLE_SECONDS`` at least."""

    @contextmanager
    def one(self, number: int, offset: int, end: int, opener: int) -> Iterator[_Read]:
        """A read of inode ``number``, from ``offset`` to ``end``, by a file that ``opener`` opened, who reads
        it mostly, and has taken in what it was told. To be answered on leaving, without another wait: who
        waited for it goes on after that."""
        read = _Read(offset, end)
        told = self._told.get(number)
        if told:
            since = clock.awake() - SETTLE_SECONDS
            read.overtaken = any(at > since for process, at in told.items() if process != opener)
        self._reads.setdefault(number, []).append(read)
        try:
            yield read
        finally:
            reads = self._reads[number]
            reads.remove(read)
            if not reads:
                del self._reads[number]
            if read.answered is not None:
                read.answered.set()

    async def answered(self, number: int, *, below: float = math.inf, past: int = -1) -> None:
        """Wait for the reads of inode ``number`` under way now that begin ``below`` an offset and end
        ``past`` another."""
        for read in [read for read in self._reads.get(number, ()) if read.offset < below and read.end > past]:
            if read in self._reads.get(number, ()):
                await read.wait()

    def ended(self, number: int) -> None:
        """A read of inode ``number`` is answered with less than was asked for."""
        now = clock.awake()
        self._ended.pop(number, None)
        self._ended[number] = now
        while (oldest := next(iter(self._ended))) != number and self._ended[oldest] < now - SETTLE_SECONDS:
            del self._ended[oldest]

    async def quiet(self, inode: Inode) -> None:
        """Wait until the kernel has taken in every end of ``inode`` that a read has brought, before it is
        told of a later one: it would show what is between the two as zeros. ``QUIET_SECONDS`` at most."""
        with trio.move_on_after(QUIET_SECONDS):
            while inode.told is not None:
                await self.answered(inode.number, past=inode.told.size)
                left = self._ended.get(inode.number, -math.inf) + SETTLE_SECONDS - clock.awake()
                if left <= 0:
                    return
                await trio.sleep(left)

    def told(self, inode: Inode, process: int) -> None:
        """``process`` is told the attributes of ``inode``."""
        if not inode.handles:
            return
        number, now = inode.number, clock.awake()
        self.overtake(number)
        self._told.setdefault(number, {})[process] = now
        self._order.append((now, number, process))
        while self._order[0][0] < now - SETTLE_SECONDS:
            at, number, process = self._order.popleft()
            told = self._told.get(number, {})
            if told.get(process) == at:
                del told[process]
                if not told:
                    del self._told[number]

    def overtake(self, number: int) -> None:
        """What is under way for inode ``number`` tells the kernel no end any more: it knows of another
        version of the attributes."""
        for read in self._reads.get(number, ()):
            read.overtaken = True

    def failed(self, number: int) -> None:
        """A read failed for being overtaken: the one that follows counts from now."""
        self._told.pop(number, None)


def ends_early(inode: Inode, offset: int, size: int, data: Buffer) -> bool:
    """Whether a read ends before the file does by what the kernel knows: it learns the size of it then, of
    the first one answered."""
    return len(data) < size and inode.told is not None and offset + len(data) < inode.told.size


def became_longer(inode: Inode) -> bool:
    """Whether the kernel takes a file of which it may have the end to be shorter than it is."""
    if inode.told is None or not inode.handles or (inode.content is not None and inode.content.dirty):
        return False
    return inode.told.size < inode.attributes.size


def became_shorter(inode: Inode) -> bool:
    """Whether the kernel takes the file to be longer than it is."""
    return inode.told is not None and inode.attributes.size < inode.told.size
