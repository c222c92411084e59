"""Listing directories: from memory while the lease holds, otherwise from the server, one request at a time
for each.

A large directory is shown in parts as it comes. The program that asked for it waits for the first part only;
the rest is read in the background, or by who wants all of it, and every reader is shown the same growing
``Snapshot``. If the rest may lack names (the session was lost, the directory was moved), the directory is
listed anew, in one piece, and what was shown is not shown again. If nothing helps, readers get the error
behind what was shown.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from sftpfs import clock, operation
from sftpfs.config import SymlinkPolicy
from sftpfs.errors import SessionLostError, error
from sftpfs.remote.api import Remote
from sftpfs.remote.wrapper import converted
from sftpfs.types import Attributes, DirectoryEntry, Listing, RestOfListing
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Directory, Inode
from sftpfs.vfs.tree.miss_counts import MissCounts
from sftpfs.vfs.tree.pending_listing import PendingListing, Snapshot
from sftpfs.vfs.tree.tree import Tree

UNSEEN_ENTRY_ERRORS = frozenset({errno.EACCES, errno.ELOOP, errno.EIO})
"""Errors because of which one entry of a listing cannot be looked at; the others are shown all the same."""


Spawn = Callable[[Callable[[], Awaitable[None]]], bool]


class _Run:
    """One listing being made."""

    __slots__ = ("anew", "doubted", "inode", "mark", "pending", "started")

    def __init__(self, tree: Tree, inode: Inode, pending: PendingListing) -> None:
        assert inode.directory is not None
        self.inode = inode
        self.pending = pending
        self.doubted = inode.directory.unknown
        """Names that were unknown when it began."""
        self.anew: set[bytes] | None = None
        """What the directory has, if it was listed anew; None: what was shown."""
        self.begins(tree)

    def begins(self, tree: Tree) -> None:
        """The server is asked now."""
        self.mark = self.inode.change_mark
        self.started = tree.clock.at_least()
        """The least that the server's clock showed then."""


