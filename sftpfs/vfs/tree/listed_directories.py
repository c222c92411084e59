"""Directories listed: which names are believed to be all there are, how long, and who has made use of it.

Synchronous, between ``vfs.tree.server_answers`` and ``vfs.tree.tree``, as which others know it.
"""

from __future__ import annotations

from collections.abc import Set

from sftpfs import clock
from sftpfs.types import UNKNOWN_ID, Attributes, DirectoryEntry, Listing
from sftpfs.vfs.tree.inode import Directory, Inode
from sftpfs.vfs.tree.leases import proves_unchanged
from sftpfs.vfs.tree.pending_listing import PendingListing
from sftpfs.vfs.tree.server_answers import ServerAnswers, leads_to


class ListedDirectories(ServerAnswers):
    """See the module."""

    def begin_listing(self, parent: Inode, *, speculative: bool) -> PendingListing:
        """``parent`` is about to be listed: until ``end_listing`` our changes of its names are recorded.
        ``speculative``: no program has asked for it so far."""
        directory = parent.directory
        assert directory is not None
        pending = directory.listing = PendingListing(self.changes, clock.now(), speculative=speculative)
        pending.changed.update(directory.changing)
        return pending

    def end_listing(self, parent: Inode) -> None:
        """The listing under way is here, or has failed."""
        directory = parent.directory
        assert directory is not None and directory.listing is not None
        in_parts = directory.listing.snapshot is not None
        directory.listing = None
        if in_parts and not directory.open_handles:
            self.names_idle()

    def lease_runs(self, pending: PendingListing) -> bool:
        """Whether what ``pending`` has brought may be shown to who asks now."""
        return pending.asked + self.policy.directory > clock.now()

    def install_listing(
        self,
        parent: Inode,
        listing: Listing,
        started: float,
        changed: Set[bytes],
        answered: Set[bytes] = frozenset(),
        begun: int | None = None,
        since: float = 0.0,
        *,
        speculative: bool = False,
    ) -> None:
        """A whole listing of ``parent``, asked for when the server's clock showed at least ``started``. We
        changed the names in ``changed`` meanwhile; of those in ``answered`` the server has said since what
        they are. ``begun``: the count of our changes when it began; None: now. ``since``: when it was asked
        for, from which its leases count, because the first names of a large listing are old by its end.
        ``speculative``: it was made before a program, which may know of names made since, asked for anything
        in it.

        The caller must first look up entries without attributes.
        """
        directory = parent.directory
        assert directory is not None
        judged = (changed | directory.changing.keys(), answered)
        begun = self.changes if begun is None else begun
        was_complete = directory.complete_until > 0.0
        new = self._install_entries(parent, listing.entries, *judged, begun, since)
        foreign = new > 0
        if len(directory.children) > new:
            seen = {entry[0] for entry in listing.entries}
            foreign = self._remove_unlisted(parent, seen, *judged) or foreign
        if directory.unknown:
            directory.unknown &= judged[0] | answered  # of these the listing was not believed
        self._listed(parent, listing.attributes, started, bool(judged[0]), foreign, was_complete)
        self._complete(parent, directory, since or clock.now(), speculative=speculative)

    def install_part(self, parent: Inode, entries: list[DirectoryEntry], since: float) -> list[bytes]:
        """Some entries of the listing of ``parent`` that is under way, asked for at ``since``; those without
        attributes were looked up. Returns those of the names that are there, as far as is known, or of which
        nobody knows it."""
        directory = parent.directory
        assert directory is not None and directory.listing is not None
        pending, directory.listing = directory.listing, None  # it is no answer for a single name
        changed, answered = pending.changed, pending.answered
        try:
            new = self._install_entries(parent, entries, changed, answered, pending.begun, since)
        finally:
            directory.listing = pending
        pending.foreign = pending.foreign or new > 0
        children, unknown = directory.children, directory.unknown
        if unknown:
            unknown = directory.unknown = unknown - children.keys()
        if new == len(entries):
            return [entry[0] for entry in entries]
        return [entry[0] for entry in entries if entry[0] in children or entry[0] in unknown]

    def install_rest(
        self,
        parent: Inode,
        attributes: Attributes,
        started: float,
        pending: PendingListing,
        seen: Set[bytes],
        doubted: Set[bytes],
    ) -> None:
        """All of ``parent`` was installed in parts, and ``pending`` has ended: the names ``seen`` are there,
        and others are not. ``attributes`` and ``started`` as in ``install_listing``; ``doubted`` are the
        names that were unknown when it began."""
        directory = parent.directory
        assert directory is not None and directory.listing is None
        was_complete = directory.complete_until > 0.0
        foreign = self._remove_unlisted(parent, seen, pending.changed, pending.answered) or pending.foreign
        if directory.unknown:
            directory.unknown -= doubted - pending.changed - pending.answered
        self._listed(parent, attributes, started, bool(pending.changed), foreign, was_complete)
        self._complete(parent, directory, pending.asked, speculative=pending.speculative)

    def _install_entries(
        self,
        parent: Inode,
        entries: list[DirectoryEntry],
        changed: Set[bytes],
        answered: Set[bytes],
        begun: int,
        since: float,
    ) -> int:
        """As ``install_listing``, of some names. Returns how many of them were not known."""
        directory = parent.directory
        assert directory is not None
        new: list[DirectoryEntry] = []
        children = directory.children
        for entry in entries:
            name, attributes = entry
            if attributes is None or name in changed:
                continue
            child = children.get(name)
            if name in answered:
                if child is not None and child.attributes.nlink == UNKNOWN_ID:
                    child.attributes = child.attributes._replace(nlink=attributes.nlink)
            elif child is None:
                new.append(entry)
            else:
                self._install_listed(parent, child, name, attributes, begun, since)
        if new:
            self._install_new(parent, new, since)
        return len(new)

    def _remove_unlisted(
        self, parent: Inode, seen: Set[bytes], changed: Set[bytes], answered: Set[bytes]
    ) -> bool:
        """Names that are not among ``seen`` are not there, unless ``changed`` here or ``answered``. True if
        one of them was."""
        assert parent.directory is not None
        children = parent.directory.children
        gone = [
            name
            for name in children
            if name not in seen
            and name not in changed
            and name not in answered
            and not children[name].unnamed
        ]
        for name in gone:
            self.remove_name(parent, name)
        return bool(gone)

    def _listed(
        self,
        parent: Inode,
        attributes: Attributes,
        started: float,
        names_changed: bool,
        foreign: bool,
        was_complete: bool,
    ) -> None:
        directory = parent.directory
        assert directory is not None
        directory.listed = attributes
        directory.listed_at = started
        directory.names_changed = names_changed
        directory.lookup_misses = 0
        directory.subdirectories = None
        lease = directory.absence_lease if was_complete else 0.0
        directory.absence_lease = self.policy.absence_lease(lease, foreign)

    def listing_used(self, parent: Inode) -> None:
        """A program is shown the listing of ``parent``, which must be complete: what it does not name is
        missing, as of when it was asked for."""
        directory = parent.directory
        assert directory is not None
        if directory.speculative:
            directory.speculative = False
            until = directory.listed_until - self.policy.directory + directory.absence_lease
            directory.absent_until = min(until, directory.complete_until)

    def renew_absence(self, parent: Inode, attributes: Attributes) -> bool:
        """The server says that the listed directory ``parent`` has ``attributes`` now. True if they prove its
        listing still true, which is then believed anew."""
        directory = parent.directory
        assert directory is not None
        now = clock.now()
        if directory.names_changed or directory.listed is None or directory.complete_until <= now:
            return False
        if not proves_unchanged(directory.listed, directory.listed_at, attributes):
            return False
        if not directory.speculative:
            directory.absence_lease = self.policy.absence_lease(directory.absence_lease, False)
        directory.speculative = False
        directory.complete_until = now + self.policy.directory
        directory.absent_until = now + min(directory.absence_lease, self.policy.directory)
        return True

    def listing_prefetched(self, parent: Inode) -> None:
        """``parent`` is being listed ahead: nobody has used that yet."""
        assert parent.directory is not None
        parent.directory.prefetched = True

    def prefetch_used(self, parent: Inode) -> None:
        """A program makes use of the listing of ``parent`` that was made ahead."""
        assert parent.directory is not None
        parent.directory.prefetched = False

    def renew_absence_ahead(self, parent: Inode, attributes: Attributes) -> bool:
        """As ``renew_absence``, before anybody needs it."""
        assert parent.directory is not None
        parent.directory.renewed_ahead = self.renew_absence(parent, attributes)
        return parent.directory.renewed_ahead

    def renewal_used(self, parent: Inode) -> None:
        """A program makes use of the listing of ``parent`` that was found unchanged ahead."""
        assert parent.directory is not None
        parent.directory.renewed_ahead = False

    def lookup_missed(self, parent: Inode) -> int:
        """A name in ``parent`` has to be asked for. Returns how many were since it was listed."""
        assert parent.directory is not None
        parent.directory.lookup_misses += 1
        return parent.directory.lookup_misses

    def name_given(self, inode: Inode) -> None:
        """The server gave ``inode`` its name when it was closed; before that its directory listed another
        file."""
        if inode.parent is not None and inode.parent.directory is not None:
            inode.parent.directory.complete_until = 0.0

    def _install_new(self, parent: Inode, entries: list[DirectoryEntry], since: float) -> None:
        """As ``install`` for each of ``entries``, names of which nothing is known."""
        directory = parent.directory
        assert directory is not None and directory.listing is None
        children, numbers = directory.children, self._numbers
        lease = self.policy.next_lease(0.0, False)
        expires = self._lease_end(lease, since)
        for name, attributes in entries:
            assert attributes is not None
            inode = children[name] = Inode(next(numbers), parent, name, attributes, lease, expires)
            if inode.directory is not None:
                directory.subdirectory_changes += 1
        directory.name_changes += len(entries)
        self._count_unreferenced(parent, len(entries))

    def _install_listed(
        self, parent: Inode, inode: Inode, name: bytes, attributes: Attributes, begun: int, since: float
    ) -> None:
        if inode.attributes.kind == attributes.kind and inode.epoch > begun:
            return  # changed here since: this may be from before, and does not say who changed it
        same = leads_to(inode, attributes)
        if same is None:
            self.expire(inode)  # a lookup is to tell
        elif not same:
            self.install(parent, name, attributes, same=False, since=since)
        elif inode.expires <= clock.now() or (inode.content is None and inode.epoch == 0):
            self.install(parent, name, attributes, same=True, since=since)
        else:
            self._grant_name_lease(parent, name, inode, since)
            if inode.attributes.nlink == UNKNOWN_ID:
                inode.attributes = inode.attributes._replace(nlink=attributes.nlink)

    def _complete(
        self, parent: Inode, directory: Directory, since: float, *, speculative: bool = False
    ) -> None:
        directory.complete_until = directory.listed_until = since + self.policy.directory
        directory.speculative = speculative
        lease = 0.0 if speculative else min(directory.absence_lease, self.policy.directory)
        directory.absent_until = since + lease
        if self._evictable.pop(parent.number, None) is not None:
            self._evictable[parent.number] = parent  # the youngest now
