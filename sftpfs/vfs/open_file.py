"""Open files: open, create, and the life of a handle until its release.

Close-to-open: every open asks the server for the version, and drops what was cached of another one. Content
itself is ``data``'s.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from math import inf

from sftpfs import clock
from sftpfs.data import Contents, FileHandle
from sftpfs.errors import error
from sftpfs.remote.api import Remote, RemoteFile
from sftpfs.types import AttributeChange, Attributes, OpenFlags, OpenMode, WholeFile
from sftpfs.vfs.file_identity import SHORT_PATIENCE, FileIdentity
from sftpfs.vfs.namespace import Caller, Namespace
from sftpfs.vfs.open_by_path import PathOpener, remote_flags
from sftpfs.vfs.prefetch.prefetcher import Prefetcher
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.setattr import SPECIAL_BITS
from sftpfs.vfs.softreval import SoftRevalidation
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import CurrentPath, Inode
from sftpfs.vfs.tree.tree import Tree

O_SYNC_BITS = os.O_SYNC | os.O_DSYNC

NOT_FROM_MEMORY = os.O_ACCMODE | os.O_TRUNC | os.O_DIRECT | O_SYNC_BITS
"""Flags with which an open always asks the server, whatever was fetched ahead."""

READ_AT_OPEN = 128 << 10
"""Bytes. A file up to this size that was never read is fetched with its OPEN, because it is usually read
next: one request, as large as the kernel's first read. More would hold up a program that opens a file on a
slow link for something else."""

CREATE_ATTEMPTS = 3
"""How often a name may appear and disappear between our exclusive create and our open."""


class OpenFile:
    """One open file of the kernel's: its inode and the handle on its content."""

    __slots__ = ("handle", "inode")

    def __init__(self, inode: Inode, handle: FileHandle) -> None:
        self.inode = inode
        self.handle = handle