class DirectoryReader:
    """Lists directories and installs what was found."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        symlinks: SymlinkPolicy,
        spawn: Spawn | None = None,
    ) -> None:
        """``spawn`` reads on in the background while the first part is shown, and says False if it does not;
        then the reader does."""
        self._tree = tree
        self.misses = MissCounts(tree)
        self._remote = remote
        self._symlinks = symlinks
        self._spawn = spawn

    async def listing(self, inode: Inode, *, speculative: bool = False) -> Snapshot:
        """Every name of a directory; of a large one those that came first. Two round trips without a lease.
        ``speculative``: no program is shown it; then it has all."""
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
                pending = await self._list(inode, speculative=speculative, whole=speculative)
                if pending.snapshot is not None and not speculative:
                    return pending.snapshot
                if not directory.unknown:
                    break  # good for this reader even if it may not be kept
                continue
            if not speculative:
                pending.demanded()
                await pending.begins.wait()
                if pending.snapshot is not None and self._tree.lease_runs(pending):
                    return pending.snapshot
            pending.wanted = True
            with suppress(InterruptedError):  # the caller did not wait for the answer
                await pending.slot.wait()
        if not speculative:
            self._tree.listing_used(inode)
        return Snapshot(list(directory.children))

    def expired(self, inode: Inode) -> tuple[Snapshot] | None:
        """The listing as it was last known, with or without a lease; None if it is not known as a whole."""
        directory = inode.directory
        if directory is None or not directory.complete(0.0):
            return None
        return (Snapshot(list(directory.children)),)

    async def refresh(self, inode: Inode, *, speculative: bool = False) -> None:
        """Lists anew, whatever the lease says. Does nothing if that is being done already. ``speculative``:
        the listing proves no name missing."""
        directory = inode.directory
        if directory is not None and directory.listing is None:
            await self._list(inode, speculative=speculative, whole=True)

    async def _list(self, inode: Inode, *, speculative: bool, whole: bool) -> PendingListing:
        """Lists anew; returns once all of it is here, or if not ``whole`` the first part."""
        pending = self._tree.begin_listing(inode, speculative=speculative)
        run = _Run(self._tree, inode, pending)
        try:
            listing = await self._fetch(inode, in_parts=True)
        except BaseException as problem:
            self._failed(run, problem)
            raise
        if listing.rest is None:
            self._tree.end_listing(inode)
            if inode.change_mark == run.mark:
                self._tree.refresh(inode, listing.attributes)
            self._tree.install_listing(
                inode,
                listing,
                run.started,
                pending.changed,
                pending.answered,
                pending.begun,
                pending.asked,
                speculative=pending.speculative,
            )
            pending.ended()
            return pending
        place = path_requests.place(self._tree, inode)
        names = self._tree.install_part(inode, listing.entries, pending.asked)
        pending.shown(Snapshot(names, growing=True))
        pending.wanted = whole
        reading = partial(self._read_on, run, listing, listing.rest, place)
        if self._spawn is None or not self._spawn(reading):
            pending.wanted = True
            with suppress(OSError):  # shown behind what came
                await reading()
        if whole:
            await pending.slot.wait()
        return pending

    # -- in parts ----------------------------------------------------------------

    async def _read_on(
        self, run: _Run, listing: Listing, rest: RestOfListing, place: tuple[bytes, int] | None
    ) -> None:
        """Shows the ``rest`` of ``listing``, of the directory that was at ``place``."""
        inode, pending = run.inode, run.pending
        snapshot, directory = pending.snapshot, inode.directory
        assert snapshot is not None and directory is not None
        try:
            with operation.anew():
                if not await self._show(run, rest, place) and not _removed_here(inode):
                    listing = await self._show_anew(run)
        except BaseException as problem:
            self._failed(run, problem)
            raise
        self._tree.end_listing(inode)
        if _removed_here(inode):
            pending.ended()
            return
        if inode.change_mark == run.mark:
            self._tree.refresh(inode, listing.attributes)
        shown = set(snapshot.names)
        seen = shown if run.anew is None else run.anew
        self._tree.install_rest(inode, listing.attributes, run.started, pending, seen, run.doubted)
        snapshot.add([name for name in (*directory.children, *directory.unknown) if name not in shown])
        pending.ended()

    async def _show(self, run: _Run, rest: RestOfListing, place: tuple[bytes, int] | None) -> bool:
        """Shows the ``rest`` as it comes. False if names may be missing at its end. Raises EINTR if nobody
        reads any more."""
        inode, snapshot, tree = run.inode, run.pending.snapshot, self._tree
        assert snapshot is not None
        try:
            while (part := await rest.more()) is not None:
                if path_requests.place(tree, inode) != place:
                    return False
                operation.begin()  # a deadline is for what comes next
                snapshot.add(tree.install_part(inode, part.entries, part.asked))
                if len(snapshot.names) > tree.bound and self._left(run):
                    raise error(errno.EINTR)
        except SessionLostError:
            return False
        except OSError as problem:
            if _removed_here(inode):
                return False
            raise _shown(problem) from None
        finally:
            rest.close()
        return path_requests.place(tree, inode) == place and (rest.steady or not run.pending.changed)

    @staticmethod
    def _left(run: _Run) -> bool:
        """Whether everybody who read the directory has closed it, and nobody else waits for its end."""
        directory = run.inode.directory
        return directory is not None and not directory.open_handles and not run.pending.wanted

    async def _show_anew(self, run: _Run) -> Listing:
        """Lists once more, in one piece, and shows what was not shown yet."""
        snapshot, asked = run.pending.snapshot, clock.now()
        assert snapshot is not None
        run.begins(self._tree)
        listing = await self._fetch(run.inode, in_parts=False)
        shown = set(snapshot.names)
        names = self._tree.install_part(run.inode, listing.entries, asked)
        snapshot.add([name for name in names if name not in shown])
        run.anew = {entry.name for entry in listing.entries}
        return listing

    def _failed(self, run: _Run, problem: BaseException) -> None:
        self._tree.end_listing(run.inode)
        run.pending.ended(problem if isinstance(problem, OSError) else error(errno.EINTR))

    # -- what the server says ------------------------------------------------------

    async def _fetch(self, inode: Inode, *, in_parts: bool) -> Listing:
        """The listing of a directory whose path was the same all the while. OpenSSH's server looks at each
        entry by the path that the directory was opened with, and leaves out what it cannot find."""
        try:
            return await path_requests.query(
                self._tree, partial(self._fetch_at, in_parts), inode, drop=_close
            )
        except OSError as problem:
            raise _shown(problem) from None

    async def _fetch_at(self, in_parts: bool, path: bytes) -> Listing:
        listing = await self._remote.list_directory(path, in_parts=in_parts)
        if not stat.S_ISDIR(listing.attributes.mode):
            _close(listing)
            raise error(errno.ESTALE)
        return await converted(listing, partial(self._looked, path))

    async def _looked(self, path: bytes, entries: list[DirectoryEntry]) -> list[DirectoryEntry]:
        """``entries`` of the directory at ``path``, with the attributes that were not reported."""
        if self._symlinks is SymlinkPolicy.FOLLOW:
            entries = [_without_link_attributes(entry) for entry in entries]
        unknown = [entry.name for entry in entries if entry.attributes is None]
        if not unknown:
            return entries
        known = [entry for entry in entries if entry.attributes is not None]
        return known + await self._look(path, unknown)

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


def _removed_here(inode: Inode) -> bool:
    """Whether the directory was removed by this mount, empty: nothing of it can be missing."""
    return not inode.linked and not inode.removed_by_server


def _close(listing: Listing) -> None:
    """Nobody reads the rest of ``listing``."""
    if listing.rest is not None:
        listing.rest.close()


def _shown(problem: OSError) -> OSError:
    """What a reader is shown of ``problem``: ESTALE if the server no longer has the directory. A program
    would take ENOENT for the end (readdir(3) of glibc)."""
    return error(errno.ESTALE) if problem.errno == errno.ENOENT else problem


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
