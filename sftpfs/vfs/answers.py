"""What the server says of names and attributes, taken into what is held.

Synchronous, between ``vfs.eviction`` and ``vfs.tree``, as which others know it. Owns which
answers are believed, and for how long. What a change of ours makes untrue of an answer
under way is in ``Directory.changing``, ``PendingLookup.stale`` and ``PendingListing``.
"""

from __future__ import annotations

import errno
from collections.abc import Set
from typing import NamedTuple

from sftpfs import clock
from sftpfs.errors import error
from sftpfs.types import UNKNOWN_ID, Attributes, Listing
from sftpfs.vfs.eviction import Eviction
from sftpfs.vfs.inodes import NANOSECONDS, Directory, Inode
from sftpfs.vfs.leases import permission_changed, proves_unchanged, version_changed


class Asked(NamedTuple):
    """A name as a question about it left: what the answer is held against."""

    parent: Inode
    name: bytes
    inode: Inode | None
    """What it led to, as far as known."""
    mark: tuple[int, int]
    """The change mark of ``inode``."""


class Answers(Eviction):
    """See the module."""

    def asked(self, parent: Inode, name: bytes) -> Asked:
        """For a question about ``name`` that leaves now."""
        assert parent.directory is not None
        inode = parent.directory.children.get(name)
        return Asked(parent, name, inode, inode.change_mark if inode is not None else (0, 0))

    def overtaken(self, asked: Asked) -> bool:
        """Whether a change of ours since makes the answer to ``asked`` one about what was before."""
        directory = asked.parent.directory
        assert directory is not None
        if asked.name in directory.changing:
            return True
        inode = directory.children.get(asked.name)
        return inode is not None and inode is asked.inode and inode.change_mark != asked.mark

    def stands(self, asked: Asked) -> bool:
        """Whether the name still is, here, one of the inode that it led to, and none we are changing."""
        directory = asked.parent.directory
        assert directory is not None
        return asked.name not in directory.changing and directory.children.get(asked.name) is asked.inode

    def believe(self, asked: Asked, attributes: Attributes, same: bool | None) -> Inode:
        """The server says the name has ``attributes``: the inode it leads to, one of its own where that is
        another file than known. ``same``: whether it is the inode asked about, None where that cannot
        be told: then nothing of it is believed, and a later question is to tell.

        Not where ``overtaken``.
        """
        parent, name, inode, _ = asked
        assert parent.directory is not None
        current = parent.directory.children.get(name)
        if current is not None and current is not inode:
            same = leads_to(current, attributes)  # others have told of it meanwhile
        if current is not None and same is None:
            current.expires = min(current.expires, clock.now())
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
        """``name`` in ``parent`` has ``attributes``, now. ``same``: it is the inode known by this name, or is
        not; None to go by what ``leads_to`` says, another one where it says nothing. ``since``: when the
        lease on it begins (``clock.now``), 0 for now."""
        directory = parent.directory
        assert directory is not None
        if directory.listing is not None:
            directory.listing.told.add(name)
        inode = directory.children.get(name)
        if inode is not None and not (leads_to(inode, attributes) if same is None else same):
            self.unknown(parent, name)
            inode = None
        if inode is None:
            inode = Inode(next(self._numbers), parent, name, attributes)
            self._enter(parent, name, inode)
            self._grant(inode, changed=False, since=since)
            return inode
        self.refresh(inode, attributes, since=since)
        self._name_granted(parent, name, inode, since)
        return inode

    def refresh(
        self, inode: Inode, attributes: Attributes, *, named: bool = True, since: float = 0.0
    ) -> bool:
        """The server says ``inode`` has ``attributes`` now; True where its content changed. Not ``named``:
        an open handle says so, which renews no lease of a name. ``since`` as in ``install``.

        Raises ESTALE where they are of another type of file.
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
        self._grant(inode, changed, since)
        if changed:
            inode.target_expires = 0.0
        if not named and inode.linked:
            inode.expires = min(inode.expires, ends)
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
        begun: int | None = None,
        since: float = 0.0,
    ) -> None:
        """A whole listing of ``parent``, asked for when the server's clock showed ``started`` at least;
        names in ``changed`` were changed by us meanwhile, of those in ``told`` the server has said
        since what they are. ``begun``: the count of our changes as it began, now where None. ``since``: when
        it was asked for, from which its leases count: of a large one the first names are old by its end.

        Entries without attributes are for the caller to look up first.
        """
        directory = parent.directory
        assert directory is not None
        was_complete = directory.complete_until > 0.0
        changed = changed | directory.changing.keys()
        begun = self.changes if begun is None else begun
        seen: set[bytes] = set()
        foreign = False
        for name, attributes in listing.entries:
            seen.add(name)
            if attributes is None or name in changed:
                continue
            child = directory.children.get(name)
            if name not in told:
                foreign = foreign or child is None
                self._install_listed(parent, name, attributes, begun, since)
            elif child is not None and child.attributes.nlink == UNKNOWN_ID:
                child.attributes = child.attributes._replace(nlink=attributes.nlink)
        seen |= changed | told
        for name in [name for name in directory.children if name not in seen]:
            if directory.children[name].unnamed:
                continue
            foreign = True
            self.gone(parent, name)
        if directory.unknown:
            directory.unknown &= changed | told  # of these the listing was not believed
        directory.listed = listing.attributes
        directory.listed_at = started
        directory.amended = bool(changed)
        directory.misses = 0
        directory.subdirectories = None
        lease = directory.absence_lease if was_complete else 0.0
        directory.absence_lease = self.policy.absence_lease(lease, foreign)
        self._complete(parent, directory, since or clock.now())

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
                for name, child in directory.children.items():
                    if child.aliases:
                        self._names_until.pop((each.number, name), None)
        self.negatives.discard_all({each.number for each in doubted if each.directory is not None})
        return doubted

    def _install_listed(
        self, parent: Inode, name: bytes, attributes: Attributes, begun: int, since: float
    ) -> None:
        inode = parent.directory.children.get(name)  # type: ignore[union-attr]
        if inode is None:
            self.install(parent, name, attributes, since=since)
            return
        if inode.attributes.kind == attributes.kind and inode.epoch > begun:
            return  # changed here since: this may be from before, and says nothing of who changed it
        same = leads_to(inode, attributes)
        if same is None:
            inode.expires = min(inode.expires, clock.now())  # a lookup is to tell
        elif not same:
            self.install(parent, name, attributes, same=False, since=since)
        elif inode.expires <= clock.now() or (inode.content is None and inode.epoch == 0):
            self.install(parent, name, attributes, same=True, since=since)
        else:
            self._name_granted(parent, name, inode, since)
            if inode.attributes.nlink == UNKNOWN_ID:
                inode.attributes = inode.attributes._replace(nlink=attributes.nlink)

    def _complete(self, parent: Inode, directory: Directory, since: float) -> None:
        directory.complete_until = directory.listed_until = since + self.policy.directory
        directory.absent_until = since + min(directory.absence_lease, self.policy.directory)
        if self._idle.pop(parent.number, None) is not None:
            self._idle[parent.number] = parent  # the youngest now


def leads_to(inode: Inode, attributes: Attributes, expected: Attributes | None = None) -> bool | None:
    """Whether a name known to lead to ``inode``, told to have ``attributes``, still does. None where only
    a handle that is open can tell whether the file was changed or another was put in its place.

    Of one of several names whose version others changed nobody can say it: it is told apart from the others
    rather than shown their content. ``expected``: what the file has after a change of ours, where it is it.
    """
    known = inode.attributes if expected is None else expected
    if known.kind != attributes.kind:
        return False
    if not version_changed(known, attributes):
        return True
    if inode.handles:
        return None
    return not inode.aliases or (inode.content is not None and inode.content.dirty)