class OpenOperations:
    """Opens, creates and releases."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        resolver: Resolver,
        identity: FileIdentity,
        namespace: Namespace,
        contents: Contents,
        ahead: Prefetcher,
        offline: SoftRevalidation,
    ) -> None:
        self._tree = tree
        self._remote = remote
        self._resolver = resolver
        self._opener = PathOpener(tree, remote, identity)
        self._namespace = namespace
        self._contents = contents
        self._prefetcher = ahead
        self._softreval = offline

    async def open(self, inode: Inode, flags: int, *, patience: float = inf) -> tuple[OpenFile, bool, bool]:
        """Opens for ``flags`` (open(2)'s). One round trip, more if a file that is open changed; none to read
        what was fetched ahead, or, while the server is away, what is in memory.

        Returns the file, whether the kernel may keep its pages, and whether the attributes that the kernel
        holds are outdated. ESTALE if the name now leads to something other than a regular file, or to another
        file than the open one. ``patience`` as in ``FileIdentity.verify``.
        """
        if not stat.S_ISREG(inode.attributes.mode):
            raise error(errno.EISDIR if inode.directory is not None else errno.EPERM)
        if not flags & NOT_FROM_MEMORY:
            under_way = self._prefetcher.on_open(inode)
            if under_way is not None:
                await under_way.wait()
            if (
                self._tree.serves_prefetched(inode)
                and inode.content is not None
                and inode.content.holds_all()
            ):
                return self._open_from_memory(inode, flags)
            if _held(inode):
                opened = await self._softreval.ask(
                    partial(self._open, inode, flags, patience), lambda: (None,) if _held(inode) else None
                )
                return opened or self._open_from_memory(inode, flags)
        return await self._open(inode, flags, patience)

    def _open_from_memory(self, inode: Inode, flags: int) -> tuple[OpenFile, bool, bool]:
        """An open as of the time when the content was fetched or last found unchanged."""
        current_path = self._tree.current_path(inode)
        later = self._remote.open_later(current_path, partial(_known, inode), partial(_changed, inode))
        outdated = self._shorten_if_hot(inode) or _is_outdated(inode)
        file, keep_cache = self._attach(inode, later, flags, ahead=True)
        return file, keep_cache, outdated

    async def _open(self, inode: Inode, flags: int, patience: float) -> tuple[OpenFile, bool, bool]:
        if inode.hidden:
            raise error(errno.EBUSY, "the server shows what was written to the file only when it is closed")
        content = inode.content
        if content is not None and ((flags & os.O_TRUNC and content.dirty) or content.deferring):
            # What was written before must not land after the truncation; the server decides by the mode.
            await content.advance()
        mark = inode.change_mark
        size = self._reserve(inode, flags)
        beneath = content.ask() if content is not None and not flags & os.O_TRUNC else None
        asked = clock.now()
        try:
            remote, attributes, whole = await self._opener.open(inode, flags, size, patience)
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
        """How many bytes to read as ``inode`` is opened: its whole size, for which room is then reserved, or
        0."""
        size, content = inode.attributes.size, inode.content
        if flags & NOT_FROM_MEMORY or not 0 < size <= READ_AT_OPEN or not inode.linked:
            return 0
        if content is not None and (content.dirty or content.handles or content.fetched):
            return 0
        return size if self._remote.affords(size) and self._contents.reserve(size) else 0

    def _shorten_if_hot(self, inode: Inode) -> bool:
        """A file that changed a moment ago may be growing: it is checked often while it is read. True if
        so."""
        if not self._tree.policy.is_hot(inode.attributes, self._tree.clock.at_least()):
            return False
        self._tree.shorten_lease(inode)
        return True

    async def create(
        self, parent: Inode, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Inode, OpenFile, bool]:
        """Creates and opens. The server is asked to create exclusively, so that it is known whose file it is
        and its mode can be made exactly ``mode``. If the name has appeared meanwhile and O_EXCL was not asked
        for, that file is opened."""
        for _ in range(CREATE_ATTEMPTS):
            try:
                inode, remote = await self._create_new(parent, name, mode, flags, caller)
            except FileExistsError:
                self._tree.distrust(parent, name)
                if flags & os.O_EXCL:
                    raise
                existing = await self._resolver.lookup(parent, name)
                if existing is not None:
                    if stat.S_ISLNK(existing.attributes.mode):
                        raise error(errno.ESTALE) from None  # the kernel walks there anew, and follows it
                    file, keep_cache, _ = await self.open(existing, flags, patience=SHORT_PATIENCE)
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
            attributes = await self._namespace.chown_to_caller(parent, name, attributes, caller)
            inode = self._tree.created(parent, name, attributes)
            current_path.inode = inode
            return inode, remote

        return await path_requests.mutate(self._tree, make, (parent, name))

    async def _correct_mode(self, inode: Inode, handle: FileHandle, mode: int) -> None:
        """Gives a new file the requested ``mode`` if the server's umask altered it: with its first flush, or
        at once if the server granted more. A server that cannot set it keeps its own."""
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
            self._tree.own_change(inode, inode.attributes, dated=True)
            return
        try:
            self._tree.own_change(inode, await handle.setattr(change), dated=True)
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
        handle, keep_cache = self._tree.content_of(inode, self._contents).attach(
            remote,
            mode_of(flags),
            known=inode.attributes,
            ahead=ahead,
            created=created,
            whole=whole,
            asked=asked,
        )
        self._tree.file_opened(inode, handle)
        return OpenFile(inode, handle), keep_cache

    async def release(self, file: OpenFile) -> None:
        """The last reference of the kernel's is gone. Errors were reported by flush."""
        inode = file.inode
        try:
            await file.handle.release()
        finally:
            self._tree.file_closed(inode, file.handle)


def _known(inode: Inode) -> Attributes | None:
    """The version of the content in memory; None while we are changing it."""
    return inode.content.version if inode.content is not None else None


def _changed(inode: Inode, attributes: Attributes) -> None:
    """What was opened from memory had grown when it was opened on the server."""
    if inode.content is not None:
        inode.content.found(attributes)


def _held(inode: Inode) -> bool:
    """Whether all of the file is in memory, as the server last reported it."""
    return inode.expires > 0.0 and inode.content is not None and inode.content.holds_all()


def _is_outdated(inode: Inode) -> bool:
    """Whether the kernel holds other attributes than we do. We may have learned ours without a request of the
    kernel's (from a listing, from what was fetched ahead). The kernel would end a read where it takes the
    file to end."""
    known = inode.kernel_attributes
    return known is not None and _as_the_kernel_knows(known) != _as_the_kernel_knows(inode.attributes)


def _as_the_kernel_knows(attributes: Attributes) -> tuple[int, int, int, int, int]:
    """The attributes by which a stale copy in the kernel would be noticed. atime is left out, because it
    moves with every read."""
    return attributes.mode, attributes.size, attributes.uid, attributes.gid, attributes.mtime


def mode_of(flags: int) -> OpenMode:
    """open(2)'s flags, as the content of a file is opened."""
    access = flags & os.O_ACCMODE
    return OpenMode(
        readable=access != os.O_WRONLY,
        writable=access != os.O_RDONLY,
        append=bool(flags & os.O_APPEND),
        synchronous=bool(flags & O_SYNC_BITS),
        direct=bool(flags & os.O_DIRECT),
    )
