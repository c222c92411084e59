"""Small-file prefetch: which files a reader will open next.

Pure policy over the cached tree; ``vfs.prefetch.prefetcher`` carries it out. A program that opens small files
of one directory one after the other, in listing order or by name (grep -r, cp -r, git status), is a reader
that goes through the tree. The files that follow, in preorder over what is listed, are fetched whole before
they are opened. The window doubles with every file that is used. It closes when the reader goes elsewhere, or
leaves out too many. A reader may leave out whole kinds of files, told by the ends of their names (the objects
beside sources, what ``grep --include`` does not match). Those are not fetched and do not count.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from sftpfs.vfs.prefetch.suffix_filter import SuffixFilter
from sftpfs.vfs.prefetch.tally import Tally
from sftpfs.vfs.prefetch.traversal_order import Order, entries, turned_over
from sftpfs.vfs.prefetch.tree_walk import most_in_flight
from sftpfs.vfs.tree.inode import ChildOrder, Inode

SMALL_FILE = 512 << 10
"""Bytes. Up to this size a round trip is most of what a file costs on any but a slow link. The number of
bytes ahead has its own bound."""

FIRST_WINDOW = 4
"""Files fetched ahead once a reader is recognised: little to lose if it stops here."""

LARGEST_WINDOW = 128
"""Files ahead of the reader at 20 ms, twice what is under way; more over a longer round trip, but then
never more than it has read."""

MOST_BYTES = 8 << 20
"""Bytes fetched ahead and not yet opened: a sixth of the default content cache."""

STEPS_PER_WINDOW = 8
"""Plans made while the reader goes the length of a window."""

MOST_UNUSED = 2048
"""Files fetched and not opened: beyond the window only what the reader passed by."""

UNKNOWN_FILES = 16
"""How many files a directory not listed yet is assumed to hold, so that the window does not reach far past
what the reader comes to first."""

MOST_IN_FLIGHT = 64
"""Files under way at 20 ms, 3,200 a second: beyond this the server works on them one after the other
anyway."""

RECOGNISED = 2
"""Opens in order, after a first one, that make a reader."""

LONGEST_GAP = 8
"""Entries from one open to the next that still count as in order; more is a choice."""

MOST_SKIPPED = 2
"""Files a reader may leave out at the begin of a directory and still be going through the tree."""

READ_FOR_ONE_SKIPPED = 4
"""Files opened for each one left out. With fewer, more than a fifth of what is fetched is wasted."""

MOST_VISITED = 2048
"""Entries looked at for one plan: bounds what planning itself costs."""

REMEMBERED = 64
"""Directories whose order and last open are kept: more than a reader has open at once."""

TRIAL = 1 << 20
"""Bytes wasted before it is judged whether fetching ahead pays at all."""


class SmallFilePrefetch:
    """Decides what to fetch ahead.

    INVARIANT: ``_unused`` maps exactly the files fetched ahead, or being so, that nobody
    has opened since to their bytes; ``_unused_bytes`` is the sum.
    INVARIANT: ``_in_flight`` holds the numbers of what was planned and has not arrived.

    ``_steps`` counts opens since the last plan, for a window of ``_planned``: a plan looks
    over the whole window, so it is made a few times a window and not at every open.
    ``_distance`` is how many files ahead the last plan came. ``_run`` counts opens in order,
    ``_skipped`` the files left out between them. ``_top`` is the lowest directory that has all of them below
    it: the reader may be done where that ends, and is not expected beyond.
    """

    __slots__ = (
        "_distance",
        "_in_flight",
        "_kinds",
        "_largest",
        "_last",
        "_last_in",
        "_order",
        "_planned",
        "_run",
        "_sequences",
        "_skipped",
        "_steps",
        "_top",
        "_unused",
        "_unused_bytes",
        "tally",
        "unlisted",
        "window",
    )

    def __init__(self) -> None:
        self.window = 0
        self.tally = Tally()
        """In bytes."""
        self.unlisted: list[Inode] = []
        """Directories the reader comes to within the window of the last plan, whose files are not known."""
        self._largest = LARGEST_WINDOW
        self._order = Order.LISTING
        self._run = 0
        self._skipped = 0
        self._top: Inode | None = None
        self._kinds = SuffixFilter()
        self._last: Inode | None = None
        self._last_in: dict[int, Inode] = {}
        self._sequences: dict[tuple[int, Order], tuple[ChildOrder, float, int]] = {}
        """By directory and order, with ``listed_at`` and ``name_changes`` of when it was made."""
        self._unused: dict[int, tuple[Inode, int]] = {}
        self._unused_bytes = 0
        self._in_flight: set[int] = set()
        self._steps = 0
        self._planned = 0
        self._distance = 0

    def on_open(self, inode: Inode) -> None:
        """A program opens ``inode`` to read it."""
        parent = inode.parent
        if parent is None or inode is self._last:
            return
        fetched = self._unused.pop(inode.number, None)
        self._judge(inode, parent)
        if fetched is not None:
            self._unused_bytes -= fetched[1]
            self.tally.used += fetched[1]
            if self.window:
                # Beyond the usual only as far as the reader has come, because it may stop here.
                self.window = min(self.window * 2, self._largest, max(LARGEST_WINDOW, self._run))
            self._steps += 1
        else:
            self._steps = self.window
        self._last = inode
        self._last_in.pop(parent.number, None)
        self._last_in[parent.number] = inode
        while len(self._last_in) > REMEMBERED:
            del self._last_in[next(iter(self._last_in))]

    def _judge(self, inode: Inode, parent: Inode) -> None:
        """Whether an open continues a reader's sequence, begins a new one, or ends it."""
        self._kinds.opened(inode)
        last = self._last_in.get(parent.number)
        if last is None:
            if self.window and not self._begins(inode, parent):
                self._stop()
            self._top = _above(self._top, parent) if self.window else parent
            return
        between = self._between(last, inode, parent)
        if between is None:
            self._stop()
            return
        for passed in between:
            if self._small(passed):
                self._kinds.passed(passed)
                self._skipped += not self._kinds.unwanted(passed)
        self._run += 1
        self._top = _above(self._top, parent)
        if self._skipped * READ_FOR_ONE_SKIPPED > self._run:
            self._stop()
        elif self._run >= RECOGNISED:
            self.window = max(self.window, FIRST_WINDOW)

    def _stop(self) -> None:
        self._run = 0
        self._skipped = 0
        self._top = None
        self._planned = 0
        self.window = 0

    def _begins(self, inode: Inode, parent: Inode) -> bool:
        """Whether ``inode`` is one of the first files worth fetching in ``parent``. The order in which it is
        becomes the reader's; a few names may be first in the other order by chance."""
        for order in self._orders():
            sequence = self._sequence(parent, order)
            before = sequence.between(0, min(sequence.position(inode) or 0, REMEMBERED))
            worth = sum(1 for child in before if self._small(child) and not self._kinds.unwanted(child))
            if worth <= MOST_SKIPPED:
                self._order = order
                return True
        return False

    def _orders(self) -> tuple[Order, Order]:
        """The reader's, and the other."""
        return self._order, Order.NAME if self._order is Order.LISTING else Order.LISTING

    def _between(self, last: Inode, inode: Inode, parent: Inode) -> list[Inode] | None:
        """What is between ``last`` and ``inode`` in the order in which they are next to each other or nearly
        so; that order becomes the reader's. None if there is no such order."""
        best: tuple[int, int, ChildOrder] | None = None
        for order in self._orders():
            sequence = self._sequence(parent, order)
            here, there = sequence.position(inode), sequence.position(last)
            if here is None or there is None or not 0 < here - there <= LONGEST_GAP:
                continue
            if best is None or here - there < best[1] - best[0]:
                best = (there, here, sequence)
                self._order = order
            if here - there == 1:
                break
        return list(best[2].between(best[0] + 1, best[1])) if best is not None else None

    @property
    def order(self) -> Order:
        """The reader's."""
        return self._order

    def plan(self, now: float, round_trip: float = 0.0) -> list[Inode]:
        """Files to fetch now, the one needed first at the front; each is counted as issued."""
        last = self._last
        self.unlisted = []
        if not self.window or last is None or self._steps * STEPS_PER_WINDOW < self._planned:
            return []
        if not self.tally.pays(TRIAL):
            return []
        self._steps = 0
        self._planned = self.window
        self._expire(now)
        in_flight = most_in_flight(MOST_IN_FLIGHT, round_trip)
        self._largest = in_flight * LARGEST_WINDOW // MOST_IN_FLIGHT
        room = min(MOST_UNUSED - len(self._unused), in_flight - len(self._in_flight))
        chosen: list[Inode] = []
        for inode in self._following(last, now):
            size = inode.attributes.size
            if len(chosen) >= room or self._unused_bytes + size > MOST_BYTES:
                self._steps = self.window  # there is more to fetch as soon as there is room
                break
            chosen.append(inode)
            self._kinds.fetched(inode)
            self._unused[inode.number] = (inode, size)
            self._unused_bytes += size
            self._in_flight.add(inode.number)
            self.tally.issued += size
        if self._distance < self.window:
            self._steps = self.window  # the window is not full: what is listed next may fill it
        return chosen

    def on_reply(self, inode: Inode, useful: bool) -> None:
        """What ``plan`` asked for is here; not ``useful`` if it failed or may not be used."""
        self._in_flight.discard(inode.number)
        if not useful:
            self._give_up(inode.number)

    def _give_up(self, number: int) -> None:
        fetched = self._unused.pop(number, None)
        if fetched is not None:
            self._unused_bytes -= fetched[1]
            self.tally.wasted += fetched[1]

    def _expire(self, now: float) -> None:
        """Forgets what nobody opened before it became too old to be used."""
        for number, (inode, _) in list(self._unused.items()):
            if number not in self._in_flight and inode.prefetched_until <= now:
                self._give_up(number)

    def _following(self, last: Inode, now: float) -> Iterator[Inode]:
        """What is to be fetched of the ``window`` small files after ``last``, in preorder.

        A directory not listed yet stands for ``UNKNOWN_FILES`` of them.
        """
        self._distance = visited = 0
        stack: list[Iterator[Inode]] = []
        node = last
        while node.parent is not None and node is not self._top:
            sequence = self._sequence(node.parent, self._order)
            position = sequence.position(node)
            if position is None:
                return
            stack.append(sequence.after(position))
            while stack:
                child = next(stack[-1], None)
                if child is None:
                    stack.pop()
                    continue
                visited += 1
                if visited > MOST_VISITED or self._distance >= self.window:
                    return
                if child.directory is None:
                    if self._small(child) and not self._kinds.unwanted(child):
                        self._distance += 1
                        if self._wanted(child, now):
                            yield child
                elif child.directory.complete_until > now:
                    stack.append(self._sequence(child, self._order).after())
                else:
                    self._distance += UNKNOWN_FILES
                    if child.directory.listing is None:
                        self.unlisted.append(child)
            node = node.parent

    @staticmethod
    def _small(inode: Inode) -> bool:
        attributes = inode.attributes
        return inode.linked and stat.S_ISREG(attributes.mode) and attributes.size <= SMALL_FILE

    def _wanted(self, inode: Inode, now: float) -> bool:
        return (
            inode.expires > now
            and inode.prefetched_until <= now
            and inode.number not in self._unused
            and inode.number not in self._in_flight  # opened on its way: whoever opened it waits for it
            and not inode.handles
        )

    def _sequence(self, node: Inode, order: Order) -> ChildOrder:
        state = node.directory
        assert state is not None
        key = (node.number, order)
        known = self._sequences.pop(key, None)
        if known is None or known[1] != state.listed_at or turned_over(state, known[2]):
            known = (entries(node, order), state.listed_at, state.name_changes)
        self._sequences[key] = known
        while len(self._sequences) > REMEMBERED:
            del self._sequences[next(iter(self._sequences))]
        return known[0]


def _above(top: Inode | None, directory: Inode) -> Inode:
    """The lowest directory with both ``top`` and ``directory`` in or below it."""
    if top is None or top is directory:
        return directory
    above = {top.number}
    node = top
    while node.parent is not None:
        node = node.parent
        above.add(node.number)
    node = directory
    while node.number not in above and node.parent is not None:
        node = node.parent
    return node
