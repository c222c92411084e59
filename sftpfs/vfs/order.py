"""The orders in which programs go through a directory: as it is listed, or by name.

Pure; shared by the policies that ask ahead.
"""

from __future__ import annotations

from enum import Enum

from sftpfs.vfs.inodes import Inode


class Order(Enum):
    """How a program goes through a directory."""

    LISTING = 0
    NAME = 1


def sort_key(inode: Inode) -> bytes:
    """Whole paths sort with the slash that follows a directory's name (as git's index does)."""
    return inode.name + b"/" if inode.directory is not None else inode.name


def subdirectories(node: Inode, order: Order) -> list[Inode]:
    """The directories in a listed directory; remembered with the listing."""
    state = node.directory
    assert state is not None
    if state.subdirectories is None:
        listed = [child for child in state.children.values() if child.directory is not None]
        state.subdirectories = (listed, sorted(listed, key=sort_key))
    return state.subdirectories[order.value]
