"""Refreshing on request: what is known of a path is no longer believed, and asked for anew if the kernel
knows it.

The kernel cannot be told to doubt a whole tree. If it forgot the name of a directory in which somebody works,
that directory would have no name for them. Therefore every directory that the kernel knows is listed anew.
The kernel is told of the names that came, went or lead elsewhere, and of the inodes whose attributes and
pages it may hold.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress

import trio

from sftpfs.vfs.readdir import DirectoryReader
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree

LISTINGS_TOGETHER = 16
"""Directories listed at once: they share the metadata connection with what somebody waits for."""

GONE_ERRORS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
"""Errors because of which a directory cannot be listed, and that the listing above it will show."""


class Outdated:
    """What the kernel has to forget."""

    __slots__ = ("entries", "inodes", "problems")

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []
        """Names, with the inode number of their directory."""
        self.inodes: list[int] = []
        """Inodes whose attributes and pages are in doubt."""
        self.problems: list[tuple[bytes, OSError]] = []
        """Directories that could not be listed anew, by their path on the server."""


class Refresher:
    """Carries out refreshes for whoever looks after the mount."""

    def __init__(self, tree: Tree, listings: DirectoryReader, resolver: Resolver) -> None:
        self._tree = tree
        self._listings = listings
        self._resolver = resolver

    async def refresh(self, names: list[bytes], listed: Callable[[int, int], None]) -> Outdated:
        """Refresh what ``names`` lead to from the root, with everything below it that is known.

        ``listed`` is called with the directories done and those there are. Raises what the
        server says of the path itself, all leases gone by then.
        """
        outdated = Outdated()
        parent = inode = self._tree.root
        for name in names:
            parent = inode
            known = parent.directory.children.get(name) if parent.directory is not None else None
            if known is None:
                self._forget_absence(parent, name, outdated)
                return outdated
            inode = known
        doubted = self._tree.expire_below(inode)
        if names:
            name = names[-1]  # which may be one of several
            # Without lookups the kernel may hold it as missing, from before a listing showed it
            if await self._resolver.lookup(parent, name) is not inode or not inode.lookups:
                outdated.entries.append((parent.number, name))
        await self._list(doubted, outdated, listed)
        numbers = {each.number for each in doubted}
        outdated.entries += [ended for ended in self._tree.names_removed() if ended[0] in numbers]
        outdated.inodes = list({each.number for each in doubted if each.lookups})
        return outdated

    def _forget_absence(self, parent: Inode, name: bytes, outdated: Outdated) -> None:
        """A name that we know nothing of may be known as missing, here and to the kernel."""
        if parent.directory is not None:
            self._tree.absence_contradicted(parent, name)
            outdated.entries.append((parent.number, name))

    async def _list(
        self, doubted: list[Inode], outdated: Outdated, listed: Callable[[int, int], None]
    ) -> None:
        """Lists anew those of ``doubted`` that the kernel knows."""
        directories = [each for each in doubted if each.directory is not None and each.lookups]
        waiting = iter(directories)
        done = 0

        async def work() -> None:
            nonlocal done
            for directory in waiting:
                await self._list_one(directory, outdated)
                done += 1
                listed(done, len(directories))

        async with trio.open_nursery() as nursery:
            for _ in range(min(LISTINGS_TOGETHER, len(directories))):
                nursery.start_soon(work)

    async def _list_one(self, inode: Inode, outdated: Outdated) -> None:
        directory = inode.directory
        assert directory is not None
        before = dict(directory.children)
        path = self._tree.path(inode)
        try:
            while directory.listing is not None:  # begun before the doubt: what it says is no answer
                with suppress(InterruptedError):  # the caller did not wait for the answer
                    await directory.listing.slot.wait()
            await self._listings.refresh(inode)
        except OSError as problem:
            if problem.errno not in GONE_ERRORS and path is not None:
                outdated.problems.append((path, problem))
            outdated.entries += [
                (inode.number, name) for name, child in before.items() if not child.directory
            ]
            return
        after = directory.children
        outdated.entries += [
            (inode.number, name)
            for name in before.keys() | after.keys()
            if before.get(name) is not after.get(name)
        ]
