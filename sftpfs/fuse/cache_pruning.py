"""Asks the kernel to forget inodes that nobody uses, because it makes us keep memory for each.

Since Linux 6.18 the kernel takes a list of inodes and forgets those that nothing uses, without waiting for
anything. libfuse 3.14 does not know that message, so it is written here. Older kernels can only forget names
one by one, used or not, each under the lock of its directory, which a reader may hold whom we have to answer.
So this is done in a thread, and not for directories, in which somebody may work.
"""

from __future__ import annotations

import errno
import os
import struct
from array import array
from collections.abc import Sequence
from contextlib import suppress

import pyfuse3
import trio
from pyfuse3 import FileNameT, InodeT

from sftpfs.aio import in_thread
from sftpfs.fuse import device_turns
from sftpfs.vfs.tree.inode import Inode

NOTIFY_PRUNE = 9
"""FUSE_NOTIFY_PRUNE (linux/fuse.h, protocol 7.45)."""

HEAD = struct.Struct("=IiQIIQ")
"""fuse_out_header (length, code, 0) and fuse_notify_prune_out (how many, and room for more)."""

PRUNED_TOGETHER = 256
"""Inodes in one message: half a millisecond, in which nothing else is answered."""


class CachePruning:
    """See the module. One object a mount."""

    __slots__ = ("_prunes",)

    def __init__(self) -> None:
        self._prunes = True

    async def forget(self, inodes: Sequence[Inode]) -> None:
        """Makes the kernel forget what it can of ``inodes``. It reports what it forgot as usual, soon
        after."""
        for start in range(0, len(inodes), PRUNED_TOGETHER):
            some = [one for one in inodes[start : start + PRUNED_TOGETHER] if one.lookups]
            if self._prunes:
                self._prunes = _prune([one.number for one in some])
            if not self._prunes:
                entries = [
                    (parent.number, name)
                    for one in some
                    if one.directory is None and not one.handles
                    for parent, name in one.names()
                ]
                await in_thread(_take_off, entries)
            await trio.lowlevel.checkpoint()


def _prune(numbers: Sequence[int]) -> bool:
    """Asks for all of ``numbers`` at once. False if the kernel does not know how."""
    device = device_turns.device()
    if device is None:
        return True
    head = HEAD.pack(HEAD.size + 8 * len(numbers), NOTIFY_PRUNE, 0, len(numbers), 0, 0)
    try:
        os.write(device, head + array("Q", numbers).tobytes())
    except OSError as problem:
        return problem.errno not in (errno.EINVAL, errno.ENOSYS)  # else the mount ends, and all is forgotten
    return True


def _take_off(entries: Sequence[tuple[int, bytes]]) -> None:
    """Makes the kernel forget names; what it does not know is skipped. Waits for whoever reads their
    directory."""
    for directory, name in entries:
        with suppress(OSError):
            pyfuse3.invalidate_entry(InodeT(directory), FileNameT(name))
