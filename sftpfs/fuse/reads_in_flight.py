"""The kernel's reads under way, by inode, and which of them may no longer report the end of the file.

If a read brings less than was asked for, the kernel makes the file that short. It does so once. Other reads
that were under way then, or while it was told of the file's attributes, or that they are outdated, it fills
up with zeros to the size it knows, and shows them. (Linux 6.18, fuse_short_read: a reply counts only if the
inode's attributes have had no new version since the request.) Such a read is *overtaken*. It must fail if it
ends early: for a page whose read ahead failed the kernel asks again before the program hears of it.
"""

from __future__ import annotations

import math
from collections import deque

import trio

from sftpfs import clock
from sftpfs.types import Buffer
from sftpfs.vfs.tree.inode import Inode

SETTLE_SECONDS = 0.02
"""Seconds within which a program has processed the attributes it was sent, which get their new version only
then, on a busy processor. (Four readers of a file that is cut 20 times a second: of 23,000 reads 77 were
filled up with zeros; 71 if only attributes sent while a read is here count, 10 of 48,000 with this.) The same
holds for the end that a read brought. (Four readers of a file that grows 500 times a second: 12 of 4,100
reads had zeros at the end; none of 4,600 if the longer file is reported after that.)
"""

QUIET_SECONDS = 0.1
"""A longer file is reported after this time in any case, however many programs read its end meanwhile."""


UNSEEN = 0
"""What the kernel calls every process of a PID namespace that ours does not contain."""


class _Read:
    """A read of inode ``number``, of what is from ``offset`` to ``end``; among ``reads`` within its block."""

    __slots__ = ("_number", "_reads", "answered", "end", "offset", "overtaken")

    def __init__(self, reads: dict[int, list[_Read]], number: int, offset: int, end: int) -> None:
        self._reads = reads
        self._number = number
        self.offset = offset
        self.end = end
        self.answered: trio.Event | None = None
        self.overtaken = False

    def __enter__(self) -> _Read:
        self._reads.setdefault(self._number, []).append(self)
        return self

    def __exit__(self, *error: object) -> None:
        reads = self._reads[self._number]
        reads.remove(self)
        if not reads:
            del self._reads[self._number]
        if self.answered is not None:
            self.answered.set()

    async def wait(self) -> None:
        if self.answered is None:
            self.answered = trio.Event()
        await self.answered.wait()


class ReadsInFlight:
    """All reads that have to wait. One that is answered at once is never under way for others.

    INVARIANT: ``_sent`` has what is in ``_order``: what was sent in ``SETTLE_SECONDS`` before the last.
    """

    __slots__ = ("_ended", "_order", "_reads", "_sent")

    def __init__(self) -> None:
        self._reads: dict[int, list[_Read]] = {}
        self._sent: dict[int, dict[int, float]] = {}
        """By inode number and process, or its thread, when it was told of the attributes last."""
        self._order: deque[tuple[float, int, int]] = deque()
        self._ended: dict[int, float] = {}
        """By inode number, when a read last brought the end of the file; the oldest first, the last
        ``SETTLE_SECONDS`` at least."""

    def track(self, number: int, offset: int, end: int, opener: int) -> _Read:
        """A read of inode ``number``, from ``offset`` to ``end``, by a file that ``opener`` opened; that
        program usually is the one that reads, and has processed what it was told. It must be answered on
        leaving, without another wait: whoever waited for it goes on after that."""
        read = _Read(self._reads, number, offset, end)
        sent = self._sent.get(number)
        if sent:
            since = clock.awake() - SETTLE_SECONDS
            read.overtaken = any(
                at > since for process, at in sent.items() if process != opener or process == UNSEEN
            )
        return read

    async def answered(self, number: int, *, below: float = math.inf, past: int = -1) -> None:
        """Waits for the reads of inode ``number`` under way now that begin ``below`` an offset and end
        ``past`` another."""
        for read in [read for read in self._reads.get(number, ()) if read.offset < below and read.end > past]:
            if read in self._reads.get(number, ()):
                await read.wait()

    def end_reached(self, number: int) -> None:
        """A read of inode ``number`` is answered with less than was asked for."""
        now = clock.awake()
        self._ended.pop(number, None)
        self._ended[number] = now
        while (oldest := next(iter(self._ended))) != number and self._ended[oldest] < now - SETTLE_SECONDS:
            del self._ended[oldest]

    async def wait_until_quiet(self, inode: Inode) -> None:
        """Waits until the kernel has processed every end of ``inode`` that a read has brought, before it is
        told of a later one: it would show what is between the two as zeros. ``QUIET_SECONDS`` at most."""
        with trio.move_on_after(QUIET_SECONDS):
            while inode.kernel_attributes is not None:
                await self.answered(inode.number, past=inode.kernel_attributes.size)
                left = self._ended.get(inode.number, -math.inf) + SETTLE_SECONDS - clock.awake()
                if left <= 0:
                    return
                await trio.sleep(left)

    def attributes_sent(self, inode: Inode, process: int) -> None:
        """``process`` is told the attributes of ``inode``."""
        if not inode.handles:
            return
        number, now = inode.number, clock.awake()
        self.overtake(number)
        self._sent.setdefault(number, {})[process] = now
        self._order.append((now, number, process))
        while self._order[0][0] < now - SETTLE_SECONDS:
            at, number, process = self._order.popleft()
            sent = self._sent.get(number, {})
            if sent.get(process) == at:
                del sent[process]
                if not sent:
                    del self._sent[number]

    def overtake(self, number: int) -> None:
        """What is under way for inode ``number`` no longer reports an end to the kernel, which knows of
        another version of the attributes."""
        for read in self._reads.get(number, ()):
            read.overtaken = True

    def failed(self, number: int) -> None:
        """A read failed for being overtaken: the one that follows counts from now."""
        self._sent.pop(number, None)


def ends_early(inode: Inode, offset: int, size: int, data: Buffer) -> bool:
    """Whether a read ends before the file does by the kernel's knowledge. The kernel then learns the size
    from it, from the first one answered."""
    known = inode.kernel_attributes
    return len(data) < size and known is not None and offset + len(data) < known.size


def became_longer(inode: Inode) -> bool:
    """Whether the kernel takes a file, of which it may have the end, to be shorter than it is."""
    known = inode.kernel_attributes
    if known is None or not inode.handles or (inode.content is not None and inode.content.dirty):
        return False
    return known.size < inode.attributes.size


def became_shorter(inode: Inode) -> bool:
    """Whether the kernel takes the file to be longer than it is."""
    known = inode.kernel_attributes
    return known is not None and inode.attributes.size < known.size
