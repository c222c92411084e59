"""What the kernel holds of the tree: inodes it looked up and has not forgotten, and what it was sent of them.

Synchronous, between ``vfs.tree.inode_table`` and ``vfs.tree.eviction``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.inode_table import BYTES_OF_A_FILE, InodeTable, bytes_of

if TYPE_CHECKING:
    from sftpfs.data import FileHandle


class KernelReferences(InodeTable):
    """See the module."""

    def names_held(self) -> list[tuple[int, bytes]]:
        """The names (directory's number, name) of all that the kernel holds."""
        return [(parent.number, name) for one in self._by_number.values() for parent, name in one.names()]

    def names_removed(self) -> list[tuple[int, bytes]]:
        """The last names, by the server's word, of what has none any more: the kernel may hold them still."""
        return [
            (one.parent.number, one.name)
            for one in self._by_number.values()
            if one.removed_by_server and not one.linked and one.parent is not None
        ]

    def count_lookup(self, inode: Inode) -> None:
        """The kernel was told of ``inode`` once more, with its attributes."""
        self.hold(inode)
        inode.kernel_attributes = inode.attributes

    def hold(self, inode: Inode) -> None:
        """``inode`` is found by its number, until as many calls of ``forget`` as of this and
        ``count_lookup``."""
        if inode.lookups == 0:
            self._by_number[inode.number] = inode
            self._account(bytes_of(inode))
            for parent, _ in inode.names():
                self._uncount_unreferenced(parent)
        inode.lookups += 1

    def count_listed(self, parent: Inode, inodes: list[Inode]) -> None:
        """As ``count_lookup``, of each of ``inodes``, which names in ``parent`` lead to."""
        by_number = self._by_number
        first = 0
        for inode in inodes:
            if inode.lookups or inode.aliases or inode.directory is not None or inode.parent is not parent:
                self.count_lookup(inode)
                continue
            by_number[inode.number] = inode
            inode.lookups = 1
            inode.kernel_attributes = inode.attributes
            first += 1
        if first:
            self._account(first * BYTES_OF_A_FILE)
            self._uncount_unreferenced(parent, first)

    def attributes_sent(self, inode: Inode) -> None:
        """The kernel was told the attributes of ``inode``, which it holds."""
        inode.kernel_attributes = inode.attributes

    def absence_shown(self, parent: Inode, until: float) -> None:
        """The kernel was shown that a name in ``parent`` is missing, and believes it until ``until``
        (``clock.now``)."""
        directory = parent.directory
        if directory is not None and until > directory.absences_shown_until:
            directory.absences_shown_until = until

    def kernel_resized(self, inode: Inode, size: int) -> None:
        """The kernel takes ``inode`` to be of ``size`` bytes because of what was done to it: a read that
        ended there, or an open that emptied it."""
        if inode.kernel_attributes is not None:
            inode.kernel_attributes = inode.kernel_attributes._replace(size=size)

    def forget(self, number: int, count: int) -> None:
        """The kernel drops ``count`` references. Never raises."""
        inode = self._by_number.get(number)
        if inode is None or inode is self.root:
            return
        inode.lookups = max(0, inode.lookups - count)
        if inode.lookups == 0:
            del self._by_number[number]
            self.held_bytes -= bytes_of(inode)
            self._notifying.pop(number, None)
            for parent, _ in inode.names():
                self._count_unreferenced(parent)
            self._release_if_unused(inode)

    def directory_opened(self, inode: Inode) -> None:
        """One more handle of the kernel's reads the directory ``inode``: its names stay."""
        assert inode.directory is not None
        inode.directory.open_handles += 1

    def directory_closed(self, inode: Inode) -> None:
        """One of these handles went."""
        assert inode.directory is not None
        inode.directory.open_handles -= 1

    def file_opened(self, inode: Inode, handle: FileHandle) -> None:
        """``handle`` is open on ``inode`` from now on."""
        if inode.handles is None:
            inode.handles = []
        inode.handles.append(handle)

    def file_closed(self, inode: Inode, handle: FileHandle) -> None:
        """``handle`` was released: content that nothing else needs is freed."""
        if inode.handles is not None:
            inode.handles.remove(handle)
        self._release_if_unused(inode)
