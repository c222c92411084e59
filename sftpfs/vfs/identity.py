"""Whether what was opened is the file that is open already, or another that got its name.

SFTP has no inode numbers: size and time are all there is to tell by. Used by ``vfs.files``.
"""

from __future__ import annotations

import errno

from sftpfs.remote.api import RemoteFile
from sftpfs.types import Attributes
from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.leases import version_changed

IDENTITY_LOOKS = 3
"""So often two handles' size and time, asked for together, differ in a row where they are two files'."""


async def identified(
    inode: Inode, remote: RemoteFile, known: Attributes, attributes: Attributes, truncated: bool
) -> Attributes | None:
    """The attributes of what was opened; None where it is another file than the one open already.

    ``attributes`` came with the OPEN by name: of a version not ``known`` they may be those of a file
    renamed over it in between. Of two handles on one file they are the same, unless it is growing.
    """
    content = inode.content
    if not version_changed(known, attributes) or (content is not None and content.dirty):
        return attributes
    if truncated and not attributes.size and not inode.handles:
        return attributes
    for _ in range(IDENTITY_LOOKS):
        told = remote.start_fstat()
        other = inode.handles[0].start_fstat() if inode.handles else told
        attributes = await told.wait()
        try:
            if not version_changed(attributes, await other.wait()):
                return attributes
        except OSError as problem:
            # Lost for good: nothing is read through that one any more. ESTALE: it is another file.
            return None if problem.errno == errno.ESTALE else attributes
    return None
