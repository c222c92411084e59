"""The cached tree: inodes by number, names under directories, what we know and for how long.

Synchronous: every method runs between two awaits, so nobody ever sees one half done. Owns all changes of
``Inode`` and ``Directory``, in layers: ``vfs.tree.attribute_leases`` (of one inode), ``vfs.tree.inode_table``
(all inodes by number and name), ``vfs.tree.kernel_references``, ``vfs.tree.eviction``,
``vfs.tree.server_answers`` and ``vfs.tree.listed_directories`` (what the server said), and this module (what
we did).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.types import UNKNOWN_ID, Attributes
from sftpfs.vfs.tree.inode import NANOSECONDS, Inode
from sftpfs.vfs.tree.leases import permission_changed
from sftpfs.vfs.tree.listed_directories import ListedDirectories

LINKS_OF_A_DIRECTORY = 2
"""Its name and its ``.``; btrfs and overlayfs do not count and say 1."""


class Tree(ListedDirectories):
    """All that is known of the server's names and attributes."""

    def known(self, number: int) -> Inode | None:
        """The inode with ``number``, also if the kernel has forgotten it while its name stays here. Looks
        through all names of the directories that have such inodes."""
        held = self.find(number)
        if held is not None:
            return held
        for parent in self._evictable.values():
            assert parent.directory is not None
            for child in parent.directory.children.values():
                if child.number == number:
                    return child
        return None

    @contextmanager
    def pending_change(self, *names: tuple[Inode, bytes]) -> Iterator[None]:
        """While a request of ours about these (directory, name) is under way and until the tree
        is amended: answers about them are not installed, whichever side of it they are from."""
        changed: Slot[None] = Slot()
        for parent, name in names:
            assert parent.directory is not None
            parent.directory.changing[name] = changed
            if parent.directory.listing is not None:
                parent.directory.listing.changed.add(name)
        try:
            yield
        finally:
            for parent, name in names:
                assert parent.directory is not None
                if parent.directory.changing.get(name) is changed:
                    del parent.directory.changing[name]
            changed.set(None)

    def outcome_unknown(
        self, names: list[tuple[Inode, bytes]], inodes: list[Inode], moved: Inode | None = None
    ) -> None:
        """A change of ours of these (directory, name) and inodes had no answer that shows its outcome:
        whoever asks for them asks the server, and the kernel asks, too.

        What has such a name now becomes another inode for whoever finds it, because its size and time may be
        those of what had it before. A directory, in which programs may work, and a file that is open or dirty
        and has no other name keep the path, which may still be the right one; nothing known of them is
        believed. This does not hold for a file for which ``moved``, perhaps renamed there, would be taken
        when it is opened again.
        """
        for parent, name in names:
            directory = parent.directory
            assert directory is not None
            child = directory.children.get(name)
            if child is None or not _keeps_path(child) or _passes_for(moved, child):
                self.name_unknown(parent, name)
            else:
                self.expire_below(child)
                self.listing_contradicted(parent)
        for inode in inodes:
            inode.expires = inode.prefetched_until = 0.0
        self.notify_kernel([(parent.number, name) for parent, name in names], inodes)

    def own_change(
        self, inode: Inode, attributes: Attributes, *, dated: bool = False, named: bool = False
    ) -> None:
        """As ``refresh``, but the change is ours: the lease is a full one, and ctime is now.

        ``dated``: the mtime is from the server's clock, and ctime is the same. ``named``: ``attributes`` came
        by its name. Those of an open handle do not say who has the name: the lease then counts from when that
        was last asked for.
        """
        self._check_type(inode, attributes)
        if attributes.nlink == UNKNOWN_ID:
            attributes = attributes._replace(nlink=inode.attributes.nlink)
        if inode.directory is not None and permission_changed(inode.attributes, attributes):
            inode.directory.permitted_from = clock.now()
        inode.changed_here = inode.changed_here or dated
        self.bump_ctime(inode, attributes.mtime * NANOSECONDS if dated else None)
        inode.attributes = inode.content.over(attributes) if inode.content is not None else attributes
        if named or not inode.linked:
            inode.expires = clock.now() + self.policy.attribute
        elif inode.expires > 0.0:
            inode.expires += max(0.0, self.policy.attribute - inode.lease)
        inode.lease = self.policy.attribute

    def created(
        self, parent: Inode, name: bytes, attributes: Attributes, target: bytes | None = None
    ) -> Inode:
        """We made ``name`` in ``parent``: a directory known to be empty, a link to ``target``, or a file."""
        self._name_changed(parent, name)
        directory = parent.directory
        assert directory is not None
        if name in directory.children:
            self.name_unknown(parent, name)
        inode = self.install(parent, name, attributes)
        self.bump_ctime(inode)
        inode.changed_here = True
        inode.created_target = target
        inode.ctime_ns = 0  # the mtime: both are of now, by the server's clock
        if inode.directory is not None:
            inode.directory.absence_lease = self.policy.absence_lease(0.0, False)
            inode.directory.names_changed = True
            self._complete(inode, inode.directory, clock.now())
            _count_subdirectory(parent, 1)
        self.directory_changed(parent)
        return inode

    def linked(self, inode: Inode, parent: Inode, name: bytes) -> None:
        """``name`` in ``parent`` is now another name of ``inode``."""
        self._name_changed(parent, name)
        assert parent.directory is not None
        if name in parent.directory.children:
            self.name_unknown(parent, name)
        self._add_name(parent, name, inode)
        if inode.linked and inode.parent is not None:
            inode.aliases = [*(inode.aliases or ()), (parent, name)]
            self._grant_name_lease(inode.parent, inode.name, inode)  # by which it was linked
            self._grant_name_lease(parent, name, inode)
        else:
            inode.parent, inode.name, inode.linked = parent, name, True
        self.directory_changed(parent)

    def removed(self, parent: Inode, name: bytes) -> None:
        """We removed ``name`` from ``parent``."""
        self._name_changed(parent, name)
        assert parent.directory is not None
        inode = parent.directory.children.get(name)
        if inode is not None and inode.directory is not None:
            _count_subdirectory(parent, -1)
        self.remove_name(parent, name, ours=True)
        self.install_absence(parent, name)
        self.directory_changed(parent)

    def renamed(
        self,
        old_parent: Inode,
        old_name: bytes,
        new_parent: Inode,
        new_name: bytes,
        *,
        both: bool = False,
    ) -> None:
        """We renamed. What was at the new name is gone, or is the same file: then ``both`` names stay."""
        self._name_changed(old_parent, old_name)
        self._name_changed(new_parent, new_name)
        assert old_parent.directory is not None and new_parent.directory is not None
        inode = old_parent.directory.children.get(old_name)
        replaced = new_parent.directory.children.get(new_name)
        if inode is not None and inode is replaced:
            return  # two names of one file stay
        if replaced is not None:
            self.remove_name(new_parent, new_name, ours=True)
            if replaced.directory is not None:
                _count_subdirectory(new_parent, -1)
        if inode is not None:
            self._move_name(inode, (old_parent, old_name), (new_parent, new_name))
            if inode.directory is not None and old_parent is not new_parent:
                _count_subdirectory(old_parent, -1)
                _count_subdirectory(new_parent, 1)
        else:
            self.name_unknown(new_parent, new_name)  # there is something, and nobody knows what
        if both:
            self.name_unknown(old_parent, old_name)
        else:
            self.install_absence(old_parent, old_name)
        self.directory_changed(old_parent)
        self.directory_changed(new_parent)

    def _move_name(self, inode: Inode, old: tuple[Inode, bytes], new: tuple[Inode, bytes]) -> None:
        """``new`` is a name of ``inode``, free before, instead of ``old``: names in directories."""
        self._drop_name(*old)
        self._add_name(*new, inode)
        if inode.parent is old[0] and inode.name == old[1]:
            inode.parent, inode.name = new
        else:
            inode.aliases = [*(alias for alias in inode.aliases or () if alias != old), new]
        self._names_until.pop((old[0].number, old[1]), None)
        self._grant_name_lease(*new, inode)
        inode.rename_count += 1
        if inode.directory is not None:
            inode.directory.permitted_from = clock.now()
        self.bump_ctime(inode)
        inode.target = None  # a rewritten relative target depends on where the link stands

    def directory_changed(self, parent: Inode) -> None:
        """Names in ``parent`` changed by us: its times move, its lease stays."""
        now = int(self.clock.estimate())
        parent.attributes = parent.attributes._replace(mtime=max(now, parent.attributes.mtime))
        self.bump_ctime(parent)

    def _name_changed(self, parent: Inode, name: bytes) -> None:
        """Replies about ``name`` that left the server before our change must not be believed."""
        directory = parent.directory
        assert directory is not None
        directory.names_changed = True
        self.negatives.discard(parent.number, name)
        pending = directory.pending.get(name)
        if pending is not None:
            pending.stale = True
        if directory.listing is not None:
            directory.listing.changed.add(name)


def _keeps_path(inode: Inode) -> bool:
    """Whether a name of ``inode`` that may lead elsewhere, or nowhere, is kept for what it is needed for."""
    if inode.directory is not None:
        return True
    used = inode.handles or (inode.content is not None and inode.content.dirty)
    return bool(used) and not inode.aliases


def _passes_for(moved: Inode | None, child: Inode) -> bool:
    """Whether the file ``moved`` is as ``child`` is known to be, or as our writes under way may make it."""
    if moved is None or moved is child or moved.directory is not None or child.directory is not None:
        return False
    its, known = moved.server_attributes, child.server_attributes
    if child.content is not None and child.content.dirty:
        return known.size <= its.size <= child.attributes.size and its.mtime >= known.mtime
    return (its.size, its.mtime) == (known.size, known.mtime)


def _count_subdirectory(parent: Inode, difference: int) -> None:
    """A directory has one more link for each directory in it, if its file system counts them at all."""
    links = parent.attributes.nlink
    if links >= LINKS_OF_A_DIRECTORY:
        links = max(links + difference, LINKS_OF_A_DIRECTORY)
        parent.attributes = parent.attributes._replace(nlink=links)
