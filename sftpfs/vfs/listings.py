"""Listing directories: from memory while the lease holds, else from the server, once at a time."""

from __future__ import annotations

import errno
import stat
from contextlib import suppress

from sftpfs import clock
from sftpfs.config import SymlinkPolicy
from sftpfs.errors import error
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, DirectoryEntry, Listing
from sftpfs.vfs import in_place
from sftpfs.vfs.inodes import Directory, Inode, PendingListing
from sftpfs.vfs.tree import Tree

UNSEEN_ENTRY_ERRORS = frozenset({errno.EACCES, errno.ELOOP, errno.EIO})
"""Why one entry of a listing may not be looked at; the others are shown all the same."""


class Listings:
    """Lists directories and installs what was found."""

    def __init__(self, tree: Tree, remote: Remote, symlinks: SymlinkPolicy) -> None:
        self._tree = tree
        self._remote = remote
        self._symlinks = symlinks

    async def listing(self, inode: Inode) -> list[bytes]:
        """Every name of a directory: a snapshot. Two round trips where not leased."""
        directory = inode.directory
        if directory is None:
            raise error(errno.ENOTDIR)
        while not directory.complete(clock.now()):
            pending = directory.listing
            if pending is None:
                await _settled(directory)
                if directory.listing is not None:
                    continue  # another reader waited for the same
                await self.refresh(inode)
                if not directory.unknown:
                    break  # good for this reading even where it may not be kept
                continue
            with suppress(InterruptedError):  # who asked did not wait for the answer
                await pending.slot.wait()
        return list(directory.children)

    def expired(self, inode: Inode) -> tuple[list[bytes]] | None:
        """The listing as it was last known, lease or not; None where it is not known as a whole."""
        directory = inode.directory
        if directory is None or not directory.complete(0.0):
            return None
        return (list(directory.children),)

    async def refresh(self, inode: Inode) -> None:
        """List anew, whatever the lease says; nothing where that is being done already."""
        directory = inode.directory
        if directory is None or directory.listing is not None:
            return
        pending = PendingListing(self._tree.changes)
        directory.listing = pending
        mark = inode.change_mark
        started, asked = self._tree.clock.at_least(), clock.now()
        try:
            listing = await self._fetch(inode)
        except BaseException as problem:
            directory.listing = None
            pending.slot.fail(problem if isinstance(problem, OSError) else error(errno.EINTR))
            raise
        directory.listing = None
        if inode.change_mark == mark:
            self._tree.refresh(inode, listing.attributes)
        self._tree.install_listing(
            inode, listing, started, pending.changed, pending.told, pending.begun, asked
        )
        pending.slot.set(None)

    async def _fetch(self, inode: Inode) -> Listing:
        """The listing of a directory whose path was the same all the while. OpenSSH's server looks at
        each entry by the path the directory was opened with, and leaves out what it cannot find.

        ESTALE where the server has the directory no more: a program would take ENOENT for the end
        of an empty one (readdir(3) of glibc).
        """
        try:
            return await in_place.look(self._tree, self._fetch_at, inode)
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
        untold = [entry.name for entry in entries if entry.attributes is None]
        if not untold:
            return listing
        entries = [entry for entry in entries if entry.attributes is not None]
        return Listing(listing.attributes, entries + await self._look(path, untold))

    async def _look(self, path: bytes, names: list[bytes]) -> list[DirectoryEntry]:
        """The attributes a listing did not tell; names gone meanwhile are left out."""
        answers = await self._remote.lstat_many([in_place.below(path, name) for name in names])
        found = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, Attributes):
                found.append(DirectoryEntry(name, answer))
            elif answer.errno != errno.ENOENT and answer.errno not in UNSEEN_ENTRY_ERRORS:
                raise answer
        return found


async def _settled(directory: Directory) -> None:
    """Wait for changes of ours under way to names nobody knows: no listing is believed of them meanwhile."""
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
