"""Asking the server about names and attributes: lookup, getattr, listing, readlink.

Each question is asked once at a time (single flight) and its answer is installed only
where we changed nothing of it meanwhile. Waits here; decides in ``vfs.tree``.
"""

from __future__ import annotations

import errno
import stat
import time
from collections.abc import Sequence

import trio

from sftpfs.config import SymlinkPolicy
from sftpfs.errors import error
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, DirectoryEntry
from sftpfs.vfs.inodes import Inode, PendingListing, PendingLookup
from sftpfs.vfs.symlinks import shown_target
from sftpfs.vfs.tree import Tree

INSTALL_ATTEMPTS = 4
"""A name that we ourselves change again and again while asking: after so many the last
answer is given without being kept."""

CONCURRENT_LOOKUPS = 64
"""LSTATs in flight for a listing that came without attributes."""


class Resolver:
    """Answers questions about the tree, from memory or from the server."""

    def __init__(self, tree: Tree, remote: Remote, symlinks: SymlinkPolicy, mountpoint: bytes) -> None:
        """``mountpoint``: absolute, on this machine; links that name it stay inside."""
        self._tree = tree
        self._remote = remote
        self._symlinks = symlinks
        self._mountpoint = mountpoint

    def path(self, inode: Inode) -> bytes:
        """The path of ``inode``; ESTALE once it has none."""
        path = self._tree.path(inode)
        if path is None:
            raise error(errno.ESTALE)
        return path

    def child_path(self, parent: Inode, name: bytes) -> bytes:
        """The path of ``name`` in ``parent``; ENOENT where the directory was removed."""
        path = self._tree.path(parent)
        if path is None:
            raise error(errno.ENOENT)
        return path + name if path == b"/" else path + b"/" + name

    # -- lookup ------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: bytes) -> Inode | None:
        """The inode called ``name`` in ``parent``, or None. One round trip where not leased."""
        directory = parent.directory
        if directory is None:
            raise error(errno.ENOTDIR)
        while True:
            known = self._tree.child(directory, parent.number, name, time.monotonic())
            if known is False:
                return None
            if known is not True:
                assert isinstance(known, Inode)
                return known
            pending = directory.pending.get(name)
            if pending is None:
                return await self._fetch(parent, name)
            await pending.slot.wait()
            if not pending.stale:
                return pending.slot.result()

    async def _fetch(self, parent: Inode, name: bytes) -> Inode | None:
        directory = parent.directory
        assert directory is not None
        pending = PendingLookup()
        directory.pending[name] = pending
        try:
            found = await self._ask(parent, name, pending)
        except BaseException as problem:
            del directory.pending[name]
            pending.slot.fail(problem if isinstance(problem, OSError) else error(errno.EINTR))
            raise
        del directory.pending[name]
        pending.slot.set(found)
        return found

    async def _ask(self, parent: Inode, name: bytes, pending: PendingLookup) -> Inode | None:
        directory = parent.directory
        assert directory is not None
        for _ in range(INSTALL_ATTEMPTS):
            pending.stale = False
            child = directory.children.get(name)
            mark = child.change_mark if child is not None else None
            epoch = self._tree.rename_epoch
            attributes = await self._lstat(self.child_path(parent, name))
            if pending.stale or (attributes is None and epoch != self._tree.rename_epoch):
                known = self._tree.child(directory, parent.number, name, time.monotonic())
                if known is not True:
                    return known if isinstance(known, Inode) else None
                continue
            if attributes is None:
                self._tree.missing(parent, name)
                return None
            current = directory.children.get(name)
            if current is not None and current is child and current.change_mark != mark:
                return current  # what we changed meanwhile is newer than this answer
            return self._tree.install(parent, name, attributes)
        if attributes is None:
            return None
        inode = self._tree.install(parent, name, attributes)
        inode.expires = 0.0
        return inode

    async def _lstat(self, path: bytes) -> Attributes | None:
        try:
            return await self._remote.lstat(path)
        except OSError as problem:
            if problem.errno == errno.ENOENT:
                return None
            raise

    # -- attributes --------------------------------------------------------------

    async def revalidate(self, inode: Inode) -> None:
        """Make the lease on ``inode`` valid. ESTALE where its name leads elsewhere now."""
        if inode.expires > time.monotonic():
            return
        if inode.parent is None:
            attributes = await self._remote.lstat(self._tree.root_path)
            self._tree.refresh(inode, attributes)
            return
        if not inode.linked or self._tree.path(inode) is None:
            await self._revalidate_unlinked(inode)
            return
        if await self.lookup(inode.parent, inode.name) is not inode:
            if inode.handles:
                await self._revalidate_unlinked(inode)
            else:
                raise error(errno.ESTALE)

    async def _revalidate_unlinked(self, inode: Inode) -> None:
        if not inode.handles:
            if inode.lookups:
                return  # its last attributes are all there will ever be
            raise error(errno.ESTALE)
        mark = inode.change_mark
        attributes = await inode.handles[0].fstat()
        if inode.change_mark == mark:
            self._tree.refresh(inode, attributes)

    # -- directories -------------------------------------------------------------

    async def listing(self, inode: Inode) -> list[tuple[bytes, Inode]]:
        """Every name of a directory with its inode: a snapshot."""
        directory = inode.directory
        if directory is None:
            raise error(errno.ENOTDIR)
        while directory.complete_until <= time.monotonic():
            pending = directory.listing
            if pending is None:
                await self._fetch_listing(inode)
                break  # good for this reading even where it may not be kept
            await pending.slot.wait()
        return list(directory.children.items())

    async def _fetch_listing(self, inode: Inode) -> None:
        directory = inode.directory
        assert directory is not None
        pending = PendingListing()
        directory.listing = pending
        try:
            entries: Sequence[DirectoryEntry] = await self._remote.list_directory(self.path(inode))
            if self._symlinks is SymlinkPolicy.FOLLOW:
                entries = [_without_link_attributes(entry) for entry in entries]
            if any(entry.attributes is None for entry in entries):
                entries = await self._complete_entries(inode, entries)
        except BaseException as problem:
            directory.listing = None
            pending.slot.fail(problem if isinstance(problem, OSError) else error(errno.EINTR))
            raise
        directory.listing = None
        self._tree.install_listing(inode, entries, pending.changed)
        pending.slot.set(None)

    async def _complete_entries(
        self, parent: Inode, entries: Sequence[DirectoryEntry]
    ) -> list[DirectoryEntry]:
        """Look up what the listing did not tell; names gone meanwhile are left out."""
        complete = [entry for entry in entries if entry.attributes is not None]
        limit = trio.CapacityLimiter(CONCURRENT_LOOKUPS)

        async def look(name: bytes) -> None:
            async with limit:
                try:
                    attributes = await self._lstat(self.child_path(parent, name))
                except OSError as problem:
                    if problem.errno not in (errno.EACCES, errno.ELOOP, errno.EIO):
                        raise
                    return
            if attributes is not None:
                complete.append(DirectoryEntry(name, attributes))

        problems: list[OSError] = []
        try:
            async with trio.open_nursery() as nursery:
                for entry in entries:
                    if entry.attributes is None:
                        nursery.start_soon(look, entry.name)
        except* OSError as group:
            problems.extend(_leaves(group))
        if problems:
            raise problems[0]
        return complete

    # -- links -------------------------------------------------------------------

    async def readlink(self, inode: Inode) -> bytes:
        """The target as the mount shows it; EPERM where it may not be shown."""
        if not stat.S_ISLNK(inode.attributes.mode):
            raise error(errno.EINVAL)
        path = self.path(inode)
        if inode.target is None or inode.target_expires <= time.monotonic():
            inode.target = await self._remote.readlink(path)
            inode.target_expires = time.monotonic() + self._tree.policy.link
        target = inode.target
        assert target is not None
        if target == inode.given_target:
            return target  # a local program's own words, kept faithfully: nothing of the server's to fear
        return shown_target(target, path, self._tree.root_path, self._mountpoint, self._symlinks)


def _without_link_attributes(entry: DirectoryEntry) -> DirectoryEntry:
    """With ``follow_symlinks`` a link's own attributes say nothing of what it leads to."""
    attributes = entry.attributes
    if attributes is not None and stat.S_ISLNK(attributes.mode):
        return DirectoryEntry(entry.name, None)
    return entry


def _leaves(group: BaseExceptionGroup[OSError]) -> list[OSError]:
    found: list[OSError] = []
    for problem in group.exceptions:
        if isinstance(problem, BaseExceptionGroup):
            found.extend(_leaves(problem))
        else:
            found.append(problem)
    return found
