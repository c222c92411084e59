"""When the kernel is told that a file is longer than the end of it that its reads have brought."""

from __future__ import annotations

from itertools import count

import pytest
import trio
import trio.testing

from sftpfs import clock
from sftpfs.fuse.reads import QUIET_SECONDS, SETTLE_SECONDS, ReadsUnderWay, became_longer
from sftpfs.vfs.inodes import Inode
from tests.unit.test_vfs_tree import REGULAR

TOLD = 100
"""Bytes the kernel takes the file to have."""

numbers = count(1)


def grown() -> Inode:
    """A file that is open and has become longer."""
    inode = Inode(next(numbers), None, b"f", REGULAR._replace(size=TOLD + 50))
    inode.told = REGULAR._replace(size=TOLD)
    inode.handles = [object()]  # type: ignore[list-item]
    assert became_longer(inode)
    return inode


def test_after_its_end_was_read_a_moment_passes() -> None:
    reads, inode = ReadsUnderWay(), grown()

    async def work() -> None:
        ended = clock.awake()
        reads.ended(inode.number)
        await reads.quiet(inode)
        assert clock.awake() >= ended + SETTLE_SECONDS

    trio.run(work)


@pytest.mark.parametrize("end", [TOLD, TOLD + 1])
def test_a_read_under_way_that_may_bring_the_end_is_waited_for(end: int) -> None:
    reads, inode = ReadsUnderWay(), grown()
    events: list[str] = []

    async def tell() -> None:
        await reads.quiet(inode)
        events.append("told")

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            with reads.one(inode.number, 0, end, opener=1):
                nursery.start_soon(tell)
                await trio.testing.wait_all_tasks_blocked()
                events.append("answered")

    trio.run(work)
    assert events == (["answered", "told"] if end > TOLD else ["told", "answered"])


def test_one_that_is_not_answered_is_not_waited_for_long() -> None:
    reads, inode = ReadsUnderWay(), grown()

    async def work() -> None:
        before = clock.awake()
        with reads.one(inode.number, 0, TOLD + 1, opener=1):
            await reads.quiet(inode)
        assert clock.awake() >= before + QUIET_SECONDS

    trio.run(work)


def test_ends_of_long_ago_are_forgotten() -> None:
    reads = ReadsUnderWay()

    async def work() -> None:
        for number in range(1000):
            reads.ended(number)
        await trio.sleep(2 * SETTLE_SECONDS)
        reads.ended(0)

    trio.run(work)
    assert len(reads._ended) == 1
