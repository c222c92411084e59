"""Names that a removal took off the server, and that the kernel does not know to be gone.

The kernel is told in a thread, as it waits for the lock of a directory, which may be held by a request that
we have to answer. A removal waits if it is far ahead of that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from sftpfs.vfs.namespace import Removed
from sftpfs.vfs.tree.inode import Inode

MOST_WAITING = 4096
"""Names that the kernel was not told of, at which the removal waits: some 20 ms of the kernel's time."""

Gone = tuple[int, bytes, int]
"""A directory's inode number, a name that was in it, and the number of the file that had no other, or 0."""

Notify = Callable[[list[Gone]], Awaitable[None]]


class Vanished:
    """See the module."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._waiting: list[tuple[Inode, bytes, int]] = []
        self._more = trio.Event()
        self._notified = trio.Event()

    def add(self, parent: Inode, removed: Removed) -> None:
        """``removed`` was in ``parent``. Nothing to notify of where the kernel does not hold the
        directory."""
        if not parent.lookups:
            return
        inode = removed.inode
        last = inode is not None and inode.lookups and not inode.linked
        self._waiting.append((parent, removed.name, inode.number if inode is not None and last else 0))
        self._more.set()

    async def run(self) -> None:
        """Tells the kernel of what is added; until cancelled."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            await self.finish()

    async def finish(self) -> None:
        """Tells the kernel of what it was not told yet. What it may not have been told when this is cancelled
        is left for ``take``."""
        while self._waiting:
            some, self._waiting = self._waiting, []
            try:
                await self._notify(_unknown(some))
            except BaseException:
                self._waiting = some + self._waiting
                raise
            self._notified.set()
            self._notified = trio.Event()

    def take(self) -> list[Gone]:
        """What the kernel was not told yet; the caller tells it."""
        some, self._waiting = self._waiting, []
        return _unknown(some)

    async def room(self) -> None:
        """Waits until the kernel is not far behind."""
        while len(self._waiting) >= MOST_WAITING:
            await self._notified.wait()


def _unknown(gone: list[tuple[Inode, bytes, int]]) -> list[Gone]:
    """Those of ``gone`` that the kernel does not know to be gone: it has asked for a name, or made it, that
    leads to something else by now."""
    found = []
    for parent, name, number in gone:
        child = parent.directory.children.get(name) if parent.directory is not None else None
        if child is None or not child.lookups:
            found.append((parent.number, name, number))
    return found
