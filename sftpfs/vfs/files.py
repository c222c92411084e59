"""Open files: open, create, and what becomes of a handle until its release.

Close-to-open: every open asks the server for the version and drops what was cached of
another one. Content itself is ``data``'s.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from math import inf
from typing import NamedTuple

from sftpfs import clock
from sftpfs.data import Contents, FileHandle, set_and_stat
from sftpfs.errors import error
from sftpfs.remote.api import OpenFlags, Remote, RemoteFile
from sftpfs.types import AttributeChange, Attributes, WholeFile
from sftpfs.vfs import in_place
from sftpfs.vfs.ahead import Ahead
from sftpfs.vfs.answers import Asked
from sftpfs.vfs.attributes import SPECIAL_BITS
from sftpfs.vfs.identity import LITTLE, Identity, identified
from sftpfs.vfs.inodes import CurrentPath, Inode
from sftpfs.vfs.leases import version_changed
from sftpfs.vfs.namespace import Caller, Namespace
from sftpfs.vfs.offline import Offline
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.tree import Tree

O_SYNC_BITS = os.O_SYNC | os.O_DSYNC

NOT_FROM_MEMORY = os.O_ACCMODE | os.O_TRUNC | os.O_DIRECT | O_SYNC_BITS
"""Flags with which an open always asks the server, whatever was fetched ahead."""

READ_AT_OPEN = 128 << 10
"""Bytes: a file up to this size that was never read is asked for with its OPEN, for it mostly is read
next: one request, what the kernel asks for at its first read. More would hold up who opens a file on
a slow link for something else."""

OPEN_ATTEMPTS = 4
"""Another version that is learned again and again while a file is being opened."""

CREATE_ATTEMPTS = 3
"""A name that appears and disappears between our exclusive create and our open."""


class OpenFile:
    """One open file of the kernel's: its inode and the handle on its content."""

    __slots__ = ("handle", "inode")

    def __init__(self, inode: Inode, handle: FileHandle) -> None:
        self.inode = inode
        self.handle = handle


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
    """What it had before it was emptied, where that was done apart; else ``attributes``."""

    def overtaken(self, inode: Inode) -> bool:
        """Whether others told of another version than that of what was opened meanwhile."""
        if self.asked is not None and inode.change_mark != self.asked.mark:
            return False  # we have changed it ourselves
        return inode.attributes is not self.known and version_changed(inode.attributes, self.found)


