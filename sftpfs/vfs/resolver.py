"""Asking the server about one name: lookup, getattr, readlink.

Each question is asked once at a time (single flight) and its answer is installed only
where we changed nothing of it meanwhile. Waits here; decides in ``vfs.tree``.
"""

from __future__ import annotations

import errno
import stat
from functools import partial

import trio

from sftpfs import clock
from sftpfs.config import SymlinkPolicy
from sftpfs.errors import SessionLostError, error
from sftpfs.remote.api import Remote
from sftpfs.types import NAME_MAX, Attributes
from sftpfs.vfs import in_place
from sftpfs.vfs.ahead import Ahead
from sftpfs.vfs.enter_ahead import LARGEST
from sftpfs.vfs.identity import Identity
from sftpfs.vfs.inodes import Directory, Inode, PendingLookup
from sftpfs.vfs.name_cases import NameCases
from sftpfs.vfs.offline import Offline
from sftpfs.vfs.symlinks import shown_target
from sftpfs.vfs.tree import Tree
from sftpfs.vfs.unanswered import SECOND_PATIENCE, Unanswered

INSTALL_ATTEMPTS = 4
"""A name that we ourselves change again and again while asking, and whose lease is none: after so many what
our last change left is answered, and not kept."""


class Resolver:
    """Answers questions about the tree, from memory or from the server."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        ahead: Ahead,
        offline: Offline,
        identity: Identity,
        cases: NameCases,
        symlinks: SymlinkPolicy,
        mountpoint: bytes,
    ) -> None:
        """``mountpoint``: absolute, on this machine; links that name it stay inside."""
        self._tree = tree
        self._ahead = ahead
        self._offline = offline
        self._remote = remote
        self._cases = cases
        self._identity = identity
        self._symlinks = symlinks
        self._mountpoint = mountpoint
        self._unanswered = Unanswered()

    # -- lookup ------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: bytes) -> Inode | None:
        """The inode called ``name`` in ``parent``, or None. One round trip where not leased.

        While the server is away what was known of it last.
        """
        directory = parent.directory
        if directory is None:
            raise error(errno.ENOTDIR)
        if len(name) > NAME_MAX and len(name) > self._remote.name_max:
            raise error(errno.ENAMETOOLONG)  # also where a listing would say that it is missing
        if directory.ahead:
            self._ahead.looked_up(parent)
        now = clock.now()
        known = self._tree.child(directory, parent.number, name, now)
        if known is False and not self._cases.doubtful(directory, name):
            if directory.renewed_ahead:
                self._ahead.absence_used(parent)
            if directory.amended and 0.0 < directory.absent_until - now < directory.absence_lease / 4:
                self._ahead.outdated(parent)  # in use: renewed before anybody has to wait for it
            return None
        if isinstance(known, Inode):
            if known.directory is not None and not known.directory.complete_until:
                self._ahead.found(known)
            return known
        return await self._offline.ask(
            partial(self._find, parent, name), partial(self._tree.expired_child, parent, name)
        )

    def missing_until(self, parent: Inode, name: bytes) -> float:
        """When the lease on the absence of ``name`` ends (``clock.now``). None where it may be made by
        another name."""
        return 0.0 if self._cases.folded else self._tree.missing_until(parent, name)

    def leads(self, parent: Inode, name: bytes, inode: Inode) -> bool:
        """Whether ``name`` leads to ``inode``, as far as is known."""
        directory = parent.directory
        assert directory is not None
        children = directory.children
        return children.get(name) is inode or children.get(self._cases.kept(directory, name)) is inode

    async def _find(self, parent: Inode, name: bytes) -> Inode | None:
        """As ``lookup``, from the lease or the server only."""
        directory = parent.directory
        if directory is None:
            raise error(errno.ENOTDIR)
        waited = False
        while True:
            known = self._tree.child(directory, parent.number, name, clock.now())
            if isinstance(known, Inode):
                return known
            if known is False and not self._cases.doubtful(directory, name):
                return None
            pending = directory.pending.get(name)
            if pending is None:
                if not waited and self._listing_tells(parent):
                    waited = True
                    await self._listed(directory)
                    continue
                return await self._fetch(parent, name)
            try:
                return await pending.slot.wait()
            except InterruptedError:
                continue  # who asked did not wait for the answer

    def _listing_tells(self, parent: Inode) -> bool:
        """Is a listing under way that is here no later than the answer for one name would be?"""
        assert parent.directory is not None
        believed = self._tree.policy.negative > 0.0  # else it proves no name missing
        return parent.directory.listing is not None and parent.attributes.size <= LARGEST and believed

    @staticmethod
    async def _listed(directory: Directory) -> None:
        """Wait for the listing under way. Raises SessionLostError; else it is as if there had been none."""
        assert directory.listing is not None
        try:
            await directory.listing.slot.wait()
        except SessionLostError:
            raise
        except OSError:
            pass

    async def _fetch(self, parent: Inode, name: bytes) -> Inode | None:
        directory = parent.directory
        assert directory is not None
        pending = PendingLookup()
        directory.pending[name] = pending
        try:
            found = await self._ask_in_time(parent, name, pending)
        except BaseException as problem:
            del directory.pending[name]
            pending.slot.fail(problem if isinstance(problem, OSError) else error(errno.EINTR))
            raise
        del directory.pending[name]
        pending.slot.set(found)
        return found

    async def _ask_in_time(self, parent: Inode, name: bytes, pending: PendingLookup) -> Inode | None:
        """As ``_ask``; for a moment only where the same question has just taken the whole deadline."""
        earlier = self._unanswered.take(parent.number, name)
        if earlier is None:
            try:
                return await self._ask(parent, name, pending)
            except SessionLostError as failure:
                if failure.errno == errno.ETIMEDOUT:
                    self._unanswered.add(parent.number, name, failure)
                raise
        with trio.move_on_after(SECOND_PATIENCE):
            return await self._ask(parent, name, pending)
        raise earlier

    async def _ask(self, parent: Inode, name: bytes, pending: PendingLookup) -> Inode | None:
        directory = parent.directory
        assert directory is not None
        for _ in range(INSTALL_ATTEMPTS):
            changing = directory.changing.get(name)
            if changing is not None:
                await changing.wait()
                known = self._tree.child(directory, parent.number, name, clock.now())
                if known is not True:
                    return known if isinstance(known, Inode) else None
            pending.stale = False
            asked = self._tree.asked(parent, self._cases.kept(directory, name))
            attributes = await self._look(parent, name)
            if await self._cases.answered(parent, name, attributes):
                continue
            same = False
            if attributes is not None:
                same, attributes = await self._identity.judged(asked, attributes)
                if not same and asked.name != name:  # by its case, all the same: the next listing tells
                    asked = self._tree.asked(parent, name)
                    directory.complete_until = directory.absent_until = 0.0
            if pending.stale or name in directory.changing:
                known = self._tree.child(directory, parent.number, name, clock.now())
                if known is not True:
                    return known if isinstance(known, Inode) else None
                continue
            current = directory.children.get(name)
            if attributes is None and current is not None and current.unnamed:
                await self._revalidate_unlinked(current)
                return current
            if attributes is None:
                self._tree.missing(parent, name)
                return None
            current = directory.children.get(asked.name)
            proven = not same and current is not None and current.handles  # by what is open
            if current is not None and self._tree.overtaken(asked) and not proven:
                return current  # what we changed meanwhile is newer than this answer
            inode = self._tree.believe(asked, attributes, same)
            if current is None and inode.directory is not None:
                self._ahead.found(inode)
            return inode
        current = directory.children.get(name)
        if current is None and attributes is not None and not pending.stale:
            current = self._tree.believe(asked, attributes, same)
        if current is not None:
            current.expires = 0.0
        return current

    async def _look(self, parent: Inode, name: bytes) -> Attributes | None:
        """LSTAT of ``name``; where a listing says it is missing but not recently enough, of the
        directory too, whose mtime may prove the whole listing still true."""
        directory = parent.directory
        assert directory is not None
        listed = directory.complete_until > clock.now() and name not in directory.unknown
        if name in directory.children or not listed:
            self._ahead.missed(parent)
            return await self._lstat(parent, name)
        self._ahead.absence_demanded(parent)
        found, of_parent = await in_place.look(
            self._tree, lambda *paths: self._remote.lstat_many(paths), (parent, name), parent
        )
        if isinstance(of_parent, Attributes) and not self._tree.renew_absence(parent, of_parent):
            self._ahead.outdated(parent)
        if isinstance(found, Attributes):
            return found
        _judge(found, name)
        return None

    async def _lstat(self, parent: Inode, name: bytes) -> Attributes | None:
        try:
            return await in_place.look(self._tree, self._remote.lstat, (parent, name))
        except OSError as problem:
            _judge(problem, name)
            return None

    # -- attributes --------------------------------------------------------------

    async def revalidate(self, inode: Inode, *, firmly: bool = False) -> None:
        """Make the lease on ``inode`` valid. ESTALE where its name leads elsewhere now.

        While the server is away its last attributes are good enough, unless ``firmly``.
        """
        if inode.expires > clock.now():
            return
        if firmly:
            await self._revalidate(inode)
        else:
            await self._offline.ask(
                partial(self._revalidate, inode), lambda: (None,) if inode.expires > 0.0 else None
            )

    async def _revalidate(self, inode: Inode) -> None:
        if inode.parent is None:
            mark = inode.change_mark
            attributes = await self._remote.stat(self._tree.root_path)
            if inode.change_mark == mark:
                self._tree.refresh(inode, attributes)
            return
        if not inode.linked or self._tree.path(inode) is None:
            await self._revalidate_unlinked(inode)
            return
        while inode.linked:
            parent, name = inode.parent, inode.name
            try:
                found = await self._find(parent, name)
            except OSError as problem:
                if problem.errno != errno.EACCES or not inode.handles:
                    raise
                break  # what is open stays open, and has attributes
            if found is inode:
                return
            if (inode.parent, inode.name) == (parent, name):
                break
        if not inode.handles:
            raise error(errno.ESTALE)
        await self._revalidate_unlinked(inode)

    async def _revalidate_unlinked(self, inode: Inode) -> None:
        if not inode.handles:
            if inode.lookups:
                return  # its last attributes are all there will ever be
            raise error(errno.ESTALE)
        mark = inode.change_mark
        attributes = await inode.handles[0].fstat()
        if inode.change_mark == mark:
            self._tree.refresh(inode, attributes)

    # -- links -------------------------------------------------------------------

    async def readlink(self, inode: Inode) -> bytes:
        """The target as the mount shows it; EPERM where it may not be shown."""
        if not stat.S_ISLNK(inode.attributes.mode):
            raise error(errno.EINVAL)
        target = inode.target
        if target is None or inode.target_expires <= clock.now():
            target = await self._offline.ask(
                partial(self._target, inode),
                lambda: (inode.target,) if inode.target is not None and inode.target_expires else None,
            )
        if target == inode.given_target:
            return target  # a local program's own words, kept faithfully: nothing of the server's to fear
        path = self._tree.path(inode)
        if path is None:
            raise error(errno.ESTALE)
        return shown_target(target, path, self._tree.root_path, self._mountpoint, self._symlinks)

    async def _target(self, inode: Inode) -> bytes:
        target = await in_place.look(self._tree, self._remote.readlink, inode)
        inode.target = target
        inode.target_expires = clock.now() + self._tree.policy.link
        return target


def _judge(problem: OSError, name: bytes) -> None:
    """A look at ``name`` failed by ``problem``: raises what that means, but where nothing is there."""
    if problem.errno == errno.ENOENT:
        return
    if len(name) > NAME_MAX and problem.errno in (errno.EINVAL, errno.EIO):
        raise error(errno.ENAMETOOLONG)  # SFTP v3 has no status for it
    raise problem
