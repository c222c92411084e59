"""When the kernel is told that a file is longer than the end of it that its reads have brought."""

from __future__ import annotations

from itertools import count

import pytest
import trio
import trio.testing

from sftpfs import clock
from sftpfs.fuse.reads_in_flight import (
    QUIET_SECONDS,
    SETTLE_SECONDS,
    UNSEEN,
    ReadsInFlight,
    became_longer,
)
from sftpfs.vfs.tree.inode import Inode
from tests.unit.vfs.test_tree import REGULAR

KERNEL_SIZE = 100
"""Bytes the kernel takes the file to have."""

numbers = count(1)


def grown() -> Inode:
    """A file that is open and has become longer."""
    inode = Inode(next(numbers), None, b"f", REGULAR._replace(size=KERNEL_SIZE + 50))
    inode.kernel_attributes = REGULAR._replace(size=KERNEL_SIZE)
    inode.handles = [object()]  # type: ignore[list-item]
    assert became_longer(inode)
    return inode


def test_after_its_end_was_read_a_moment_passes() -> None:
    reads, inode = ReadsInFlight(), grown()

    async def work() -> None:
        ended = clock.awake()
        reads.end_reached(inode.number)
        await reads.wait_until_quiet(inode)
        assert clock.awake() >= ended + SETTLE_SECONDS

    trio.run(work)


@pytest.mark.parametrize("end", [KERNEL_SIZE, KERNEL_SIZE + 1])
def test_a_read_under_way_that_may_bring_the_end_is_waited_for(end: int) -> None:
    reads, inode = ReadsInFlight(), grown()
    events: list[str] = []

    async def send_attributes() -> None:
        await reads.wait_until_quiet(inode)
        events.append("told")

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            with reads.track(inode.number, 0, end, opener=1):
                nursery.start_soon(send_attributes)
                await trio.testing.wait_all_tasks_blocked()
                events.append("answered")

    trio.run(work)
    assert events == (["answered", "told"] if end > KERNEL_SIZE else ["told", "answered"])


def test_one_that_is_not_answered_is_not_waited_for_long() -> None:
    reads, inode = ReadsInFlight(), grown()

    async def work() -> None:
        before = clock.awake()
        with reads.track(inode.number, 0, KERNEL_SIZE + 1, opener=1):
            await reads.wait_until_quiet(inode)
        assert clock.awake() >= before + QUIET_SECONDS

    trio.run(work)


def test_ends_of_long_ago_are_forgotten() -> None:
    reads = ReadsInFlight()

    async def work() -> None:
        for number in range(1000):
            reads.end_reached(number)
        await trio.sleep(2 * SETTLE_SECONDS)
        reads.end_reached(0)

    trio.run(work)
    assert len(reads._ended) == 1


@pytest.mark.parametrize(("reader", "overtaken"), [(7, False), (8, True), (UNSEEN, True)])
def test_what_another_process_was_sent_overtakes_a_read(reader: int, overtaken: bool) -> None:
    """All of another PID namespace have the same number: what one was sent, the other has not processed."""
    reads, inode = ReadsInFlight(), grown()
    reads.attributes_sent(inode, UNSEEN if reader == UNSEEN else 7)
    with reads.track(inode.number, 0, KERNEL_SIZE, opener=reader) as read:
        assert read.overtaken == overtaken
