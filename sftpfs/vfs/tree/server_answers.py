"""What the server says of names and attributes, entered into what is held.

Synchronous, between ``vfs.tree.eviction`` and ``vfs.tree.listed_directories``. Owns which answers are
believed, and for how long. ``Directory.changing``, ``PendingLookup.stale`` and ``PendingListing`` hold what a
change of ours makes untrue of an answer under way.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from sftpfs import clock
from sftpfs.errors import error
from sftpfs.types import UNKNOWN_ID, Attributes
from sftpfs.vfs.tree.eviction import Eviction
from sftpfs.vfs.tree.inode import NANOSECONDS, Inode
from sftpfs.vfs.tree.leases import permission_changed, version_changed


class Asked(NamedTuple):
    """A name as it was when a question about it left: the answer is compared with it."""

    parent: Inode
    name: bytes
    inode: Inode | None
    """What it led to, as far as known."""
    mark: tuple[int, int]
    """The change mark of ``inode``."""


class ServerAnswers(Eviction):
    """See the module."""

    def asked(self, parent: Inode, name: bytes) -> Asked:
        """For a question about ``name`` that leaves now."""
        assert parent.directory is not None
        inode = parent.directory.children.get(name)
        return Asked(parent, name, inode, inode.change_mark if inode is not None else (0, 0))

    def is_stale(self, asked: Asked) -> bool:
        """Whether a change of ours since makes the answer to ``asked`` one about what was before."""
        directory = asked.parent.directory
        assert directory is not None
        if asked.name in directory.changing:
            return True
        inode = directory.children.get(asked.name)
        return inode is not None and inode is asked.inode and inode.change_mark != asked.mark

    def still_leads(self, asked: Asked) -> bool:
        """Whether the name still is, here, one of the inode that it led to, and none we are changing."""
        directory = asked.parent.directory
        assert directory is not None
        return asked.name not in directory.changing and directory.children.get(asked.name) is asked.inode

    def install_answer(self, asked: Asked, attributes: Attributes, same: bool | None) -> Inode:
        """The server says that the name has ``attributes``. Returns the inode it leads to: a new one if that
        is another file than the known one. ``same``: whether it is the inode asked about; None if that cannot
        be told: then nothing of it is believed, and a later question must show it.

        Not if it ``is_stale``.
        """
        parent, name, inode, _ = asked
        assert parent.directory is not None
        current = parent.directory.children.get(name)
        if current is not None and current is not inode:
            same = leads_to(current, attributes)  # another answer has reported it meanwhile
        if current is not None and same is None:
            self.expire(current)
            return current
        return self.install(parent, name, attributes, same=bool(same))

    def install(
        self,
        parent: Inode,
        name: bytes,
        attributes: Attributes,
        *,
        same: bool | None = None,
        since: float = 0.0,
    ) -> Inode:
        """``name`` in ``parent`` has ``attributes``, now. ``same``: whether it is the inode known by this
        name; None: as ``leads_to`` says, or another one if that cannot tell. ``since``: when its lease begins
        (``clock.now``), 0 for now."""
        directory = parent.directory
        assert directory is not None
        if directory.listing is not None:
            directory.listing.answered.add(name)
        inode = directory.children.get(name)
        if inode is not None and not (leads_to(inode, attributes) if same is None else same):
            self.name_unknown(parent, name)
            inode = None
        if inode is None:
            inode = Inode(next(self._numbers), parent, name, attributes)
            self._add_name(parent, name, inode)
            self._grant_lease(inode, changed=False, since=since)
            return inode
        self.refresh(inode, attributes, since=since)
        self._grant_name_lease(parent, name, inode, since)
        return inode

    def refresh(
        self, inode: Inode, attributes: Attributes, *, named: bool = True, since: float = 0.0
    ) -> bool:
        """The server says that ``inode`` has ``attributes`` now. True if its content changed. If not
        ``named``, an open handle says so, which renews no lease of a name. ``since`` as in ``install``.

        Raises ESTALE if they are of another type of file.
        """
        self._check_type(inode, attributes)
        ends = inode.expires
        changed = version_changed(inode.attributes, attributes)
        if attributes.nlink == UNKNOWN_ID and not changed:
            attributes = attributes._replace(nlink=inode.attributes.nlink)
        content = inode.content
        if content is not None:
            if content.dirty:
                changed = False
                attributes = content.over(attributes)
            else:
                content.revalidated(attributes)
        if changed or permission_changed(inode.attributes, attributes):
            self._changed_there(inode, attributes)
        inode.attributes = attributes
        self._grant_lease(inode, changed, since)
        if changed:
            inode.target_expires = 0.0
        if not named and inode.linked:
            inode.expires = min(inode.expires, ends)
        return changed

    def _changed_there(self, inode: Inode, attributes: Attributes) -> None:
        """Somebody changed ``inode``: ctime follows an mtime that went on, otherwise it is when we saw the
        change."""
        shown = inode.shown_ctime_ns
        mtime_ns = attributes.mtime * NANOSECONDS
        if attributes.mtime <= inode.attributes.mtime:
            inode.ctime_ns = max(int(clock.wall()) * NANOSECONDS, shown + 1)
        elif inode.ctime_ns or mtime_ns <= shown:
            inode.ctime_ns = max(mtime_ns, shown + 1)

    @staticmethod
    def _check_type(inode: Inode, attributes: Attributes) -> None:
        """An inode never changes its type: the kernel gives up for good one that does, even the root."""
        if attributes.kind != inode.attributes.kind:
            inode.expires = 0.0
            raise error(errno.ESTALE, "the name leads to another type of file now")

    def install_absence(self, parent: Inode, name: bytes) -> None:
        """The server says there is no ``name`` in ``parent``."""
        directory = parent.directory
        assert directory is not None
        if directory.listing is not None:
            directory.listing.answered.add(name)
        self.remove_name(parent, name)
        lease = directory.absence_lease or self.policy.absence_lease(0.0, False)
        self.negatives.add(parent.number, name, clock.now() + lease)

    def distrust(self, parent: Inode, name: bytes) -> None:
        """The server contradicted what is known of ``name``: it and the listing are asked for again."""
        assert parent.directory is not None
        child = parent.directory.children.get(name)
        if child is not None:
            self.end_lease(child)
            self.listing_contradicted(parent)
        else:
            self.name_unknown(parent, name)

    def listing_contradicted(self, parent: Inode) -> None:
        """The listing of ``parent`` is no longer believed, nor that names it does not have are missing."""
        assert parent.directory is not None
        parent.directory.complete_until = parent.directory.absent_until = 0.0

    def absence_contradicted(self, parent: Inode, name: bytes) -> None:
        """There may be a ``name`` in ``parent``, and others than those listed."""
        assert parent.directory is not None
        parent.directory.absent_until = 0.0
        self.negatives.discard(parent.number, name)

    def expire_below(self, inode: Inode) -> list[Inode]:
        """Ends every lease on ``inode`` and on what is known below it, and drops clean content. Returns all
        these inodes, directories before what is in them."""
        doubted = [inode]
        for each in doubted:  # grows as it goes
            each.expires = each.target_expires = each.prefetched_until = 0.0
            if each.content is not None and not each.content.dirty:
                each.content.invalidate()
            directory = each.directory
            if directory is not None:
                directory.complete_until = directory.absent_until = 0.0
                doubted += directory.children.values()
                for name, child in directory.children.items():
                    if child.aliases:
                        self._names_until.pop((each.number, name), None)
        self.negatives.discard_all({each.number for each in doubted if each.directory is not None})
        return doubted


def leads_to(inode: Inode, attributes: Attributes, expected: Attributes | None = None) -> bool | None:
    """Whether a name known to lead to ``inode`` still does, if it is reported to have ``attributes``. None if
    only an open handle can tell whether the file was changed or another was put in its place.

    For one of several names whose version others changed nobody can say it: it becomes another inode, so that
    it does not show the others' content. ``expected``: the file's attributes after a change of ours, if it is
    the same file.
    """
    known = inode.attributes if expected is None else expected
    if known.kind != attributes.kind:
        return False
    if not version_changed(known, attributes):
        return True
    if inode.handles:
        return None
    return not inode.aliases or (inode.content is not None and inode.content.dirty)
