"""Notifying the kernel that what it holds is outdated: names, attributes, pages.

Attributes alone are invalidated in the loop's thread, which waits for nothing. Names and pages wait for
requests about them that we are to answer: ``invalidate_all`` runs in a thread of its own.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress

import pyfuse3
from pyfuse3 import FileNameT, InodeT

from sftpfs.fuse.reads_in_flight import ReadsInFlight, became_shorter
from sftpfs.vfs.tree.inode import Inode


class Invalidation:
    """Invalidates attributes. Reads under way then report no end of the file to the kernel."""

    __slots__ = ("_reads",)

    def __init__(self, reads: ReadsInFlight) -> None:
        self._reads = reads

    def attributes_changed(self, inode: Inode) -> None:
        """A read found ``inode`` another than the kernel was told: makes the kernel ask for the attributes
        again.

        A file that became longer must not end, for a reader that reads on, where it did before. Not if the
        file is shorter: the read's own answer reports that, and must not be overtaken
        (``fuse.reads_in_flight``).
        """
        if not became_shorter(inode):
            self.attributes(inode)

    def attributes(self, inode: Inode) -> None:
        """Makes the kernel ask again. Only attributes, because pages may be locked by a read that we
        serve."""
        self._reads.overtake(inode.number)
        try:
            pyfuse3.invalidate_inode(InodeT(inode.number), attr_only=True)
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ENOSYS):
                raise

    def expected(self, numbers: Sequence[int]) -> None:
        """``invalidate_all`` is about to be called for these inodes."""
        for number in numbers:
            self._reads.overtake(number)


def invalidate_all(entries: Sequence[tuple[int, bytes]], inodes: Sequence[int]) -> None:
    """Makes the kernel forget names, and attributes and pages of inodes; what it does not know is skipped.

    Blocks while a request about one of them is under way, so it must never be called in the loop's thread.
    """
    for directory, name in entries:
        with suppress(FileNotFoundError, NotADirectoryError):
            pyfuse3.invalidate_entry(InodeT(directory), FileNameT(name))
    for inode in inodes:
        with suppress(FileNotFoundError):
            pyfuse3.invalidate_inode(InodeT(inode))


def drop_removed(gone: Sequence[tuple[int, bytes, int]]) -> None:
    """As ``invalidate_all``, of names (directory, name, file or 0) that are gone, as an unlink of the
    kernel's own leaves them: whoever watches is notified, and a file whose last name went shows that it has
    none.

    What the kernel has under such a name instead of the file, or still uses, only has its name looked up
    anew."""
    for directory, name, file in gone:
        with suppress(OSError):
            pyfuse3.invalidate_entry(InodeT(directory), FileNameT(name), InodeT(file))
