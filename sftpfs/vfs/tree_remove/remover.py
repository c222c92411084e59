"""Removes what somebody asks the mount to remove, with everything in it: what ``sftpfs rm`` calls."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterable, Sequence

import trio

from sftpfs.errors import error
from sftpfs.remote.api import Remote
from sftpfs.vfs.namespace import Namespace
from sftpfs.vfs.prefetch.background import BackgroundTasks
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree
from sftpfs.vfs.tree_remove.news import News
from sftpfs.vfs.tree_remove.removal import Order, Removal
from sftpfs.vfs.tree_remove.vanished import Gone, Notify, Vanished


class TreeRemover:
    """Carries out removals, any number at once."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        namespace: Namespace,
        resolver: Resolver,
        background: BackgroundTasks,
        attributes_changed: Callable[[Inode], None],
    ) -> None:
        """``attributes_changed`` makes the kernel ask for an inode's attributes again."""
        self._tree = tree
        self._remote = remote
        self._namespace = namespace
        self._resolver = resolver
        self._background = background
        self._attributes_changed = attributes_changed
        self.names_gone: Notify = _no_kernel_yet
        """Makes the kernel drop names that are gone, which waits for requests about them; set by ``fuse``."""

    async def remove(
        self,
        targets: Sequence[tuple[int, bytes]],
        order: Order,
        mounted: Iterable[Sequence[bytes]],
        news: News,
    ) -> None:
        """Removes ``targets``, names in directories by inode number, which the kernel must hold.

        ``mounted`` are paths from the root on which something else is mounted: each is EBUSY. What failed is
        in ``news``; raises nothing of it. If it is cancelled, what is under way then may be removed or not.
        """
        found: list[tuple[int, Inode, bytes]] = []
        for number, (directory, name) in enumerate(targets):
            inode = self._tree.find(directory)
            if inode is None or inode.directory is None:
                gone = inode is None or stat.S_ISDIR(inode.attributes.mode)
                news.failed(number, b"", error(errno.ENOENT if gone else errno.ENOTDIR))
            else:
                found.append((number, inode, name))
        vanished = Vanished(self.names_gone)
        order.kept.update(self._names(mounted))
        removal = Removal(self._tree, self._remote, self._namespace, self._resolver, order, news, vanished)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(vanished.run)
                await removal.run(found)
                nursery.cancel_scope.cancel()
            await vanished.finish()
        finally:
            if rest := vanished.take():  # it was cancelled, and the kernel must not be waited for
                self._background.spawn(self.names_gone, rest)
            for inode in removal.changed:
                if inode.lookups:
                    self._attributes_changed(inode)

    def _names(self, paths: Iterable[Sequence[bytes]]) -> set[tuple[int, bytes]]:
        """Each path's last name with its directory's inode number. The kernel holds what something is mounted
        on, and so the tree does; what it does not know has no such name any more."""
        found = set()
        for names in paths:
            inode: Inode | None = self._tree.root
            for name in names[:-1]:
                inode = inode.directory.children.get(name) if inode and inode.directory else None
            if inode is not None and names:
                found.add((inode.number, names[-1]))
        return found


async def _no_kernel_yet(_gone: list[Gone]) -> None:
    """Before the kernel is attached it holds nothing."""
