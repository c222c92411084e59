"""What the server says of names and attributes, taken into what is held.

Synchronous, between ``vfs.eviction`` and ``vfs.tree``, as which others know it. Owns which
answers are believed, and for how long. What a change of ours makes untrue of an answer
under way is in ``Directory.changing``, ``PendingLookup.stale`` and ``PendingListing``.
"""

from __future__ import annotations

import errno
from collections.abc import Set

from sftpfs import clock
from sftpfs.errors import error
from sftpfs.types import UNKNOWN_ID, Attributes, Listing
from sftpfs.vfs.eviction import Eviction
from sftpfs.vfs.inodes import NANOSECONDS, Directory, Inode
from sftpfs.vfs.leases import permission_changed, proves_unchanged, version_changed


class Answers(Eviction):
    """See the module."""

    def install(self, parent: Inode, name: bytes, attributes: Attributes) -> Inode:
        """The server says ``name`` in ``parent`` has ``attributes``, now."""
        directory = parent.directory
        assert directory is not None
        if directory.listing is not None:
            directory.listing.told.add(name)
        inode = directory.children.get(name)
        if inode is not None and _is_another(inode, attributes):
            self.unknown(parent, name)
            inode = None
        if inode is None:
            inode = Inode(next(self._numbers), parent, name, attributes)
            self._enter(parent, name, inode)
            self._grant(inode, changed=False)
            return inode
        self.refresh(inode, attributes)
        return inode

    def refresh(self, inode: Inode, attributes: Attributes) -> bool:
        """The server says ``inode`` has ``attributes`` now; True where its content changed.

        Raises ESTALE where they are of another type of file.
        """
        self._check_type(inode, attributes)
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
        self._grant(inode, changed)
        return changed

    def _changed_there(self, inode: Inode, attributes: Attributes) -> None:
        """Somebody changed ``inode``: ctime follows an mtime that went on, else it is when we saw it."""
        shown = inode.shown_ctime_ns
        mtime_ns = attributes.mtime * NANOSECONDS
        if attributes.mtime <= inode.attributes.mtime:
            inode.ctime_ns = max(clock.wall_ns(), shown + 1)
        elif inode.ctime_ns or mtime_ns <= shown:
            inode.ctime_ns = max(mtime_ns, shown + 1)

    @staticmethod
    def _check_type(inode: Inode, attributes: Attributes) -> None:
        """An inode never changes its type: the kernel gives up one that does for good, the root too."""
        if attributes.kind != inode.attributes.kind:
            inode.expires = 0.0
            raise error(errno.ESTALE, "the name leads to another type of file now")

    def missing(self, parent: Inode, name: bytes) -> None:
        """The server says there is no ``name`` in ``parent``."""
        directory = parent.directory
        assert directory is not None
        if directory.listing is not None:
            directory.listing.told.add(name)
        self.gone(parent, name)
        lease = directory.absence_lease or self.policy.absence_lease(0.0, False)
        self.negatives.add(parent.number, name, clock.now() + lease)

    def install_listing(
        self,
        parent: Inode,
        listing: Listing,
        started: float,
        changed: Set[bytes],
        told: Set[bytes] = frozenset(),
    ) -> None:
        """A whole listing of ``parent``, asked for when the server's clock showed ``started`` at least;
        names in ``changed`` were changed by us meanwhile, of those in ``told`` the server has said
        since what they are.

        Entries without attributes are for the caller to look up first.
        """
        directory = parent.directory
        assert directory is not None
        was_complete = directory.complete_until > 0.0
        changed = changed | directory.changing.keys()
        seen: set[bytes] = set()
        foreign = False
        for name, attributes in listing.entries:
            seen.add(name)
            if attributes is None or name in changed:
                continue
            child = directory.children.get(name)
            if name not in told:
                foreign = foreign or child is None
                self._install_listed(parent, name, attributes)
            elif child is not None and child.attributes.nlink == UNKNOWN_ID:
                child.attributes = child.attributes._replace(nlink=attributes.nlink)
        seen |= changed | told
        for name in [name for name in directory.children if name not in seen]:
            foreign = True
            self.gone(parent, name)
        if directory.unknown:
            directory.unknown &= changed | told  # of these the listing was not believed
        directory.listed = listing.attributes
        directory.listed_at = started
        directory.amended = bool(changed)
        directory.misses = 0
        lease = directory.absence_lease if was_complete else 0.0
        directory.absence_lease = self.policy.absence_lease(lease, foreign)
        self._complete(parent, directory)

    def renew_absence(self, parent: Inode, attributes: Attributes) -> bool:
        """The server says the listed directory ``parent`` has ``attributes`` now; True where they
        prove its listing still true, which is then believed anew."""
        directory = parent.directory
        assert directory is not None
        now = clock.now()
        if directory.amended or directory.listed is None or directory.complete_until <= now:
            return False
        if not proves_unchanged(directory.listed, directory.listed_at, attributes):
            return False
        directory.absence_lease = self.policy.absence_lease(directory.absence_lease, False)
        directory.complete_until = now + self.policy.directory
        directory.absent_until = now + min(directory.absence_lease, self.policy.directory)
        return True

    def doubt(self, inode: Inode) -> list[Inode]:
        """Believe nothing any more of ``inode`` and what is known below it: every lease ends, clean
        content is dropped. Returns all these inodes, directories before what is in them."""
        doubted = [inode]
        for each in doubted:  # grows as it goes
            each.expires = each.target_expires = each.ready_until = 0.0
            if each.content is not None and not each.content.dirty:
                each.content.invalidate()
            directory = each.directory
            if directory is not None:
                directory.complete_until = directory.absent_until = 0.0
                doubted += directory.children.values()
        self.negatives.discard_all({each.number for each in doubted if each.directory is not None})
        return doubted

    def _install_listed(self, parent: Inode, name: bytes, attributes: Attributes) -> None:
        inode = parent.directory.children.get(name)  # type: ignore[union-attr]
        if inode is None or _is_another(inode, attributes):
            self.install(parent, name, attributes)
        elif may_be_another(inode, attributes):
            inode.expires = min(inode.expires, clock.now())  # a lookup is to tell
        elif inode.expires <= clock.now() or (inode.content is None and inode.epoch == 0):
            self.refresh(inode, attributes)
        elif inode.attributes.nlink == UNKNOWN_ID:
            inode.attributes = inode.attributes._replace(nlink=attributes.nlink)

    def _complete(self, parent: Inode, directory: Directory) -> None:
        now = clock.now()
        directory.complete_until = directory.listed_until = now + self.policy.directory
        directory.absent_until = now + min(directory.absence_lease, self.policy.directory)
        self._kept.pop(parent.number, None)
        if parent.linked or directory.unused:
            self._kept[parent.number] = parent


def may_be_another(inode: Inode, attributes: Attributes) -> bool:
    """True where ``attributes``, told of a name, are another version than that of the open file
    it led to: somebody changed the file, or put another in its place."""
    if not inode.handles or (inode.content is not None and inode.content.dirty):
        return False
    return version_changed(inode.attributes, attributes)


def _is_another(inode: Inode, attributes: Attributes) -> bool:
    """Whether a name of ``inode`` must be taken to lead to another file now.

    One of several names whose version changed may have been replaced by another client, and each is read
    by whichever name the inode has: it is told apart from the others rather than shown their content.
    """
    if inode.attributes.kind != attributes.kind:
        return True
    if not inode.aliases or (inode.content is not None and inode.content.dirty):
        return False
    return version_changed(inode.attributes, attributes)
