"""Keeps the tree within its memory.

Owns when the tree is swept and when the kernel is asked to forget. ``filesystem`` makes one and gives it
to the tree; ``tree.eviction`` chooses what goes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree

FORGETTING_TAKES = 0.05
"""Seconds that the kernel gets to report what it forgot, before it is asked to forget more."""

FORGETTING_ENDS = 1.0
"""Seconds: a kernel that is silent so long uses all of it. A busy machine may be that late with a report."""

Forget = Callable[[Sequence[Inode]], Awaitable[None]]


class MemoryBound:
    """Makes room in ``tree``."""

    __slots__ = ("_making_room", "_tree", "forget")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.forget: Forget | None = None
        """Asks the kernel to forget these inodes; None before there is one that can."""
        self._making_room = False

    async def make_room(self) -> None:
        """Evicts what the tree need not hold, and has the kernel forget what there is no memory for."""
        if self._making_room:
            return
        self._making_room = True
        try:
            for _ in self._tree.sweep():
                await trio.lowlevel.checkpoint()
            if self.forget is not None:
                await self._have_forgotten(self.forget)
        finally:
            self._making_room = False

    async def _have_forgotten(self, forget: Forget) -> None:
        """Gives up on a kernel that is silent, because it keeps what it uses. Others are asked for when there
        is more."""
        tree, patience = self._tree, FORGETTING_TAKES
        while patience <= FORGETTING_ENDS and (forgettable := tree.prunable()):
            held = tree.held_bytes
            await forget(forgettable)
            await trio.sleep(patience)
            silent = tree.held_bytes == held and all(inode.lookups for inode in forgettable)
            patience = 2 * patience if silent else FORGETTING_TAKES
