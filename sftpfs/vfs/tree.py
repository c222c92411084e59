"""The cached tree: inodes by number, names under directories, what we know and for how long.

Synchronous: every method runs between two awaits, so none is ever seen half done.
Owns all changes of ``Inode`` and ``Directory``, in layers: ``vfs.inventory`` holds them, ``vfs.eviction``
lets go of them, ``vfs.answers`` amends them by what the server said, and this module by what we did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.types import UNKNOWN_ID, Attributes
from sftpfs.vfs.answers import Answers
from sftpfs.vfs.inodes import NANOSECONDS, Inode
from sftpfs.vfs.leases import permission_changed

LINKS_OF_A_DIRECTORY = 2
"""Its name and its ``.``; btrfs and overlayfs do not count and say 1."""


class Tree(Answers):
    """All that is known of the server's names and attributes."""

    @contextmanager
    def changing(self, *names: tuple[Inode, bytes]) -> Iterator[None]:
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
        """A change of ours of these (directory, name) and inodes had no answer that tells what became of it:
        whoever asks for them asks the server, the kernel too.

        What has such a name now is another inode for who finds it, as size and time may be those of what had
        it before. A directory, in which programs may work, and a file that is open or dirty and has no other
        name keep the path, which may still be the right one; nothing known of them is believed. But not a
        file that ``moved``, perhaps renamed there, would be taken for where it is opened again.
        """
        for parent, name in names:
            directory = parent.directory
            assert directory is not None
            child = directory.children.get(name)
            if child is None or not _keeps_path(child) or _passes_for(moved, child):
                self.unknown(parent, name)
            else:
                self.doubt(child)
                directory.complete_until = directory.absent_until = 0.0
        for inode in inodes:
            inode.expires = inode.ready_until = 0.0
        self.outdate([(parent.number, name) for parent, name in names], inodes)

    def own_change(
        self, inode: Inode, attributes: Attributes, *, dated: bool = False, named: bool = False
    ) -> None:
        """As ``refresh``, but the change is ours: the lease is a full one, ctime is now.

        ``dated``: the mtime is what the server's clock said of it, which may be ahead of ours. ``named``:
        ``attributes`` came by its name. Those of an open handle say nothing of who has the name: the
        lease counts from when that was asked for.
        """
        self._check_type(inode, attributes)
        if attributes.nlink == UNKNOWN_ID:
            attributes = attributes._replace(nlink=inode.attributes.nlink)
        if inode.directory is not None and permission_changed(inode.attributes, attributes):
            inode.directory.permitted_from = clock.now()
        self.touched(inode, attributes.mtime * NANOSECONDS if dated else 0)
        inode.attributes = inode.content.over(attributes) if inode.content is not None else attributes
        if named or not inode.linked:
            inode.expires = clock.now() + self.policy.attribute
        elif inode.expires > 0.0:
            inode.expires += max(0.0, self.policy.attribute - inode.lease)
        inode.lease = self.policy.attribute

    def created(self, parent: Inode, name: bytes, attributes: Attributes) -> Inode:
        """We made ``name`` in ``parent``; a directory we made is known to be empty."""
        self._name_changed(parent, name)
        directory = parent.directory
        assert directory is not None
        if name in directory.children:
            self.unknown(parent, name)
        inode = self.install(parent, name, attributes)
        self.touched(inode)
        if inode.directory is not None:
            inode.directory.absence_lease = self.policy.absence_lease(0.0, False)
            inode.directory.amended = True
            self._complete(inode, inode.directory, clock.now())
            _count_subdirectory(parent, 1)
        self.directory_changed(parent)
        return inode

    def linked(self, inode: Inode, parent: Inode, name: bytes) -> None:
        """``name`` in ``parent`` is now another name of ``inode``."""
        self._name_changed(parent, name)
        assert parent.directory is not None
        if name in parent.directory.children:
            self.unknown(parent, name)
        self._enter(parent, name, inode)
        if inode.linked and inode.parent is not None:
            inode.aliases = [*(inode.aliases or ()), (parent, name)]
            self._name_granted(inode.parent, inode.name, inode)  # by which it was linked
            self._name_granted(parent, name, inode)
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
        self.gone(parent, name, ours=True)
        self.missing(parent, name)
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
        """We renamed; what stood at the new name is gone, or is the same file: then ``both`` names stay."""
        self._name_changed(old_parent, old_name)
        self._name_changed(new_parent, new_name)
        assert old_parent.directory is not None and new_parent.directory is not None
        inode = old_parent.directory.children.get(old_name)
        replaced = new_parent.directory.children.get(new_name)
        if inode is not None and inode is replaced:
            return  # two names of one file stay
        if replaced is not None:
            self.gone(new_parent, new_name, ours=True)
            if replaced.directory is not None:
                _count_subdirectory(new_parent, -1)
        if inode is not None:
            self._leave(old_parent, old_name)
            self._enter(new_parent, new_name, inode)
            if inode.parent is old_parent and inode.name == old_name:
                inode.parent, inode.name = new_parent, new_name
            else:
                aliases = [alias for alias in inode.aliases or () if alias != (old_parent, old_name)]
                inode.aliases = [*aliases, (new_parent, new_name)]
            self._names_until.pop((old_parent.number, old_name), None)
            self._name_granted(new_parent, new_name, inode)
            if inode.directory is not None and old_parent is not new_parent:
                _count_subdirectory(old_parent, -1)
                _count_subdirectory(new_parent, 1)
            inode.moves += 1
            if inode.directory is not None:
                inode.directory.permitted_from = clock.now()
            self.touched(inode)
            inode.target = None  # a rewritten relative target depends on where the link stands
        else:
            self.unknown(new_parent, new_name)  # there is something, and nobody knows what
        if both:
            self.unknown(old_parent, old_name)
        else:
            self.missing(old_parent, old_name)
        self.directory_changed(old_parent)
        self.directory_changed(new_parent)

    def directory_changed(self, parent: Inode) -> None:
        """Names in ``parent`` changed by our doing: its times move, its lease stays."""
        now = int(self.clock.estimate())
        parent.attributes = parent.attributes._replace(mtime=max(now, parent.attributes.mtime))
        self.touched(parent)

    def _name_changed(self, parent: Inode, name: bytes) -> None:
        """Replies about ``name`` that left the server before our change must not be believed."""
        directory = parent.directory
        assert directory is not None
        directory.amended = True
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
    its, known = _told(moved), _told(child)
    if child.content is not None and child.content.dirty:
        return known.size <= its.size <= child.attributes.size and its.mtime >= known.mtime
    return (its.size, its.mtime) == (known.size, known.mtime)


def _told(inode: Inode) -> Attributes:
    """What the server told last, which is not what is shown of a file being written."""
    beneath = inode.content.beneath if inode.content is not None and inode.content.dirty else None
    return beneath or inode.attributes


def _count_subdirectory(parent: Inode, difference: int) -> None:
    """A directory has a link more for each one in it, where its file system counts them at all."""
    links = parent.attributes.nlink
    if links >= LINKS_OF_A_DIRECTORY:
        links = max(links + difference, LINKS_OF_A_DIRECTORY)
        parent.attributes = parent.attributes._replace(nlink=links)
