"""The orders in which programs go through a directory: as it is listed, or by name.

Pure; shared by the policies that ask ahead. What is known of an order is kept while names come and go, so
that reading and removing, or making, names in a large directory costs each time the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from sftpfs.vfs.inodes import Directory, Inode

TURNOVER = 8
"""A sequence is made anew once one name in so many came or went: looking at all of them costs so many steps
for each change."""


MOST_GONE = 2048
"""Names gone that one look passes over: bounds what it costs."""


class Order(Enum):
    """How a program goes through a directory."""

    LISTING = 0
    NAME = 1


class Sequence:
    """Entries of a directory in one order, and where each stands.

    What came since it was made is not in it; what went is passed over by ``between`` and ``after``.
    """

    __slots__ = ("_index", "_items", "_node")

    def __init__(self, node: Inode, items: list[Inode]) -> None:
        self._node = node
        self._items = items
        self._index = {child.number: position for position, child in enumerate(items)}

    def __len__(self) -> int:
        return len(self._items)

    def position(self, inode: Inode) -> int | None:
        """Where ``inode`` stands; None where it is not known to."""
        return self._index.get(inode.number)

    def between(self, start: int, stop: int) -> Iterator[Inode]:
        """What is there still of the places from ``start`` to before ``stop``, or until too many are gone."""
        items, node = self._items, self._node
        gone = 0
        for position in range(max(start, 0), min(stop, len(items))):
            child = items[position]
            if child.linked and (child.parent is node or child.aliases):
                yield child
                continue
            gone += 1
            if gone > MOST_GONE:
                return

    def after(self, position: int = -1) -> Iterator[Inode]:
        """What is there still behind ``position``."""
        return self.between(position + 1, len(self._items))


def sort_key(inode: Inode) -> bytes:
    """Whole paths sort with the slash that follows a directory's name (as git's index does)."""
    return inode.name + b"/" if inode.directory is not None else inode.name


def entries(node: Inode, order: Order) -> Sequence:
    """All that is known to be in a directory, in ``order``."""
    directory = node.directory
    assert directory is not None
    children = list(directory.children.values())
    return Sequence(node, sorted(children, key=sort_key) if order is Order.NAME else children)


def turned_over(directory: Directory, since: int) -> bool:
    """Have too many names come and gone since ``turnover`` was ``since``?"""
    return (directory.turnover - since) * TURNOVER > len(directory.children)


def subdirectories(node: Inode, order: Order) -> Sequence:
    """The directories in a directory; remembered while few come and go."""
    directory = node.directory
    assert directory is not None
    known = directory.subdirectories
    if known is None or (directory.inner_turnover - known[2]) * TURNOVER > len(directory.children):
        listed = [child for child in directory.children.values() if child.directory is not None]
        by_name = sorted(listed, key=sort_key)
        known = (Sequence(node, listed), Sequence(node, by_name), directory.inner_turnover)
        directory.subdirectories = known
    return known[0] if order is Order.LISTING else known[1]