class Files:
    """Opens, creates and releases."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        resolver: Resolver,
        identity: Identity,
        namespace: Namespace,
        contents: Contents,
        ahead: Ahead,
        offline: Offline,
    ) -> None:
        self._tree = tree
        self._remote = remote
        self._resolver = resolver
        self._identity = identity
        self._namespace = namespace
        self._contents = contents
        self._ahead = ahead
        self._offline = offline

    async def open(self, inode: Inode, flags: int, *, patience: float = inf) -> tuple[OpenFile, bool, bool]:
        """Open for ``flags`` (open(2)'s). One round trip, more where a file that is open changed; none to
        read what was fetched ahead, or, while the server is away, what is in memory.

        Returns the file, whether the kernel may keep its pages, and whether the
        attributes the kernel holds are outdated. ESTALE where the name leads to
        something other than a regular file now, or to another than the one that is open. ``patience`` as
        ``Identity.verify``.
        """
        if not stat.S_ISREG(inode.attributes.mode):
            raise error(errno.EISDIR if inode.directory is not None else errno.EPERM)
        if not flags & NOT_FROM_MEMORY:
            under_way = self._ahead.opened(inode)
            if under_way is not None:
                await under_way.wait()
            if self._tree.ready(inode) and inode.content is not None and inode.content.holds_all():
                return self._open_from_memory(inode, flags)
            if _held(inode):
                opened = await self._offline.ask(
                    partial(self._open, inode, flags, patience), lambda: (None,) if _held(inode) else None
                )
                return opened or self._open_from_memory(inode, flags)
        return await self._open(inode, flags, patience)

    def _open_from_memory(self, inode: Inode, flags: int) -> tuple[OpenFile, bool, bool]:
        """An open of when the content was fetched or last found unchanged."""
        current_path = self._tree.current_path(inode)
        later = self._remote.open_later(current_path, partial(_known, inode), partial(_changed, inode))
        outdated = self._shorten_if_hot(inode) or _is_outdated(inode)
        file, keep_cache = self._attach(inode, later, flags, ahead=True)
        return file, keep_cache, outdated

    async def _open(self, inode: Inode, flags: int, patience: float) -> tuple[OpenFile, bool, bool]:
        if inode.hidden:
            raise error(errno.EBUSY, "the server shows what was written to the file as it is closed")
        content = inode.content
        if content is not None and ((flags & os.O_TRUNC and content.dirty) or content.deferring):
            # What was written before must not land after the truncation; the server decides by the mode.
            await content.advance()
        mark = inode.change_mark
        size = self._reserve(inode, flags)
        beneath = content.ask() if content is not None and not flags & os.O_TRUNC else None
        asked = clock.now()
        try:
            remote, attributes, whole = await self._open_identified(inode, flags, size, patience)
        except BaseException:
            self._contents.unreserve(size)
            raise
        if whole is None or inode.change_mark != mark:
            self._contents.unreserve(size)
            whole = None
        if flags & os.O_TRUNC:
            if inode.content is not None:
                inode.content.truncated(attributes)
                beneath = inode.content.ask()  # what is written meanwhile may be before it or behind it
            self._tree.own_change(inode, attributes, dated=True, named=True)
        elif inode.change_mark == mark:
            self._tree.refresh(inode, attributes)
        if beneath is not None:
            try:
                await beneath.wait()
            except OSError:
                pass  # what is known of it goes on to rule
            except BaseException:
                remote.close()
                raise
        hot = not flags & os.O_ACCMODE and self._shorten_if_hot(inode)
        outdated = hot or beneath is not None or _is_outdated(inode)
        file, keep_cache = self._attach(inode, remote, flags, whole=whole, asked=asked)
        return file, keep_cache, outdated

    def _reserve(self, inode: Inode, flags: int) -> int:
        """Bytes to be read as ``inode`` is opened, its whole size: room for them is reserved. 0 for none."""
        size, content = inode.attributes.size, inode.content
        if flags & NOT_FROM_MEMORY or not 0 < size <= READ_AT_OPEN or not inode.linked:
            return 0
        if content is not None and (content.dirty or content.handles or content.fetched):
            return 0
        return size if size <= self._remote.affordable and self._contents.reserve(size) else 0

    async def _open_identified(
        self, inode: Inode, flags: int, size: int, patience: float
    ) -> tuple[RemoteFile, Attributes, WholeFile | None]:
        """The file ``inode`` stands for, and no other that got its name meanwhile, be it by a rename of
        ours or of another client's. ESTALE makes the kernel look the name up again.

        With it, where ``size`` is not 0, what is in it, as ``Remote.open_whole``.
        """
        lent = await self._lent(inode, flags)
        if lent is not None:
            return *lent, None
        await self._identity.verify(inode, patience=patience)
        opened = await self._open_that(inode, flags, size, alone=bool(flags & os.O_TRUNC))
        if opened is None:
            async with in_place.undisturbed(self._tree, inode):
                opened = await self._open_that(inode, flags, size, alone=True)
                assert opened is not None
        return opened.remote, opened.attributes, opened.whole

    async def _open_that(self, inode: Inode, flags: int, size: int, *, alone: bool) -> _Opened | None:
        """What has the name of ``inode``. None where changes of ours, unless we are ``alone``, do not let it
        be told from another file; ESTALE where it is another."""
        for _ in range(OPEN_ATTEMPTS):
            mark, before = inode.change_mark, in_place.changing(self._tree, inode)
            opened = await self._open_by_path(inode, flags, size)
            same = opened.same and stat.S_ISREG(opened.attributes.mode)
            newest = await self._newest(inode, opened, flags) if same else None
            if newest is not None:
                return newest
            opened.remote.close()  # of another file perhaps than the kernel has been told of meanwhile
            if same or opened.asked is None:
                continue
            if not alone and (before is not None or in_place.disturbed(self._tree, inode, mark)):
                return None
            if not inode.handles and inode.change_mark != opened.asked.mark:
                continue  # it was closed just now, as another version
            if self._tree.stands(opened.asked):
                # What has the name gets an inode of its own, what is open keeps this one.
                self._tree.believe(opened.asked, opened.attributes, False)
            break
        raise error(errno.ESTALE)

    @staticmethod
    async def _newest(inode: Inode, opened: _Opened, flags: int) -> _Opened | None:
        """``opened``, with what the file has now. None where others told of another version meanwhile, which
        may be another file's; not of one that was less: it grows, and that answer was late. Where it was
        more the open handle is asked anew, behind that: of a file that grows it tells as much then, however
        many open it at once. One round trip more then."""
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

    async def _open_by_path(self, inode: Inode, flags: int, size: int) -> _Opened:
        """Open what has the name of ``inode``. ESTALE where nothing has."""
        current_path, truncate = self._tree.current_path(inode), bool(flags & os.O_TRUNC)

        async def ask(path: bytes) -> _Opened:
            asked = None if inode.parent is None else self._tree.asked(inode.parent, inode.name)
            known, wanted = inode.attributes, remote_flags(flags)
            # Of several names this one may have been replaced since they were looked at, and not be the one
            # that was opened: nothing is emptied before it is known to be the file. A round trip more.
            apart = truncate and bool(inode.aliases)
            if apart:
                wanted = wanted & ~OpenFlags.TRUNCATE | OpenFlags.WRITE
            whole: WholeFile | None = None
            if size:
                remote, told, whole = await self._remote.open_whole(path, size, current_path)
            else:
                remote, told = await self._remote.open(path, wanted, 0o600, current_path)
            try:
                emptied = truncate and not apart and not told.size
                look = None if emptied else lambda: self._remote.lstat(path)
                same, now = await identified(inode, remote, _beneath(inode), told, look)
                found = now
                if apart and same:
                    remote.confirm()
                    now = await set_and_stat(remote, AttributeChange(size=0))
            except BaseException:
                remote.close()
                raise
            return _Opened(remote, now, whole if now is told else None, same, asked, known, found)

        try:
            if truncate:
                return await in_place.change(self._tree, ask, inode)
            return await in_place.look(self._tree, ask, inode, drop=lambda opened: opened.remote.close())
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            if inode.unnamed:
                raise error(errno.EBUSY, "the server gives the file its name as it is closed") from None
            if inode.parent is not None:  # the name went while its lease held, or is a link now
                self._namespace.distrust(inode.parent, inode.name)
            raise error(errno.ESTALE) from None

    async def _lent(self, inode: Inode, flags: int) -> tuple[RemoteFile, Attributes] | None:
        """What is open already of a file whose last name we removed: /dev/stdin or /proc/PID/fd leads to it,
        and SFTP opens by name only. None where nothing that is open may do what ``flags`` ask."""
        if inode.linked or inode.contradicted:
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

    def _shorten_if_hot(self, inode: Inode) -> bool:
        """A file that changed a moment ago may be growing: look often while it is read. True where so."""
        if not self._tree.policy.is_hot(inode.attributes, self._tree.clock.at_least()):
            return False
        inode.lease = self._tree.policy.shortest
        inode.expires = min(inode.expires, clock.now() + inode.lease)
        return True

    async def create(
        self, parent: Inode, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Inode, OpenFile, bool]:
        """Create and open. The server is asked to create exclusively, so that it is known
        whose file it is and its mode can be made exactly ``mode``; where the name has
        appeared meanwhile and O_EXCL was not asked for, that file is opened."""
        for _ in range(CREATE_ATTEMPTS):
            try:
                inode, remote = await self._create_new(parent, name, mode, flags, caller)
            except FileExistsError:
                self._namespace.distrust(parent, name)
                if flags & os.O_EXCL:
                    raise
                existing = await self._resolver.lookup(parent, name)
                if existing is not None:
                    if stat.S_ISLNK(existing.attributes.mode):
                        raise error(errno.ESTALE) from None  # the kernel walks there anew, and follows it
                    file, keep_cache, _ = await self.open(existing, flags, patience=LITTLE)
                    return existing, file, keep_cache
            else:
                file, keep_cache = self._attach(inode, remote, flags, created=True)
                await self._correct_mode(inode, file.handle, stat.S_IMODE(mode))
                return inode, file, keep_cache
        raise error(errno.EEXIST)

    async def _create_new(
        self, parent: Inode, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Inode, RemoteFile]:
        wanted = (remote_flags(flags) | OpenFlags.CREATE | OpenFlags.EXCLUSIVE) & ~OpenFlags.TRUNCATE
        current_path = CurrentPath(self._tree.root_path)

        async def make(path: bytes) -> tuple[Inode, RemoteFile]:
            remote, attributes = await self._remote.open(path, wanted, stat.S_IMODE(mode), current_path)
            if not stat.S_ISREG(attributes.mode):
                remote.close()
                raise error(errno.ESTALE)
            attributes = await self._namespace.own(parent, name, attributes, caller)
            inode = self._tree.created(parent, name, attributes)
            current_path.inode = inode
            return inode, remote

        return await in_place.change(self._tree, make, (parent, name))

    async def _correct_mode(self, inode: Inode, handle: FileHandle, mode: int) -> None:
        """Give a new file the ``mode`` asked for where the server's umask altered it: with its first
        flush, at once where the server granted more. A server that cannot keeps its own."""
        known = stat.S_IMODE(inode.attributes.mode)
        if known == mode:
            return
        change = AttributeChange(mode=mode)
        content = handle.content
        if not self._remote.sets(change):
            return
        if (
            content.may_defer
            and self._remote.surely_sets(change)
            and not (known & ~mode or mode & SPECIAL_BITS)
        ):
            content.defer(change, demanded=False)
            self._tree.own_change(inode, inode.attributes)
            return
        try:
            self._tree.own_change(inode, await handle.setattr(change))
        except OSError:
            return

    def _attach(
        self,
        inode: Inode,
        remote: RemoteFile,
        flags: int,
        *,
        ahead: bool = False,
        created: bool = False,
        whole: WholeFile | None = None,
        asked: float = 0.0,
    ) -> tuple[OpenFile, bool]:
        remote.confirm()
        if inode.content is None:
            inode.content = self._contents.create(inode.number)
        access = flags & os.O_ACCMODE
        handle, keep_cache = inode.content.attach(
            remote,
            readable=access != os.O_WRONLY,
            writable=access != os.O_RDONLY,
            append=bool(flags & os.O_APPEND),
            synchronous=bool(flags & O_SYNC_BITS),
            direct=bool(flags & os.O_DIRECT),
            known=inode.attributes,
            ahead=ahead,
            created=created,
            whole=whole,
            asked=asked,
        )
        if inode.handles is None:
            inode.handles = []
        inode.handles.append(handle)
        return OpenFile(inode, handle), keep_cache

    @staticmethod
    def named(inode: Inode) -> None:
        """The server gave the file its name as it was closed: its directory listed another one before."""
        if inode.parent is not None and inode.parent.directory is not None:
            inode.parent.directory.complete_until = 0.0

    async def release(self, file: OpenFile) -> None:
        """The last reference of the kernel's is gone. Errors were reported by flush."""
        inode = file.inode
        try:
            await file.handle.release()
        finally:
            if inode.handles is not None:
                inode.handles.remove(file.handle)
            self._tree.handle_closed(inode)


def _may_become(earlier: Attributes, later: Attributes) -> bool:
    """Whether writes alone may have made ``later`` of a file that had ``earlier``."""
    return earlier.size <= later.size and earlier.mtime <= later.mtime


def _known(inode: Inode) -> Attributes | None:
    """What the content in memory is the version of; None while we are changing it."""
    return inode.content.version if inode.content is not None else None


def _changed(inode: Inode, attributes: Attributes) -> None:
    """What was opened from memory has grown by when it is opened on the server."""
    if inode.content is not None:
        inode.content.found(attributes)


def _beneath(inode: Inode) -> Attributes:
    """What the server told last of the file, which of one being written the inode's own do not show."""
    beneath = inode.content.beneath if inode.content is not None and inode.content.dirty else None
    return beneath or inode.attributes


def _held(inode: Inode) -> bool:
    """All of the file is in memory, as the server told it last."""
    return inode.expires > 0.0 and inode.content is not None and inode.content.holds_all()


def _may_lend(has: OpenFlags, wanted: OpenFlags) -> bool:
    """Whether a file opened with ``has`` does for who would open it with ``wanted``."""
    access = OpenFlags.READ | OpenFlags.WRITE
    if wanted & OpenFlags.TRUNCATE and not has & OpenFlags.WRITE:
        return False
    if wanted & OpenFlags.WRITE and (has ^ wanted) & OpenFlags.APPEND:
        return False  # the server puts the bytes elsewhere
    return not wanted & access & ~has


def _is_outdated(inode: Inode) -> bool:
    """Whether the kernel holds other attributes than we, who may have learned them unasked (of a listing,
    of what was fetched ahead). It would end a read where it takes the file to end."""
    told = inode.told
    return told is not None and _as_the_kernel_knows(told) != _as_the_kernel_knows(inode.attributes)


def _as_the_kernel_knows(attributes: Attributes) -> tuple[int, int, int, int, int]:
    """What a stale kernel attribute would be noticed by; atime moves with every read."""
    return attributes.mode, attributes.size, attributes.uid, attributes.gid, attributes.mtime


def remote_flags(flags: int) -> OpenFlags:
    """open(2)'s flags as the server is asked; creation is decided apart."""
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
