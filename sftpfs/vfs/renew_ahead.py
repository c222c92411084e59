"""Renew-ahead: names that are looked for in vain in one directory after the other.

Pure policy; ``vfs.ahead`` carries it out. git looks for its ``.gitignore`` in every directory, a
compiler for headers along its path. That a name is missing is known from the directory's listing and
believed for a short while only; then the directory is asked whether it has changed, one wait each time.
A program that asked so in two directories will do so in those around: they are
asked in parallel.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.order import Order, subdirectories
from sftpfs.vfs.walk_ahead import Tally

FIRST_WINDOW = 4
"""Directories asked ahead once the second had to be: little to lose if it was the last."""

LARGEST_WINDOW = 64
"""Directories asked and not yet used: an answer is good for two seconds at first."""

MOST_VISITED = 1024
"""Directories looked at for one plan: bounds what planning itself costs."""

TRIAL = 128
"""LSTATs wasted before it is asked whether this pays at all: each is a hundred bytes."""


class RenewAhead:
    """Decides which directories to ask whether they have changed.

    INVARIANT: ``_unused`` holds exactly the directories asked ahead, or being so, of which nobody
    was told since that a name is missing there.
    """

    __slots__ = ("_flying", "_here", "_unused", "tally", "window")

    def __init__(self) -> None:
        self.window = 0
        self.tally = Tally()
        self._here: Inode | None = None
        self._unused: dict[int, Inode] = {}
        self._flying: set[int] = set()

    def demanded(self, directory: Inode, now: float) -> None:
        """Somebody waits for ``directory`` to be asked."""
        self._expire(now)
        if self._here is None or self._here is directory:
            pass  # the same again says nothing of where they go
        elif len(self._unused) > FIRST_WINDOW and 2 * len(self._unused) > self.window:
            self.window = 0  # they went elsewhere than we thought
        else:
            self._widen()
        self._here = directory

    def used(self, directory: Inode) -> None:
        """A name was found missing in ``directory``, known from what was asked ahead."""
        if self._unused.pop(directory.number, None) is not None:
            self.tally.used += 1
            self._widen()
            self._here = directory

    def _widen(self) -> None:
        self.window = min(self.window * 2, LARGEST_WINDOW) if self.window else FIRST_WINDOW

    def plan(self, now: float) -> list[Inode]:
        """Directories to ask now, the nearest first; each is counted as issued."""
        if not self.window or self._here is None:
            return []
        room = self.window - len(self._unused)
        if room * 2 < self.window or not self.tally.pays(TRIAL):
            return []
        chosen: list[Inode] = []
        for visited, directory in enumerate(_around(self._here)):
            if visited >= MOST_VISITED or len(chosen) >= room:
                break
            if directory.number not in self._unused and _may_be_renewed(directory, now):
                chosen.append(directory)
        for directory in chosen:
            self._unused[directory.number] = directory
            self._flying.add(directory.number)
        self.tally.issued += len(chosen)
        return chosen

    def arrived(self, directory: Inode, useful: bool) -> None:
        """The answer is here; not ``useful`` where the directory has changed."""
        self._flying.discard(directory.number)
        if not useful:
            self._waste(directory.number)

    def _expire(self, now: float) -> None:
        for number, directory in list(self._unused.items()):
            state = directory.directory
            if number not in self._flying and (state is None or state.absent_until <= now):
                self._waste(number)

    def _waste(self, number: int) -> None:
        if self._unused.pop(number, None) is not None:
            self.tally.wasted += 1


def _may_be_renewed(directory: Inode, now: float) -> bool:
    """Can an unchanged mtime prove what is known of ``directory``, and is it in need of that?"""
    state = directory.directory
    assert state is not None
    if not directory.linked or state.amended or state.listed is None:
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
