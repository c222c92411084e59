"""FUSE requests: decode, call vfs, encode. No policy, and no state except the handle tables."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Sequence

import pyfuse3
import trio
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from sftpfs.data import FileHandle
from sftpfs.errors import error
from sftpfs.fuse.directory_reply import DirectoryReplies, OpenDirectory
from sftpfs.fuse.errno_guard import guarded
from sftpfs.fuse.file_handles import BY_NUMBER, by_number
from sftpfs.fuse.invalidation import Invalidation
from sftpfs.fuse.reads_in_flight import ReadsInFlight, became_longer, became_shorter, ends_early
from sftpfs.fuse.reply import Replies, statvfs_reply
from sftpfs.fuse.requester import Openers, only_reads
from sftpfs.types import Buffer
from sftpfs.vfs.filesystem import Filesystem
from sftpfs.vfs.namespace import Caller
from sftpfs.vfs.open_file import OpenFile
from sftpfs.vfs.setattr import SetattrRequest
from sftpfs.vfs.tree.inode import Inode

LOOKUP_ATTEMPTS = 4
"""How often a name is looked up that is changed again and again meanwhile; after that the kernel must ask
again."""


def caller(ctx: RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid)


class Operations(pyfuse3.Operations):
    """pyfuse3's request handlers over a ``Filesystem``."""

    supports_dot_lookup = True
    enable_writeback_cache = False  # the kernel would trust its own size and mtime for ever

    def __init__(self, filesystem: Filesystem, replies: Replies) -> None:
        super().__init__()
        self.initialised = trio.Event()
        """Set as the kernel and we have agreed on terms, before its first request is answered."""
        self._filesystem = filesystem
        self._tree = filesystem.tree
        self._replies = replies
        self._keep_pages = filesystem.config.data.kernel_cache
        self._direct_io = filesystem.config.data.direct_io
        self._handles = itertools.count(1)
        self._files: dict[int, OpenFile] = {}
        self._openers = Openers()
        self._reads = ReadsInFlight()
        self.invalidation = Invalidation(self._reads)
        self._directories: dict[int, OpenDirectory] = {}
        self._listings = DirectoryReplies(self._tree, replies, self._reads, self._look_up)

    def init(self) -> None:
        """The kernel receives our terms as soon as this returns, without a task being run between."""
        self.initialised.set()

    def inode_of(self, handle: int) -> Inode | None:
        """The inode an open file or directory of the kernel's belongs to."""
        opened = self._files.get(handle) or self._directories.get(handle)
        return opened.inode if opened is not None else None

    # -- what the kernel receives ---------------------------------------------------

    def _entry(self, parent: Inode, name: bytes, inode: Inode, ctx: RequestContext) -> EntryAttributes:
        """The only way by which an inode found or made here becomes known to the kernel as ``name``. Its
        result must be returned without another wait. If the name leads elsewhere by now (it was open, and
        another client put another file in its place), the kernel asks again before it uses the name once
        more.
        """
        assert parent.directory is not None
        reply = self._replies.entry(inode)
        if parent.directory.children.get(name) is not inode:
            reply.entry_timeout = 0.0
        self._tree.count_lookup(inode)
        self._reads.attributes_sent(inode, ctx.pid)
        return reply

    def _attributes(self, inode: Inode, ctx: RequestContext) -> EntryAttributes:
        """The same for attributes of an inode the kernel holds."""
        reply = self._replies.entry(inode)
        self._tree.attributes_sent(inode)
        self._reads.attributes_sent(inode, ctx.pid)
        return reply

    # -- names ---------------------------------------------------------------------

    @guarded
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        if name in BY_NUMBER:
            found = await by_number(self._filesystem, parent_inode, name)
            reply = self._attributes(found, ctx)
            self._tree.count_lookup(found)
            return reply
        parent = self._tree.get(parent_inode)
        inode = await self._look_up(parent, name)
        if inode is not None:
            if became_longer(inode):
                await self._reads.wait_until_quiet(inode)
            return self._entry(parent, name, inode, ctx)
        until = self._filesystem.resolver.missing_until(parent, name)
        self._tree.absence_shown(parent, until)
        return self._replies.missing(until)

    async def _look_up(self, parent: Inode, name: bytes) -> Inode | None:
        """What ``name`` leads to now. A caller that shares another's question may get the answer after it was
        evicted."""
        inode = None
        for _ in range(LOOKUP_ATTEMPTS):
            inode = await self._filesystem.resolver.lookup(parent, name)
            if inode is None or self._filesystem.resolver.leads_to(parent, name, inode):
                break
        return inode

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for number, count in inode_list:
            self._tree.forget(number, count)

    @guarded
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._tree.get(parent_inode)
        inode = await self._filesystem.namespace.mkdir(parent, name, mode, caller(ctx))
        return self._entry(parent, name, inode, ctx)

    @guarded
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._tree.get(parent_inode)
        inode = await self._filesystem.namespace.mknod(parent, name, mode, caller(ctx))
        return self._entry(parent, name, inode, ctx)

    @guarded
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._tree.get(parent_inode)
        inode = await self._filesystem.namespace.symlink(parent, name, target, caller(ctx))
        return self._entry(parent, name, inode, ctx)

    @guarded
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        existing, parent = self._tree.get(inode), self._tree.get(new_parent_inode)
        linked = await self._filesystem.namespace.link(existing, parent, new_name)
        return self._entry(parent, new_name, linked, ctx)

    @guarded
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self._filesystem.namespace.unlink(self._tree.get(parent_inode), name)

    @guarded
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self._filesystem.namespace.rmdir(self._tree.get(parent_inode), name)

    @guarded
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise FUSEError(errno.EINVAL)  # RENAME_EXCHANGE: no server offers it
        old, new = self._tree.get(parent_inode_old), self._tree.get(parent_inode_new)
        await self._filesystem.namespace.rename(old, name_old, new, name_new, replace=not flags)

    @guarded
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        return FileNameT(await self._filesystem.resolver.readlink(self._tree.get(inode)))

    # -- attributes ----------------------------------------------------------------

    @guarded
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        found = self._tree.get(inode)
        if found.content is not None and found.content.undated:
            await self._date(found, ctx.pid)
        await self._filesystem.resolver.revalidate(found)
        if became_longer(found):
            await self._reads.wait_until_quiet(found)
        return self._attributes(found, ctx)

    async def _date(self, inode: Inode, pid: int) -> None:
        """The time that a writer is told must still be the file's once it is closed. The program that opened
        it has to wait for what was written anyway; another thread of it, or a child, may have other work. A
        read, before which the kernel asks for the size, shows nobody a time."""
        opened = self._openers.opened_to_write(pid, inode)
        if (opened or self._openers.may_write(pid, inode)) and not only_reads(pid):
            await self._filesystem.date(inode, patient=opened)

    @guarded
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        found = self._tree.get(inode)
        requested = SetattrRequest(
            size=attr.st_size if fields.update_size else None,
            mode=attr.st_mode if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            atime_ns=attr.st_atime_ns if fields.update_atime else None,
            mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
        )
        file = self._files.get(fh) if fh is not None else None
        handle = file.handle if file is not None else None
        await self._filesystem.attributes.change(found, requested, handle)
        return self._attributes(found, ctx)

    @guarded
    async def access(self, inode: InodeT, mode: ModeT, ctx: RequestContext) -> bool:
        found = self._tree.get(inode)
        await self._filesystem.resolver.revalidate(found)
        return self._filesystem.access(found, mode)

    @guarded
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        return statvfs_reply(await self._filesystem.statfs())

    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        raise FUSEError(errno.ENOSYS)  # asked once a mount: the kernel answers EOPNOTSUPP from then on

    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        raise FUSEError(errno.ENOSYS)

    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        raise FUSEError(errno.ENOSYS)

    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        raise FUSEError(errno.ENOSYS)

    # -- files ---------------------------------------------------------------------

    def _file_info(self, file: OpenFile, keep_cache: bool, opener: int) -> FileInfo:
        number = FileHandleT(next(self._handles))
        self._files[number] = file
        self._openers.opened(file.handle, opener)
        # The kernel would put appended bytes into its pages at the place where it believes the end to be.
        # Such a handle can be neither read nor mapped, so this costs nothing else.
        appends = file.handle.append and not file.handle.readable
        return FileInfo(
            fh=number,
            direct_io=self._direct_io or appends,
            keep_cache=keep_cache or self._keep_pages,
        )

    @guarded
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        found = self._tree.get(inode)
        file, keep_cache, outdated = await self._filesystem.files.open(found, flags)
        if flags & os.O_TRUNC and await self._filesystem.attributes.emptied(found, file.handle, ctx.uid):
            outdated = True
        if outdated:
            if became_shorter(found):
                await self._reads.answered(inode)
            self.invalidation.attributes(found)
        if flags & os.O_TRUNC:  # the kernel empties it as it gets the reply
            self._tree.kernel_resized(found, 0)
            self._reads.attributes_sent(found, ctx.pid)
        return self._file_info(file, keep_cache, ctx.pid)

    @guarded
    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        parent = self._tree.get(parent_inode)
        inode, file, keep_cache = await self._filesystem.files.create(parent, name, mode, flags, caller(ctx))
        try:
            entry = self._entry(parent, name, inode, ctx)
        except OSError:  # an owner that may not be shown: the kernel will have nothing to release
            await self._filesystem.files.release(file)
            raise
        return self._file_info(file, keep_cache, ctx.pid), entry

    @guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> Buffer:  # type: ignore[override]
        handle, inode = self._files[fh].handle, self._files[fh].inode
        data = handle.read_nowait(off, size)
        if data is None or ends_early(inode, off, size, data):
            data = await self._read(handle, inode, off, size, data)
        if len(data) < size:
            self._reads.end_reached(inode.number)
        return data

    async def _read(
        self, handle: FileHandle, inode: Inode, off: int, size: int, data: Buffer | None
    ) -> Buffer:
        """Waits for the bytes, if ``data`` is None, and for others' reads if it ends early."""
        with self._reads.track(inode.number, off, off + size, self._openers.opener_of(handle)) as read:
            if data is None:
                data = await handle.read(off, size)
            if handle.direct or not ends_early(inode, off, size, data):
                return data
            await self._reads.answered(inode.number, below=off)
            if ends_early(inode, off, size, data):
                if read.overtaken:
                    self._reads.failed(inode.number)
                    raise error(errno.EIO, "overtaken: the kernel would fill it up with zeros")
                self._tree.kernel_resized(inode, off + len(data))
                self._reads.overtake(inode.number)
            return data

    @guarded
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        handle, inode = self._files[fh].handle, self._files[fh].inode
        if not handle.write_nowait(off, buf):
            await handle.write(off, buf)
        self._reads.overtake(inode.number)
        return len(buf)

    @guarded
    async def flush(self, fh: FileHandleT) -> None:
        handle, inode = self._files[fh].handle, self._files[fh].inode
        try:
            unnamed = handle.unnamed
            await handle.flush(lambda: not self._openers.still_open(handle, inode))
            if unnamed and not handle.unnamed:
                self._tree.name_given(inode)
        except OSError:
            handle.listened = self._openers.opener_lives(handle)
            raise

    @guarded
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        await self._files[fh].handle.fsync()

    @guarded
    async def release(self, fh: FileHandleT) -> None:
        file = self._files.pop(fh)
        self._openers.released(file.handle)
        await self._filesystem.files.release(file)

    def note_closed(self) -> None:
        """The mount is off: the kernel may have given up the RELEASE of what was closed just before."""
        for file in self._files.values():
            if not self._openers.still_open(file.handle, file.inode):
                file.handle.content.closed(file.handle)

    # -- directories ---------------------------------------------------------------

    @guarded
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        found = self._tree.get(inode)
        if found.directory is None:
            raise FUSEError(errno.ENOTDIR)
        number = FileHandleT(next(self._handles))
        self._directories[number] = OpenDirectory(found)
        self._tree.directory_opened(found)
        return number

    @guarded
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        opened = self._directories[fh]
        if opened.snapshot is None or start_id == 0:
            opened.snapshot = await self._filesystem.listing(opened.inode)
        await self._listings.add(opened, start_id, token)

    @guarded
    async def releasedir(self, fh: FileHandleT) -> None:
        inode = self._directories.pop(fh).inode
        self._tree.directory_closed(inode)

    @guarded
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """SFTP cannot sync a directory; every change was waited for when it was made."""
