"""Renew-ahead: for programs that look in vain for a name in one directory after the other.

Pure policy; ``vfs.prefetch.prefetcher`` carries it out. git looks for its ``.gitignore`` in every directory,
a compiler for headers along its path. The directory's listing shows that a name is missing, and is believed
for a short while only. Then sftpfs asks whether the directory has changed, one wait each time. A program that
caused this in two directories will do so in those around: these are asked about in parallel.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from sftpfs.vfs.prefetch.tally import Tally, UnusedDirectories
from sftpfs.vfs.prefetch.traversal_order import Order, subdirectories
from sftpfs.vfs.tree.inode import Inode

FIRST_WINDOW = 4
"""Directories asked ahead once the second had to be: little to lose if it was the last."""

LARGEST_WINDOW = 64
"""Directories asked and not yet used: an answer is good for two seconds at first."""

MOST_VISITED = 1024
"""Directories looked at for one plan: bounds what planning itself costs."""

TRIAL = 128
"""LSTATs wasted before it is asked whether this pays at all: each is a hundred bytes."""


class NegativeRenewal:
    """Decides which directories to ask whether they have changed. ``unused`` are those in which no program
    has since been told that a name is missing."""

    __slots__ = ("_here", "unused", "window")

    def __init__(self) -> None:
        self.window = 0
        self.unused = UnusedDirectories(lambda state: state.absent_until)
        self._here: Inode | None = None

    @property
    def tally(self) -> Tally:
        """In LSTATs."""
        return self.unused.tally

    def on_absence_asked(self, directory: Inode, now: float) -> None:
        """Somebody waits for the answer about ``directory``."""
        self.unused.expire(now)
        if self._here is None or self._here is directory:
            pass  # the same again says nothing of where they go
        elif len(self.unused) > FIRST_WINDOW and 2 * len(self.unused) > self.window:
            self.window = 0  # they went elsewhere than we thought
        else:
            self._widen()
        self._here = directory

    def on_absence_used(self, directory: Inode) -> None:
        """A name was found missing in ``directory``, known from what was asked ahead."""
        if self.unused.use(directory):
            self._widen()
            self._here = directory

    def _widen(self) -> None:
        self.window = min(self.window * 2, LARGEST_WINDOW) if self.window else FIRST_WINDOW

    def plan(self, now: float) -> list[Inode]:
        """Directories to ask now, the nearest first; each is counted as issued."""
        if not self.window or self._here is None:
            return []
        room = self.window - len(self.unused)
        if room * 2 < self.window or not self.tally.pays(TRIAL):
            return []
        chosen: list[Inode] = []
        for visited, directory in enumerate(_around(self._here)):
            if visited >= MOST_VISITED or len(chosen) >= room:
                break
            if directory not in self.unused and _may_be_renewed(directory, now):
                chosen.append(directory)
        for directory in chosen:
            self.unused.issue(directory)
        return chosen

    def on_reply(self, directory: Inode, useful: bool) -> None:
        """The answer is here; not ``useful`` if the directory has changed."""
        self.unused.on_reply(directory, useful)


def _may_be_renewed(directory: Inode, now: float) -> bool:
    """Whether an unchanged mtime can prove what is known of ``directory``, and whether it needs that."""
    state = directory.directory
    assert state is not None
    if not directory.linked or state.names_changed or state.listed is None:
        return False
    return state.absent_until <= now < state.complete_until


def _around(here: Inode) -> Iterator[Inode]:
    """The directories below ``here``, then those beside it with what is below them, then those above."""
    yield from _below(here)
    node = here
    while node.parent is not None:
        beside = subdirectories(node.parent, Order.LISTING)
        position = beside.position(node)
        position = len(beside) if position is None else position
        for one in chain(beside.after(position), beside.between(0, position)):
            yield one
            yield from _below(one)
        node = node.parent
        yield node


def _below(node: Inode) -> Iterator[Inode]:
    """All directories below ``node``, in preorder."""
    stack = [subdirectories(node, Order.LISTING).after()]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
        else:
            yield child
            stack.append(subdirectories(child, Order.LISTING).after())
