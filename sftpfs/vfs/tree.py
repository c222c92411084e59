"""The cached tree: inodes by number, names under directories, what we know and for how long.

Synchronous: every method runs between two awaits, so none is ever seen half done.
Owns all changes of ``Inode`` and ``Directory``; waits for nothing and sends nothing.

INVARIANT: ``_by_number`` holds every inode the kernel knows (lookups > 0), and the root.
"""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

from cachetools import LRUCache

from sftpfs.aio import Slot
from sftpfs.config import CacheConfig
from sftpfs.errors import error
from sftpfs.types import UNKNOWN_ID, Attributes, Listing
from sftpfs.vfs.inodes import NANOSECONDS, Directory, Inode, path_of
from sftpfs.vfs.leases import (
    LISTED_ENTRIES_MINIMUM,
    LeasePolicy,
    NegativeLeases,
    ServerClock,
    permission_changed,
    proves_unchanged,
    version_changed,
)

ROOT_NUMBER = 1
"""FUSE_ROOT_ID."""

LINKS_OF_A_DIRECTORY = 2
"""Its name and its ``.``; btrfs and overlayfs do not count and say 1."""


class _Listings(LRUCache[int, Inode]):
    """Directories whose complete listing is kept, by inode number; weighs one per child."""

    def __init__(self, limit: int, evicted: Callable[[Inode], None]) -> None:
        super().__init__(max(limit, LISTED_ENTRIES_MINIMUM), getsizeof=_listing_size)
        self._evicted = evicted

    def popitem(self) -> tuple[int, Inode]:
        number, inode = super().popitem()
        self._evicted(inode)
        return number, inode


def _listing_size(inode: Inode) -> int:
    directory = inode.directory
    return 1 + len(directory.children) if directory is not None else 1


