"""Encoding: what vfs shows of an inode as pyfuse3's structures."""

from __future__ import annotations

from pyfuse3 import EntryAttributes, InodeT, StatvfsData

from sftpfs import clock
from sftpfs.config import CacheConfig
from sftpfs.types import NAME_MAX, FilesystemStatistics
from sftpfs.vfs.filesystem import Filesystem
from sftpfs.vfs.inodes import Inode

BLOCK_SIZE = 512
"""The unit of st_blocks, whatever the file system (stat(2))."""

PREFERRED_SIZE = 1 << 20
"""st_blksize, bytes: cp and friends then write 1 MiB at a time, which travels as one request."""


class Replies:
    """Builds replies; kernel timeouts follow the leases, within what the user set."""

    __slots__ = ("_attribute_limit", "_cases", "_entry_limit", "_filesystem")

    def __init__(self, filesystem: Filesystem, config: CacheConfig) -> None:
        self._filesystem = filesystem
        self._cases = filesystem.cases
        self._entry_limit = config.entry_timeout
        self._attribute_limit = config.attribute_timeout

    def entry(self, inode: Inode) -> EntryAttributes:
        """The attributes of ``inode``, valid in the kernel as long as its lease."""
        mode, nlink, uid, gid, size, atime_ns, mtime_ns, ctime_ns = self._filesystem.appearance(inode)
        reply = EntryAttributes()
        reply.st_ino = inode.number
        remaining = inode.expires - clock.now()
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
        reply.st_mode = mode
        reply.st_nlink = nlink
        reply.st_uid = uid
        reply.st_gid = gid
        reply.st_size = size
        reply.st_blksize = PREFERRED_SIZE
        reply.st_blocks = (size + BLOCK_SIZE - 1) // BLOCK_SIZE
        reply.st_atime_ns = atime_ns
        reply.st_mtime_ns = mtime_ns
        reply.st_ctime_ns = ctime_ns
        return reply

    def missing(self, until: float) -> EntryAttributes:
        """A negative entry the kernel keeps until ``until`` (``clock.now``)."""
        reply = EntryAttributes()
        reply.st_ino = InodeT(0)
        remaining = max(0.0, until - clock.now())
        limit = self._entry_limit
        reply.entry_timeout = remaining if limit is None else min(remaining, limit)
        return reply


def statvfs_reply(figures: FilesystemStatistics | None) -> StatvfsData:
    """statvfs(3); all sizes 0 where the server cannot tell, so that df shows none."""
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
