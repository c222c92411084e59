"""Opening the very file an inode stands for: SFTP opens what has the name at that moment.

Owns how the file is told from another that got its name meanwhile; ``vfs.open_file`` makes handles of what
was opened.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from sftpfs.data import set_and_stat
from sftpfs.errors import error
from sftpfs.remote.api import Remote, RemoteFile
from sftpfs.types import AttributeChange, Attributes, OpenFlags, WholeFile
from sftpfs.vfs.file_identity import FileIdentity, is_same_file
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.leases import version_changed
from sftpfs.vfs.tree.server_answers import Asked
from sftpfs.vfs.tree.tree import Tree

OPEN_ATTEMPTS = 4
"""How often an open begins again because another version is learned of while the file is being opened."""


class _Opened(NamedTuple):
    """What an OPEN by path gave."""

    remote: RemoteFile
    attributes: Attributes
    whole: WholeFile | None
    same: bool
    """It is the file that the name was known to lead to."""
    asked: Asked | None
    known: Attributes
    found: Attributes
    """What it had before it was emptied, if that was done apart; otherwise ``attributes``."""

    def overtaken(self, inode: Inode) -> bool:
        """Whether another version than the opened one was reported meanwhile."""
        if self.asked is not None and inode.change_mark != self.asked.mark:
            return False  # we have changed it ourselves
        return inode.attributes is not self.known and version_changed(inode.attributes, self.found)


class PathOpener:
    """See the module."""

    __slots__ = ("_identity", "_remote", "_tree")

    def __init__(self, tree: Tree, remote: Remote, identity: FileIdentity) -> None:
        self._tree = tree
        self._remote = remote
        self._identity = identity

    async def open(
        self, inode: Inode, flags: int, size: int, patience: float
    ) -> tuple[RemoteFile, Attributes, WholeFile | None]:
        """Opens the file that ``inode`` stands for, and no other that got its name meanwhile by a rename of
        ours or of another client's. ESTALE makes the kernel look the name up again.

        If ``size`` is not 0, returns the content with it, as ``Remote.open_whole``.
        """
        lent = await self._lent(inode, flags)
        if lent is not None:
            return *lent, None
        await self._identity.verify(inode, patience=patience)
        opened = await self._open_same(inode, flags, size, alone=bool(flags & os.O_TRUNC))
        if opened is None:
            async with path_requests.exclusively(self._tree, inode):
                opened = await self._open_same(inode, flags, size, alone=True)
                assert opened is not None
        return opened.remote, opened.attributes, opened.whole

    async def _open_same(self, inode: Inode, flags: int, size: int, *, alone: bool) -> _Opened | None:
        """Opens what has the name of ``inode``. None if changes of ours, unless we are ``alone``, make it
        impossible to tell it from another file; ESTALE if it is another."""
        for _ in range(OPEN_ATTEMPTS):
            mark, before = inode.change_mark, path_requests.mutation_under_way(self._tree, inode)
            opened = await self._open_at_path(inode, flags, size)
            same = opened.same and stat.S_ISREG(opened.attributes.mode)
            newest = await self._newest(inode, opened, flags) if same else None
            if newest is not None:
                return newest
            opened.remote.close()  # it may be another file's than the kernel has learned of meanwhile
            if same or opened.asked is None:
                continue
            if not alone and (before is not None or path_requests.was_mutated(self._tree, inode, mark)):
                return None
            if not inode.handles and inode.change_mark != opened.asked.mark:
                continue  # it was closed just now, as another version
            if self._tree.still_leads(opened.asked):
                # What has the name gets its own inode, and what is open keeps this one.
                self._tree.install_answer(opened.asked, opened.attributes, False)
            break
        raise error(errno.ESTALE)

    @staticmethod
    async def _newest(inode: Inode, opened: _Opened, flags: int) -> _Opened | None:
        """``opened``, with what the file has now. None if another version was reported meanwhile, which may
        be another file's. A smaller version does not count, because the file grows and that answer was late.
        If it was larger, the open handle is asked anew, behind that report: a growing file has at least as
        much then, however many open it at once. That is one more round trip.
        """
        for _ in range(OPEN_ATTEMPTS):
            if not opened.overtaken(inode):
                return opened
            if flags & os.O_TRUNC:
                return None
            if _may_become(inode.attributes, opened.found):
                return opened
            try:
                now = await opened.remote.start_fstat().wait()
            except BaseException:
                opened.remote.close()
                raise
            opened = opened._replace(attributes=now, found=now, whole=None)
        return None

    async def _open_at_path(self, inode: Inode, flags: int, size: int) -> _Opened:
        """Opens what has the name of ``inode``. ESTALE if nothing has it."""
        current_path, truncate = self._tree.current_path(inode), bool(flags & os.O_TRUNC)

        async def ask(path: bytes) -> _Opened:
            asked = None if inode.parent is None else self._tree.asked(inode.parent, inode.name)
            known, wanted = inode.attributes, remote_flags(flags)
            # With several names, this one may have been replaced since they were looked at, and may not be
            # the one that was opened. Nothing is emptied before it is known to be the file: one more round
            # trip.
            apart = truncate and bool(inode.aliases)
            if apart:
                wanted = wanted & ~OpenFlags.TRUNCATE | OpenFlags.WRITE
            whole: WholeFile | None = None
            if size:
                remote, reported, whole = await self._remote.open_whole(path, size, current_path)
            else:
                remote, reported = await self._remote.open(path, wanted, 0o600, current_path)
            try:
                emptied = truncate and not apart and not reported.size
                look = None if emptied else lambda: self._remote.lstat(path)
                same, now = await is_same_file(inode, remote, inode.server_attributes, reported, look)
                found = now
                if apart and same:
                    remote.confirm()
                    now = await set_and_stat(remote, AttributeChange(size=0))
            except BaseException:
                remote.close()
                raise
            return _Opened(remote, now, whole if now is reported else None, same, asked, known, found)

        try:
            if truncate:
                return await path_requests.mutate(self._tree, ask, inode)
            return await path_requests.query(
                self._tree, ask, inode, drop=lambda opened: opened.remote.close()
            )
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            if inode.unnamed:
                raise error(
                    errno.EBUSY, "the server gives the file its name only when it is closed"
                ) from None
            if inode.parent is not None:  # the name went while its lease held, or is a link now
                self._tree.distrust(inode.parent, inode.name)
            raise error(errno.ESTALE) from None

    async def _lent(self, inode: Inode, flags: int) -> tuple[RemoteFile, Attributes] | None:
        """A file that is already open and whose last name we removed: /dev/stdin or /proc/PID/fd leads to it,
        and SFTP opens only by name. None if no open handle may do what ``flags`` ask."""
        if inode.linked or inode.removed_by_server:
            return None
        handles = inode.handles or []
        wanted = remote_flags(flags)
        while handle := next((one for one in handles if _may_lend(one.remote.flags, wanted)), None):
            try:
                if flags & os.O_TRUNC:
                    attributes = await handle.setattr(AttributeChange(size=0))
                else:
                    attributes = await handle.fstat()
            except OSError:
                if handle in handles:
                    raise
                continue  # released meanwhile
            if handle in handles:
                return handle.remote, attributes
        return None


def _may_become(earlier: Attributes, later: Attributes) -> bool:
    """Whether writes alone may have made ``later`` of a file that had ``earlier``."""
    return earlier.size <= later.size and earlier.mtime <= later.mtime


def _may_lend(has: OpenFlags, wanted: OpenFlags) -> bool:
    """Whether a file opened with ``has`` can serve an open with ``wanted``."""
    access = OpenFlags.READ | OpenFlags.WRITE
    if wanted & OpenFlags.TRUNCATE and not has & OpenFlags.WRITE:
        return False
    if wanted & OpenFlags.WRITE and (has ^ wanted) & OpenFlags.APPEND:
        return False  # the server puts the bytes elsewhere
    return not wanted & access & ~has


def remote_flags(flags: int) -> OpenFlags:
    """open(2)'s flags for the request to the server; creation is decided elsewhere."""
    access = flags & os.O_ACCMODE
    wanted = OpenFlags.READ
    if access == os.O_WRONLY:
        wanted = OpenFlags.WRITE
    elif access == os.O_RDWR:
        wanted = OpenFlags.READ | OpenFlags.WRITE
    if flags & os.O_APPEND and access != os.O_RDONLY:
        wanted |= OpenFlags.APPEND
    if flags & os.O_TRUNC:
        wanted |= OpenFlags.TRUNCATE
    return wanted