class Tree:
    """All that is known of the server's names and attributes."""

    def __init__(self, root: bytes, attributes: Attributes, config: CacheConfig) -> None:
        self.root_path = root
        self.policy = LeasePolicy(config)
        self.clock = ServerClock()
        self.negatives = NegativeLeases(config.max_entries)
        self.rename_epoch = 0
        """Counts directory renames: a path computed before one may name nothing after it."""
        self._listings = _Listings(config.max_entries, self._listing_evicted)
        self._numbers = itertools.count(ROOT_NUMBER)
        self.root = Inode(next(self._numbers), None, b"", attributes)
        self.root.lookups = 1
        self._by_number: dict[int, Inode] = {ROOT_NUMBER: self.root}
        self._grant(self.root, changed=False)

    # -- reading ---------------------------------------------------------------

    def find(self, number: int) -> Inode | None:
        """The inode with ``number``, or None once the kernel has forgotten it."""
        return self._by_number.get(number)

    def get(self, number: int) -> Inode:
        """The inode the kernel means. KeyError never happens for a number it was given."""
        return self._by_number[number]

    def path(self, inode: Inode) -> bytes | None:
        """Absolute path on the server, None once it has no name."""
        return path_of(inode, self.root_path)

    def existing_path(self, inode: Inode) -> bytes:
        """The path of ``inode``; ESTALE once it has none."""
        path = path_of(inode, self.root_path)
        if path is None:
            raise error(errno.ESTALE)
        return path

    def under_way(self, inode: Inode) -> Slot[None] | None:
        """Filled when a change of ours to a name on the path of ``inode`` is done; None where none is."""
        node = inode
        while node.parent is not None:
            assert node.parent.directory is not None
            slot = node.parent.directory.changing.get(node.name)
            if slot is not None:
                return slot
            node = node.parent
        return None

    def place(self, inode: Inode) -> tuple[bytes, int] | None:
        """Where ``inode`` is: the same before and after a request means that its path led to it all the
        while, as far as we have a part in it. None while a change of ours is under way, or without a name."""
        path = path_of(inode, self.root_path)
        if path is None or self.under_way(inode) is not None:
            return None
        moves = 0
        node: Inode | None = inode
        while node is not None:
            moves += node.moves
            node = node.parent
        return path, moves

    def child_path(self, parent: Inode, name: bytes) -> bytes:
        """The path of ``name`` in ``parent``; ENOENT where the directory was removed."""
        path = path_of(parent, self.root_path)
        if path is None:
            raise error(errno.ENOENT)
        return path + name if path == b"/" else path + b"/" + name

    def child(self, parent: Directory, number: int, name: bytes, now: float) -> Inode | bool:
        """What memory says of ``name`` in directory ``number``: the inode with a valid lease,
        False (known missing), or True (ask the server)."""
        found = parent.children.get(name)
        if found is not None:
            return found if found.expires > now else True
        return not (parent.absent_until > now or self.negatives.expires(number, name) > now)

    def expired_child(self, parent: Inode, name: bytes) -> tuple[Inode | None] | None:
        """What was last known of ``name`` in ``parent``, lease or not: the inode, or (None,) where it was
        missing. None where nothing is known, or nothing that still may be believed."""
        directory = parent.directory
        if directory is None or name in directory.changing:
            return None
        found = directory.children.get(name)
        if found is not None:
            return (found,) if found.expires > 0.0 else None
        if not self.policy.negative:
            return None
        listed = directory.absent_until > 0.0
        return (None,) if listed or self.negatives.expires(parent.number, name) > 0.0 else None

    def missing_until(self, parent: Inode, name: bytes) -> float:
        """When the lease on the absence of ``name`` ends (monotonic seconds); 0 where it exists."""
        directory = parent.directory
        if directory is None or name in directory.children:
            return 0.0
        return max(directory.absent_until, self.negatives.expires(parent.number, name))

    def statistics(self) -> dict[str, int]:
        """Counts for whoever looks in."""
        return {"inodes": len(self._by_number), "listings": len(self._listings)}

    # -- what the server said --------------------------------------------------

    def install(self, parent: Inode, name: bytes, attributes: Attributes) -> Inode:
        """The server says ``name`` in ``parent`` has ``attributes``, now."""
        directory = parent.directory
        assert directory is not None
        if directory.listing is not None:
            directory.listing.told.add(name)
        inode = directory.children.get(name)
        if inode is not None and _is_another(inode, attributes):
            self.unlink(parent, name)
            inode = None
        if inode is None:
            self.negatives.discard(parent.number, name)
            inode = Inode(next(self._numbers), parent, name, attributes)
            directory.children[name] = inode
            directory.subdirectories = None
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
                content.revalidated(attributes, self.clock.server_time(time.time()))
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
            inode.ctime_ns = max(time.time_ns(), shown + 1)
        elif inode.ctime_ns or mtime_ns <= shown:
            inode.ctime_ns = max(mtime_ns, shown + 1)

    def own_change(self, inode: Inode, attributes: Attributes, *, dated: bool = False) -> None:
        """As ``refresh``, but the change is ours: the lease is a full one, ctime is now.

        ``dated``: the mtime is what the server's clock said of it, which may be ahead of ours.
        """
        self._check_type(inode, attributes)
        if attributes.nlink == UNKNOWN_ID:
            attributes = attributes._replace(nlink=inode.attributes.nlink)
        self.touched(inode, attributes.mtime * NANOSECONDS if dated else 0)
        inode.attributes = inode.content.over(attributes) if inode.content is not None else attributes
        inode.lease = self.policy.attribute
        inode.expires = time.monotonic() + inode.lease

    @staticmethod
    def _check_type(inode: Inode, attributes: Attributes) -> None:
        """An inode never changes its type: the kernel gives up one that does for good, the root too."""
        if attributes.kind != inode.attributes.kind:
            inode.expires = 0.0
            raise error(errno.ESTALE, "the name leads to another type of file now")

    def touched(self, inode: Inode, earliest_ns: int = 0) -> None:
        """A change of ours: ctime is now, and in any case later than it was."""
        inode.epoch += 1
        inode.ctime_ns = max(time.time_ns(), earliest_ns, inode.shown_ctime_ns + 1)

    def missing(self, parent: Inode, name: bytes) -> None:
        """The server says there is no ``name`` in ``parent``."""
        directory = parent.directory
        assert directory is not None
        if directory.listing is not None:
            directory.listing.told.add(name)
        if name in directory.children:
            self.unlink(parent, name)
        lease = directory.absence_lease or self.policy.absence_lease(0.0, False)
        self.negatives.add(parent.number, name, time.monotonic() + lease)

    def install_listing(
        self,
        parent: Inode,
        listing: Listing,
        started: float,
        changed: Set[bytes],
        told: Set[bytes] = frozenset(),
    ) -> None:
        """A whole listing of ``parent``, asked for at ``started`` (the server's clock); names in
        ``changed`` were changed by us meanwhile, of those in ``told`` the server has said since
        what they are.

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
            self.unlink(parent, name)
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
        now = time.monotonic()
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
            inode.expires = min(inode.expires, time.monotonic())  # a lookup is to tell
        elif inode.expires <= time.monotonic() or (inode.content is None and inode.epoch == 0):
            self.refresh(inode, attributes)
        elif inode.attributes.nlink == UNKNOWN_ID:
            inode.attributes = inode.attributes._replace(nlink=attributes.nlink)

    def _complete(self, parent: Inode, directory: Directory) -> None:
        now = time.monotonic()
        directory.complete_until = now + self.policy.directory
        directory.absent_until = now + min(directory.absence_lease, self.policy.directory)
        try:
            self._listings[parent.number] = parent
        except ValueError:
            pass  # larger than all that may be kept: true as long as the kernel holds every name of it

    def _grant(self, inode: Inode, changed: bool) -> None:
        inode.lease = self.policy.next_lease(inode.lease, changed)
        inode.expires = time.monotonic() + inode.lease

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

    # -- what we did -----------------------------------------------------------

    def created(self, parent: Inode, name: bytes, attributes: Attributes) -> Inode:
        """We made ``name`` in ``parent``; a directory we made is known to be empty."""
        self._name_changed(parent, name)
        directory = parent.directory
        assert directory is not None
        if name in directory.children:
            self.unlink(parent, name)
        inode = self.install(parent, name, attributes)
        self.touched(inode)
        self.clock.learn(attributes.mtime, time.time())
        if inode.directory is not None:
            inode.directory.absence_lease = self.policy.absence_lease(0.0, False)
            inode.directory.amended = True
            self._complete(inode, inode.directory)
            _count_subdirectory(parent, 1)
        self.directory_changed(parent)
        return inode

    def linked(self, inode: Inode, parent: Inode, name: bytes) -> None:
        """``name`` in ``parent`` is now another name of ``inode``."""
        self._name_changed(parent, name)
        directory = parent.directory
        assert directory is not None
        directory.children[name] = inode
        if inode.linked:
            inode.aliases = [*(inode.aliases or ()), (parent, name)]
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
        self.missing(parent, name)
        self.directory_changed(parent)

    def renamed(self, old_parent: Inode, old_name: bytes, new_parent: Inode, new_name: bytes) -> None:
        """We renamed; what stood at the new name is gone."""
        self._name_changed(old_parent, old_name)
        self._name_changed(new_parent, new_name)
        assert old_parent.directory is not None and new_parent.directory is not None
        inode = old_parent.directory.children.get(old_name)
        replaced = new_parent.directory.children.get(new_name)
        if replaced is not None and replaced is not inode:
            self.unlink(new_parent, new_name)
            if replaced.directory is not None:
                _count_subdirectory(new_parent, -1)
        if inode is not None:
            if inode.directory is not None:
                self.rename_epoch += 1
            del old_parent.directory.children[old_name]
            new_parent.directory.children[new_name] = inode
            if inode.parent is old_parent and inode.name == old_name:
                inode.parent, inode.name = new_parent, new_name
            else:
                aliases = [alias for alias in inode.aliases or () if alias != (old_parent, old_name)]
                inode.aliases = [*aliases, (new_parent, new_name)]
            if inode.directory is not None and old_parent is not new_parent:
                _count_subdirectory(old_parent, -1)
                _count_subdirectory(new_parent, 1)
            inode.moves += 1
            self.touched(inode)
            inode.target = None  # a rewritten relative target depends on where the link stands
        self.missing(old_parent, old_name)
        self.directory_changed(old_parent)
        self.directory_changed(new_parent)

    def directory_changed(self, parent: Inode) -> None:
        """Names in ``parent`` changed by our doing: its times move, its lease stays."""
        now = int(self.clock.server_time(time.time()))
        parent.attributes = parent.attributes._replace(mtime=max(now, parent.attributes.mtime))
        self.touched(parent)

    def _name_changed(self, parent: Inode, name: bytes) -> None:
        """Replies about ``name`` that left the server before our change must not be believed."""
        directory = parent.directory
        assert directory is not None
        directory.subdirectories = None
        directory.amended = True
        self.negatives.discard(parent.number, name)
        pending = directory.pending.get(name)
        if pending is not None:
            pending.stale = True
        if directory.listing is not None:
            directory.listing.changed.add(name)

    def unlink(self, parent: Inode, name: bytes) -> None:
        """Take ``name`` off the tree; the inode lives on while the kernel or a handle holds it."""
        directory = parent.directory
        assert directory is not None
        inode = directory.children.pop(name, None)
        if inode is None:
            return
        directory.subdirectories = None
        if inode.parent is parent and inode.name == name:
            if inode.aliases:
                inode.parent, inode.name = inode.aliases.pop(0)
            else:
                inode.linked = False
        elif inode.aliases:
            inode.aliases = [alias for alias in inode.aliases if alias != (parent, name)]
        attributes = inode.attributes
        if attributes.nlink > 0 and inode.directory is None:
            inode.attributes = attributes._replace(nlink=attributes.nlink - 1)
        self.touched(inode)
        if not inode.linked:
            self._release_if_unused(inode)

    # -- the kernel's references ----------------------------------------------

    def pin(self, inode: Inode) -> None:
        """The kernel is told of ``inode`` once more."""
        if inode.lookups == 0:
            self._by_number[inode.number] = inode
        inode.lookups += 1

    def forget(self, number: int, count: int) -> None:
        """The kernel drops ``count`` references. Never raises."""
        inode = self._by_number.get(number)
        if inode is None or inode is self.root:
            return
        inode.lookups = max(0, inode.lookups - count)
        if inode.lookups == 0:
            del self._by_number[number]
            parent = inode.parent
            if inode.linked and parent is not None and parent.number not in self._listings:
                self._drop_unused_child(inode)
            self._release_if_unused(inode)

    def handle_closed(self, inode: Inode) -> None:
        """A handle on ``inode`` went; free its content where nothing else needs it."""
        self._release_if_unused(inode)

    def listing_unused(self, inode: Inode) -> None:
        """No handle reads the directory any more: a listing too large to keep is let go."""
        if inode.number not in self._listings:
            self._listing_evicted(inode)

    def _release_if_unused(self, inode: Inode) -> None:
        content = inode.content
        if content is None or inode.lookups or inode.handles or content.dirty:
            return
        content.forget()
        inode.content = None

    def _drop_unused_child(self, inode: Inode) -> None:
        if inode.lookups or inode.handles or inode.aliases or inode.given_target is not None:
            return
        if inode.directory is not None and (inode.directory.children or inode.directory.open_handles):
            return
        parent = inode.parent
        if parent is None or parent.directory is None:
            return
        if parent.directory.children.get(inode.name) is inode:
            del parent.directory.children[inode.name]
            parent.directory.subdirectories = None
            parent.directory.complete_until = parent.directory.absent_until = 0.0
        self._listings.pop(inode.number, None)

    def _listing_evicted(self, inode: Inode) -> None:
        directory = inode.directory
        assert directory is not None
        for child in list(directory.children.values()):
            if child.lookups == 0:
                self._drop_unused_child(child)


def may_be_another(inode: Inode, attributes: Attributes) -> bool:
    """True where ``attributes``, told of a name, are another version than that of the open file
    it led to: somebody changed the file, or put another in its place."""
    if not inode.handles or (inode.content is not None and inode.content.dirty):
        return False
    return version_changed(inode.attributes, attributes)


def _count_subdirectory(parent: Inode, difference: int) -> None:
    """A directory has a link more for each one in it, where its file system counts them at all."""
    links = parent.attributes.nlink
    if links >= LINKS_OF_A_DIRECTORY:
        links = max(links + difference, LINKS_OF_A_DIRECTORY)
        parent.attributes = parent.attributes._replace(nlink=links)


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
