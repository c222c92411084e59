"""Listing directories: from memory while the lease holds, otherwise from the server, one request at a time
for each."""

from __future__ import annotations

import errno
import stat
from contextlib import suppress

from sftpfs import clock
from sftpfs.config import SymlinkPolicy
from sftpfs.errors import error
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, DirectoryEntry, Listing
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Directory, Inode
from sftpfs.vfs.tree.miss_counts import MissCounts
from sftpfs.vfs.tree.tree import Tree

UNSEEN_ENTRY_ERRORS = frozenset({errno.EACCES, errno.ELOOP, errno.EIO})
"""Errors because of which one entry of a listing cannot be looked at; the others are shown all the same."""


class DirectoryReader:
    """Lists directories and installs what was found."""

    def __init__(self, tree: Tree, remote: Remote, symlinks: SymlinkPolicy) -> None:
        self._tree = tree
        self.misses = MissCounts(tree)
        self._remote = remote
        self._symlinks = symlinks

    async def listing(self, inode: Inode, *, speculative: bool = False) -> list[bytes]:
        """Every name of a directory: a snapshot. Two round trips without a lease. ``speculative``: no program
        is shown it."""
        directory = inode.directory
        if directory is None:
            raise error(errno.ENOTDIR)
        while not directory.complete(clock.now()):
            pending = directory.listing
            if pending is None:
                await _settled(directory)
                if directory.listing is not None:
                    continue  # another reader waited for the same
                if not speculative:
                    self.misses.listing(directory)
                await self.refresh(inode, speculative=speculative)
                if not directory.unknown:
                    break  # good for this reader even if it may not be kept
                continue
            if not speculative:
                pending.demanded()
            with suppress(InterruptedError):  # the caller did not wait for the answer
                await pending.slot.wait()
        if not speculative:
            self._tree.listing_used(inode)
        return list(directory.children)

    def expired(self, inode: Inode) -> tuple[list[bytes]] | None:
        """The listing as it was last known, with or without a lease; None if it is not known as a whole."""
        directory = inode.directory
        if directory is None or not directory.complete(0.0):
            return None
        return (list(directory.children),)

    async def refresh(self, inode: Inode, *, speculative: bool = False) -> None:
        """Lists anew, whatever the lease says. Does nothing if that is being done already. ``speculative``:
        the listing proves no name missing."""
        directory = inode.directory
        if directory is None or directory.listing is not None:
            return
        pending = self._tree.begin_listing(inode, speculative=speculative)
        mark = inode.change_mark
        started, asked = self._tree.clock.at_least(), clock.now()
        try:
            listing = await self._fetch(inode)
        except BaseException as problem:
            self._tree.end_listing(inode)
            pending.slot.fail(problem if isinstance(problem, OSError) else error(errno.EINTR))
            raise
        self._tree.end_listing(inode)
        if inode.change_mark == mark:
            self._tree.refresh(inode, listing.attributes)
        self._tree.install_listing(
            inode,
            listing,
            started,
            pending.changed,
            pending.answered,
            pending.begun,
            asked,
            speculative=pending.speculative,
        )
        pending.slot.set(None)

    async def _fetch(self, inode: Inode) -> Listing:
        """The listing of a directory whose path was the same all the while. OpenSSH's server looks at each
        entry by the path that the directory was opened with, and leaves out what it cannot find.

        ESTALE if the server no longer has the directory: a program would take ENOENT for the end of an empty
        one (readdir(3) of glibc).
        """
        try:
            return await path_requests.query(self._tree, self._fetch_at, inode)
        except OSError as problem:
            if problem.errno == errno.ENOENT:
                raise error(errno.ESTALE) from None
            raise

    async def _fetch_at(self, path: bytes) -> Listing:
        listing = await self._remote.list_directory(path)
        if not stat.S_ISDIR(listing.attributes.mode):
            raise error(errno.ESTALE)
        entries = listing.entries
        if self._symlinks is SymlinkPolicy.FOLLOW:
            entries = [_without_link_attributes(entry) for entry in entries]
        unknown = [entry.name for entry in entries if entry.attributes is None]
        if not unknown:
            return listing
        entries = [entry for entry in entries if entry.attributes is not None]
        return Listing(listing.attributes, entries + await self._look(path, unknown))

    async def _look(self, path: bytes, names: list[bytes]) -> list[DirectoryEntry]:
        """The attributes that a listing did not report. Names that went meanwhile are left out."""
        answers = await self._remote.lstat_many([path_requests.below(path, name) for name in names])
        found = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, Attributes):
                found.append(DirectoryEntry(name, answer))
            elif answer.errno != errno.ENOENT and answer.errno not in UNSEEN_ENTRY_ERRORS:
                raise answer
        return found


async def _settled(directory: Directory) -> None:
    """Waits for changes of ours under way to names nobody knows: no listing is believed about them
    meanwhile."""
    for name in directory.unknown:
        changed = directory.changing.get(name)
        if changed is not None:
            await changed.wait()


def _without_link_attributes(entry: DirectoryEntry) -> DirectoryEntry:
    """With ``follow_symlinks`` a link's own attributes say nothing of what it leads to."""
    attributes = entry.attributes
    if attributes is not None and stat.S_ISLNK(attributes.mode):
        return DirectoryEntry(entry.name, None)
    return entry
