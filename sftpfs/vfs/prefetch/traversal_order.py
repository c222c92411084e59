"""The orders in which programs go through a directory: as it is listed, or by name.

Pure; shared by the policies that ask ahead. A known order is kept while names come and go, so reading and
removing, or making, names in a large directory costs the same each time.
"""

from __future__ import annotations

from enum import Enum

from sftpfs.vfs.tree.inode import ChildOrder, Directory, Inode

TURNOVER = 8
"""A sequence is made anew once one name in this many came or went: looking at all of them then costs so many
steps for each change."""


class Order(Enum):
    """How a program goes through a directory."""

    LISTING = 0
    NAME = 1


def sort_key(inode: Inode) -> bytes:
    """Whole paths sort with the slash that follows a directory's name (as git's index does)."""
    return inode.name + b"/" if inode.directory is not None else inode.name


def entries(node: Inode, order: Order) -> ChildOrder:
    """All that is known to be in a directory, in ``order``."""
    directory = node.directory
    assert directory is not None
    children = list(directory.children.values())
    return ChildOrder(node, sorted(children, key=sort_key) if order is Order.NAME else children)


def turned_over(directory: Directory, since: int) -> bool:
    """Whether too many names have come and gone since ``name_changes`` was ``since``."""
    return (directory.name_changes - since) * TURNOVER > len(directory.children)


def subdirectories(node: Inode, order: Order) -> ChildOrder:
    """The directories in a directory; remembered while few come and go."""
    directory = node.directory
    assert directory is not None
    known = directory.subdirectories
    if known is None or (directory.subdirectory_changes - known[2]) * TURNOVER > len(directory.children):
        listed = [child for child in directory.children.values() if child.directory is not None]
        by_name = sorted(listed, key=sort_key)
        known = directory.remember_order(ChildOrder(node, listed), ChildOrder(node, by_name))
    return known[0] if order is Order.LISTING else known[1]
