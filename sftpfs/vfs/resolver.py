"""Asks the server about one name: lookup, getattr, readlink.

Each question is asked once at a time (single flight). Its answer is installed only if we changed nothing of
it meanwhile. Waits here; decides in ``vfs.tree.tree``.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from sftpfs import clock
from sftpfs.config import SymlinkPolicy
from sftpfs.errors import SessionLostError, error
from sftpfs.remote.api import Remote
from sftpfs.types import NAME_MAX, Attributes
from sftpfs.vfs.file_identity import FileIdentity
from sftpfs.vfs.mapping.letter_case import LetterCase
from sftpfs.vfs.mapping.symlink_targets import shown_target
from sftpfs.vfs.prefetch.directory_enter import LARGEST
from sftpfs.vfs.prefetch.prefetcher import Prefetcher
from sftpfs.vfs.softreval import SECOND_PATIENCE, RecentLookupTimeouts, SoftRevalidation
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Directory, Inode, PendingLookup
from sftpfs.vfs.tree.miss_counts import MissCounts
from sftpfs.vfs.tree.server_answers import Asked, leads_to
from sftpfs.vfs.tree.tree import Tree

INSTALL_ATTEMPTS = 4
"""How often a name is asked for that we ourselves change again and again meanwhile, and that has no lease.
After that the result of our last change is returned, and not kept."""


class Resolver:
    """Answers questions about the tree, from memory or from the server."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        ahead: Prefetcher,
        offline: SoftRevalidation,
        identity: FileIdentity,
        cases: LetterCase,
        symlinks: SymlinkPolicy,
        mountpoint: bytes,
    ) -> None:
        """``mountpoint``: absolute, on this machine; links that name it stay inside."""
        self._tree = tree
        self.misses = MissCounts(tree)
        self._prefetcher = ahead
        self._softreval = offline
        self._remote = remote
        self._cases = cases
        self._identity = identity
        self._symlinks = symlinks
        self._mountpoint = mountpoint
        self._timeouts = RecentLookupTimeouts()

    # -- lookup ------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: bytes) -> Inode | None:
        """The inode called ``name`` in ``parent``, or None. One round trip without a lease.

        While the server is away, what was last known of it.
        """
        directory = parent.directory
        if directory is None:
            raise error(errno.ENOTDIR)
        if len(name) > NAME_MAX and len(name) > self._remote.name_max:
            raise error(errno.ENAMETOOLONG)  # even if a listing would say that it is missing
        if directory.prefetched:
            self._prefetcher.on_first_lookup(parent)
        now = clock.now()
        known = self._tree.child(directory, parent.number, name, now)
        if known is False and not self._cases.may_differ_in_case(directory, name):
            if directory.renewed_ahead:
                self._prefetcher.on_absence_used(parent)
            if directory.names_changed and 0.0 < directory.absent_until - now < directory.absence_lease / 4:
                self._prefetcher.relist(parent)  # in use: renewed before anybody has to wait for it
            return None
        if isinstance(known, Inode):
            if known.directory is not None and not known.directory.complete_until:
                self._prefetcher.on_new_directory(known)
            return known
        return await self._softreval.ask(
            partial(self._find, parent, name), partial(self._tree.expired_child, parent, name)
        )

    async def lookup_with(
        self, parent: Inode, name: bytes, request: Callable[[], Awaitable[Attributes]]
    ) -> Inode | None:
        """As ``lookup``, by the answer to a ``request`` that is made anyway and says what has the name, and
        without asking for anything ahead. Raises what ``request`` raises."""
        directory = parent.directory
        assert directory is not None
        if name in directory.pending or name in directory.changing:
            await request()
            return await self.lookup(parent, name)
        pending = directory.pending[name] = PendingLookup()
        asked = self._tree.asked(parent, self._cases.known_name(directory, name))
        try:
            attributes = await request()
        except BaseException:
            del directory.pending[name]
            pending.slot.fail(error(errno.EINTR))  # whoever joined asks itself
            raise
        del directory.pending[name]
        if pending.stale or self._tree.is_stale(asked):
            pending.slot.fail(error(errno.EINTR))
            return await self.lookup(parent, name)
        same = leads_to(asked.inode, attributes) if asked.inode is not None else False
        found = self._tree.install_answer(asked, attributes, same)
        pending.slot.set(found)
        return found

    def missing_until(self, parent: Inode, name: bytes) -> float:
        """When the lease on the absence of ``name`` ends (``clock.now``). None if it may be made by another
        name."""
        return 0.0 if self._cases.folded else self._tree.missing_until(parent, name)

    def leads_to(self, parent: Inode, name: bytes, inode: Inode) -> bool:
        """Whether ``name`` leads to ``inode``, as far as is known."""
        directory = parent.directory
        assert directory is not None
        children = directory.children
        return children.get(name) is inode or children.get(self._cases.known_name(directory, name)) is inode

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
            if known is False and not self._cases.may_differ_in_case(directory, name):
                return None
            pending = directory.pending.get(name)
            if pending is None:
                if not waited and self._listing_answers(parent):
                    waited = True
                    await self._listed(directory)
                    continue
                self.misses.name(parent, directory, name)
                return await self._fetch(parent, name)
            try:
                return await pending.slot.wait()
            except InterruptedError:
                continue  # the caller did not wait for the answer

    def _listing_answers(self, parent: Inode) -> bool:
        """Whether a listing is under way that will arrive no later than the answer for one name."""
        assert parent.directory is not None
        believed = self._tree.policy.negative > 0.0  # else it proves no name missing
        pending = parent.directory.listing
        if pending is None or pending.snapshot is not None:
            return False  # in parts it takes long
        return parent.attributes.size <= LARGEST and believed

    @staticmethod
    async def _listed(directory: Directory) -> None:
        """Waits for the listing under way. Raises SessionLostError; any other failure is as if there had been
        no listing."""
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
        """As ``_ask``; only for a moment if the same question has just taken the whole deadline."""
        earlier = self._timeouts.take(parent.number, name)
        if earlier is None:
            try:
                return await self._ask(parent, name, pending)
            except SessionLostError as failure:
                if failure.errno == errno.ETIMEDOUT:
                    self._timeouts.add(parent.number, name, failure)
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
            asked = self._tree.asked(parent, self._cases.known_name(directory, name))
            attributes = await self._ask_server(parent, name)
            if await self._cases.answered(parent, name, attributes):
                continue
            same = False
            if attributes is not None:
                same, attributes = await self._identity.compare(asked, attributes)
                if not same and asked.name != name:  # by its case, all the same: the next listing tells
                    asked = self._tree.asked(parent, name)
                    self._tree.listing_contradicted(parent)
            if pending.stale or name in directory.changing:
                known = self._tree.child(directory, parent.number, name, clock.now())
                if known is not True:
                    return known if isinstance(known, Inode) else None
                continue
            if attributes is None:
                return await self._install_absence(parent, name)
            return self._install(asked, attributes, same)
        current = directory.children.get(name)
        if current is None and attributes is not None and not pending.stale:
            current = self._tree.install_answer(asked, attributes, same)
        if current is not None:
            self._tree.end_lease(current)
        return current

    async def _install_absence(self, parent: Inode, name: bytes) -> Inode | None:
        """The server says there is no ``name``: what has it here all the same, or None."""
        assert parent.directory is not None
        current = parent.directory.children.get(name)
        if current is not None and current.unnamed:
            await self._revalidate_unlinked(current)
            return current
        self._tree.install_absence(parent, name)
        return None

    def _install(self, asked: Asked, attributes: Attributes, same: bool) -> Inode:
        """The server says the name of ``asked`` has ``attributes``, and leads to the ``same`` inode or not:
        what it leads to from now on."""
        assert asked.parent.directory is not None
        current = asked.parent.directory.children.get(asked.name)
        proven = not same and current is not None and current.handles  # by what is open
        if current is not None and self._tree.is_stale(asked) and not proven:
            return current  # what we changed meanwhile is newer than this answer
        inode = self._tree.install_answer(asked, attributes, same)
        if current is None and inode.directory is not None:
            self._prefetcher.on_new_directory(inode)
        return inode

    async def _ask_server(self, parent: Inode, name: bytes) -> Attributes | None:
        """LSTAT of ``name``. If a listing says that it is missing, but not recently enough, also of the
        directory, whose mtime may prove the whole listing still true."""
        directory = parent.directory
        assert directory is not None
        listed = directory.complete_until > clock.now() and name not in directory.unknown
        if name in directory.children or not listed:
            self._prefetcher.on_lookup_miss(parent)
            return await self._lstat(parent, name)
        if not directory.speculative:
            self._prefetcher.on_absence_asked(parent)
        found, of_parent = await path_requests.query(
            self._tree, lambda *paths: self._remote.lstat_many(paths), (parent, name), parent
        )
        if isinstance(of_parent, Attributes) and not self._tree.renew_absence(parent, of_parent):
            self._prefetcher.relist(parent, speculative=isinstance(found, Attributes))
        if isinstance(found, Attributes):
            return found
        _judge(found, name)
        return None

    async def _lstat(self, parent: Inode, name: bytes) -> Attributes | None:
        try:
            return await path_requests.query(self._tree, self._remote.lstat, (parent, name))
        except OSError as problem:
            _judge(problem, name)
            return None

    # -- attributes --------------------------------------------------------------

    async def revalidate(self, inode: Inode, *, firmly: bool = False) -> None:
        """Makes the lease on ``inode`` valid. ESTALE if its name leads elsewhere now.

        While the server is away its last attributes are good enough, unless ``firmly``.
        """
        if inode.expires > clock.now():
            return
        if firmly:
            await self._revalidate(inode)
        else:
            await self._softreval.ask(
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
        """The target as the mount shows it; EPERM if it may not be shown."""
        if not stat.S_ISLNK(inode.attributes.mode):
            raise error(errno.EINVAL)
        target = inode.target
        if target is None or inode.target_expires <= clock.now():
            target = await self._softreval.ask(
                partial(self._target, inode),
                lambda: (inode.target,) if inode.target is not None and inode.target_expires else None,
            )
        if target == inode.created_target:
            return target  # a local program's own words, kept faithfully: nothing of the server's to fear
        path = self._tree.path(inode)
        if path is None:
            raise error(errno.ESTALE)
        return shown_target(target, path, self._tree.root_path, self._mountpoint, self._symlinks)

    async def _target(self, inode: Inode) -> bytes:
        target = await path_requests.query(self._tree, self._remote.readlink, inode)
        self._tree.link_target_read(inode, target)
        return target


def _judge(problem: OSError, name: bytes) -> None:
    """A look at ``name`` failed with ``problem``: raises what that means, unless nothing is there."""
    if problem.errno == errno.ENOENT:
        return
    if len(name) > NAME_MAX and problem.errno in (errno.EINVAL, errno.EIO):
        raise error(errno.ENAMETOOLONG)  # SFTP v3 has no status for it
    raise problem
