"""Answers to READDIRPLUS: names, with what each leads to, as far as a reply has room.

Whatever is in a reply is known to the kernel from then on; what did not fit is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pyfuse3
from pyfuse3 import FileNameT, ReaddirToken

from sftpfs.fuse.reads_in_flight import ReadsInFlight
from sftpfs.fuse.reply import Replies
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.pending_listing import Snapshot
from sftpfs.vfs.tree.tree import Tree

FIRST_CHILD = 2
"""readdir offsets: 0 is ``.``, 1 is ``..``, names follow."""


FIRST_AFTER_SEEK = 16
"""Names in a reply to a reader that went elsewhere (seekdir(3)), which may want one: a full reply has 200."""

GROWTH = 4
"""The next reply has so many times as many."""


class OpenDirectory:
    """One open directory of the kernel's; the snapshot keeps offsets meaning the same name, also while it
    grows."""

    __slots__ = ("inode", "most", "next", "snapshot")

    def __init__(self, inode: Inode) -> None:
        self.inode = inode
        self.snapshot: Snapshot | None = None
        self.next = 0
        """Where in the snapshot a reader goes on that reads one reply after the other."""
        self.most = 0
        """How many places of the snapshot the last reply was to look at."""

    def end(self, start: int) -> int:
        """Where in the snapshot, as far as it has come, a reply ends that begins at ``start``, if it has
        room."""
        assert self.snapshot is not None
        count = len(self.snapshot.names)
        if start == 0:
            self.most = count
        else:
            self.most = min(self.most * GROWTH, count) if start == self.next else FIRST_AFTER_SEEK
        return min(start + self.most, count)


class DirectoryReplies:
    """Fills replies; ``look_up`` asks what a name leads to that nobody knows."""

    __slots__ = ("_look_up", "_reads", "_replies", "_tree")

    def __init__(
        self,
        tree: Tree,
        replies: Replies,
        reads: ReadsInFlight,
        look_up: Callable[[Inode, bytes], Awaitable[Inode | None]],
    ) -> None:
        self._tree = tree
        self._replies = replies
        self._reads = reads
        self._look_up = look_up

    async def add(self, opened: OpenDirectory, start_id: int, token: ReaddirToken) -> None:
        """What is at offset ``start_id`` and behind it, of the snapshot taken."""
        if self.add_dots(opened.inode, start_id, token):
            await self.add_names(opened, max(start_id - FIRST_CHILD, 0), token)

    def add_dots(self, inode: Inode, start_id: int, token: ReaddirToken) -> bool:
        """``.`` and ``..``, which the kernel does not count as looked up. False if the reply is full."""
        for offset, name, target in ((0, b".", inode), (1, b"..", inode.parent or inode)):
            if start_id <= offset and not pyfuse3.readdir_reply(
                token, FileNameT(name), self._replies.entry(target), offset + 1
            ):
                return False
        return True

    async def add_names(self, opened: OpenDirectory, start: int, token: ReaddirToken) -> None:
        """What the names of the snapshot lead to now. Names that no longer exist are left out, because the
        kernel would take them for existing ones. Waits only before the first. Raises why further names did
        not come, if those that came are shown."""
        snapshot, directory = opened.snapshot, opened.inode.directory
        assert snapshot is not None and directory is not None
        names, children = snapshot.names, directory.children
        entry, reply = self._replies.encoder(), pyfuse3.readdir_reply
        added: list[Inode] = []
        end = opened.end(start)
        index = start
        while index < end or not added:  # an empty reply would be the end
            if index >= len(names):
                if not await snapshot.more_than(index):
                    break
                end, entry = opened.end(start), self._replies.encoder()
            name = names[index]
            inode = children.get(name)
            if inode is None and name in directory.unknown:
                if added:
                    break  # the next call begins with it
                inode = await self._look_up(opened.inode, name)
                entry = self._replies.encoder()
            if inode is not None:
                try:
                    encoded = entry(inode)
                except OSError:
                    if not added:
                        raise
                    break  # what was added goes out, counted; the next call meets the error first
                if not reply(token, name, encoded, index + FIRST_CHILD + 1):
                    break
                added.append(inode)
            index += 1
        opened.next = index
        self._tree.count_listed(opened.inode, added)
        for inode in added:
            if inode.handles:
                self._reads.attributes_sent(inode, 0)
