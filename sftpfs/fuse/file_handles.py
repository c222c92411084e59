"""Files by file handle: open_by_handle_at(2), and an NFS server that exports the mount.

The kernel makes such a handle of an inode's number and the mount's generation. For an inode that it holds, it
asks nobody. For one that it has forgotten, it looks up ``.`` by the number, and ``..`` for a directory's
parent.
"""

from __future__ import annotations

import errno
import os

from sftpfs.errors import error
from sftpfs.vfs.filesystem import Filesystem
from sftpfs.vfs.tree.inode import Inode

BY_NUMBER = (b".", b"..")
"""Names that the kernel looks up only for file handles: in a path it resolves them itself."""

ROOT_GENERATION = 0
"""Linux gives the root this one, whatever the reply says."""


def new_generation() -> int:
    """The generation of the inodes of one mount, never that of the root. Numbers of another mount are other
    files. So handles of other mounts are stale here, also those that clients of an NFS server still have."""
    return int.from_bytes(os.urandom(4), "big") | 1


async def by_number(filesystem: Filesystem, number: int, name: bytes) -> Inode:
    """The inode with ``number``, or, if ``name`` is ``..``, the directory that it is in. Its name still leads
    to it, by its lease or by the server. ESTALE if it does not, and if the mount has evicted it."""
    inode = filesystem.tree.known(number)
    if inode is not None and name == b"..":
        inode = inode.parent
    if inode is None:
        raise error(errno.ESTALE)
    if inode.parent is None:
        return inode
    resolver, parent, own = filesystem.resolver, inode.parent, inode.name
    if await resolver.lookup(parent, own) is not inode or not resolver.leads_to(parent, own, inode):
        raise error(errno.ESTALE)
    return inode
