"""Encoding: what vfs shows of an inode as pyfuse3's structures."""

from __future__ import annotations

from collections.abc import Callable

from pyfuse3 import EntryAttributes, InodeT, StatvfsData

from sftpfs import clock
from sftpfs.config import CacheConfig
from sftpfs.fuse.file_handles import ROOT_GENERATION, new_generation
from sftpfs.types import NAME_MAX, FilesystemStatistics
from sftpfs.vfs.filesystem import Appearance, Filesystem
from sftpfs.vfs.tree.inode import Inode

BLOCK_SIZE = 512
"""The unit of st_blocks, whatever the file system (stat(2))."""

PREFERRED_SIZE = 1 << 20
"""st_blksize, bytes: cp and friends then write 1 MiB at a time, which travels as one request."""


class Replies:
    """Builds replies; kernel timeouts follow the leases, within what the user set."""

    __slots__ = ("_attribute_limit", "_cases", "_entry_limit", "_filesystem", "_generation", "_root")

    def __init__(self, filesystem: Filesystem, config: CacheConfig) -> None:
        self._filesystem = filesystem
        self._cases = filesystem.cases
        self._entry_limit = config.entry_timeout
        self._attribute_limit = config.attribute_timeout
        self._root = filesystem.tree.root
        self._generation = new_generation()

    def entry(self, inode: Inode) -> EntryAttributes:
        """The attributes of ``inode``, valid in the kernel as long as its lease."""
        reply = EntryAttributes()
        reply.st_blksize = PREFERRED_SIZE
        self._encode(inode, self._filesystem.appearance(inode), clock.now(), reply)
        return reply

    def encoder(self) -> Callable[[Inode], EntryAttributes]:
        """``entry`` for one inode after another, without a wait between. It returns the same object each
        time, and sets in it only what differs from the inode before, as each field takes 50 to 150 ns."""
        reply = EntryAttributes()
        reply.st_blksize = PREFERRED_SIZE
        now = clock.now()
        appearance = self._filesystem.appearance
        last: Appearance | None = None
        last_end = 0.0

        def encode(inode: Inode) -> EntryAttributes:
            nonlocal last, last_end
            shown = appearance(inode)
            ordinary = inode.content is None and not inode.aliases and inode.parent is not None
            if last is None or not ordinary or inode.expires != last_end:
                self._encode(inode, shown, now, reply)
                last, last_end = shown if ordinary else None, inode.expires
                return reply
            reply.st_ino = inode.number
            if shown != last:
                mode, nlink, uid, gid, size, atime_ns, mtime_ns, ctime_ns = shown
                if mode != last[0] or nlink != last[1] or uid != last[2] or gid != last[3]:
                    reply.st_mode, reply.st_nlink, reply.st_uid, reply.st_gid = mode, nlink, uid, gid
                if size != last[4]:
                    reply.st_size = size
                    reply.st_blocks = (size + BLOCK_SIZE - 1) // BLOCK_SIZE
                if atime_ns != last[5]:
                    reply.st_atime_ns = atime_ns
                if mtime_ns != last[6] or ctime_ns != last[7]:
                    reply.st_mtime_ns, reply.st_ctime_ns = mtime_ns, ctime_ns
                last = shown
            return reply

        return encode

    def _encode(self, inode: Inode, shown: Appearance, now: float, reply: EntryAttributes) -> None:
        """Sets every field of ``reply`` that is not the same for all inodes."""
        reply.st_ino = inode.number
        reply.generation = ROOT_GENERATION if inode is self._root else self._generation
        remaining = inode.expires - now
        if remaining < 0.0:
            remaining = 0.0
        limit = self._entry_limit
        if inode.aliases or self._cases.folded:
            limit = 0.0  # each of its names has a lease of its own, or has others that end it
        reply.entry_timeout = remaining if limit is None else min(remaining, limit)
        limit = self._attribute_limit
        reply.attr_timeout = remaining if limit is None else min(remaining, limit)
        content = inode.content
        if content is not None and (content.deferring or content.undated):
            reply.attr_timeout = 0.0  # not the server's word yet: should that be another, it is seen at once
        reply.st_mode, reply.st_nlink, reply.st_uid, reply.st_gid, size, atime_ns, mtime_ns, ctime_ns = shown
        reply.st_size = size
        reply.st_blocks = (size + BLOCK_SIZE - 1) // BLOCK_SIZE
        reply.st_atime_ns = atime_ns
        reply.st_mtime_ns = mtime_ns
        reply.st_ctime_ns = ctime_ns

    def missing(self, until: float) -> EntryAttributes:
        """A negative entry the kernel keeps until ``until`` (``clock.now``)."""
        reply = EntryAttributes()
        reply.st_ino = InodeT(0)
        remaining = max(0.0, until - clock.now())
        limit = self._entry_limit
        reply.entry_timeout = remaining if limit is None else min(remaining, limit)
        return reply


def statvfs_reply(figures: FilesystemStatistics | None) -> StatvfsData:
    """statvfs(3). All sizes are 0 if the server cannot report them, so that df shows none."""
    reply = StatvfsData()
    reply.f_bsize = reply.f_frsize = BLOCK_SIZE
    reply.f_namemax = NAME_MAX
    if figures is not None:
        reply.f_bsize = figures.bsize
        reply.f_frsize = figures.frsize
        reply.f_blocks = figures.blocks
        reply.f_bfree = figures.bfree
        reply.f_bavail = figures.bavail
        reply.f_files = figures.files
        reply.f_ffree = figures.ffree
        reply.f_favail = figures.favail
        reply.f_namemax = figures.namemax or NAME_MAX
    return reply
