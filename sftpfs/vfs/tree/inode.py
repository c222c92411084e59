"""Inodes and directories: what is known of each file, and where it hangs in the tree.

Owns identity: a number is given once and never again; a path is read off parent
pointers, so renaming a directory moves everything below it at no cost. Only
``vfs.tree.tree``, and what it is made of, changes what is written here.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sftpfs.aio import Slot
from sftpfs.types import Attributes
from sftpfs.vfs.tree.pending_listing import PendingListing

if TYPE_CHECKING:
    from sftpfs.data import FileContent, FileHandle


NANOSECONDS = 1_000_000_000

MOST_GONE = 2048
"""Removed names that one look skips: bounds what it costs."""


class PendingLookup:
    """An LSTAT under way for one name; ``stale`` once we changed that name ourselves."""

    __slots__ = ("slot", "stale")

    def __init__(self) -> None:
        self.slot: Slot[Inode | None] = Slot()
        self.stale = False


class PathHold:
    """A request by path for which renames above its ``anchors`` wait (``vfs.tree.path_requests``). ``moved``
    is what it renames itself, ``changed`` are inodes of which it makes another version, and ``looked_at`` is
    one of which no change is made until it ends. ``removed`` is what it takes a name from, if changes of that
    may come beside it."""

    __slots__ = ("anchors", "changed", "ended", "looked_at", "moved", "removed")

    def __init__(self, anchors: list[Inode], moved: Inode | None) -> None:
        self.anchors = anchors
        self.moved = moved
        self.changed: list[Inode] = []
        self.looked_at: Inode | None = None
        self.removed: Inode | None = None
        self.ended: Slot[None] = Slot()


class Directory:
    """What is known of a directory's names.

    ``complete_until`` ends the lease on the listing; ``absent_until``, never later, the
    lease on what it does not name. ``listed`` is what the server said of the directory
    itself just before it was last listed, ``listed_at`` the server's wall clock then,
    ``listed_until`` when the lease on that ended, though its names were proven still true since;
    ``names_changed`` is True once we changed names since, so that its mtime proves nothing.
    ``changing`` holds names a request of ours is about to change, each with a slot that is filled
    when the tree is amended: what the server says of them meanwhile may be from before or after.
    ``prefetched`` is True for a listing made ahead that nobody has used yet, ``renewed_ahead`` for one found
    unchanged ahead.
    ``lookup_misses`` counts lookups that had to ask the server since it was last listed.
    ``unknown`` holds names of which nobody knows where they lead, if anywhere: the listing does not
    answer for them, nor does their absence from ``children``.
    ``speculative`` while the listing answers for no missing name: it was made before a program asked.
    ``permitted_from``: when we last changed whom it lets in, or moved it.
    Until ``absences_shown_until`` the kernel may hold that a name is missing in it.
    ``unreferenced`` counts the names that lead to inodes the kernel does not hold.

    INVARIANT: while ``absent_until`` lies ahead, a name in neither ``children`` nor ``unknown`` is missing.
    INVARIANT: no name is in ``children`` and ``unknown``.
    INVARIANT: a child in ``children`` under a name has this directory and name as its own, or among its
    aliases.

    ``name_changes`` counts the names that came or went, ``subdirectory_changes`` those of directories.
    ``subdirectories`` are the directories among ``children`` in the order listed and by name, as of when
    ``subdirectory_changes`` was the number beside them (``vfs.prefetch.traversal_order``); None after a
    listing.
    """

    __slots__ = (
        "absence_lease",
        "absences_shown_until",
        "absent_until",
        "changing",
        "children",
        "complete_until",
        "listed",
        "listed_at",
        "listed_until",
        "listing",
        "lookup_misses",
        "name_changes",
        "names_changed",
        "open_handles",
        "pending",
        "permitted_from",
        "prefetched",
        "renewed_ahead",
        "speculative",
        "subdirectories",
        "subdirectory_changes",
        "unknown",
        "unreferenced",
    )

    def __init__(self) -> None:
        self.children: dict[bytes, Inode] = {}
        self.complete_until = 0.0
        self.absent_until = 0.0
        self.absence_lease = 0.0
        self.absences_shown_until = 0.0
        self.listed: Attributes | None = None
        self.listed_at = 0.0
        self.listed_until = 0.0
        self.names_changed = False
        self.lookup_misses = 0
        self.listing: PendingListing | None = None
        self.open_handles = 0
        self.pending: dict[bytes, PendingLookup] = {}
        self.name_changes = 0
        self.subdirectory_changes = 0
        self.subdirectories: tuple[ChildOrder, ChildOrder, int] | None = None
        self.prefetched = False
        self.renewed_ahead = False
        self.speculative = False
        self.permitted_from = 0.0
        self.changing: dict[bytes, Slot[None]] = {}
        self.unknown: frozenset[bytes] = frozenset()
        self.unreferenced = 0

    def complete(self, now: float) -> bool:
        """Whether ``children`` are all its names, as far as that may be believed at ``now``."""
        return self.complete_until > now and not self.unknown

    def remember_order(self, listed: ChildOrder, by_name: ChildOrder) -> tuple[ChildOrder, ChildOrder, int]:
        """Keep, as ``subdirectories``, the orders of the directories in it as they are now."""
        self.subdirectories = known = (listed, by_name, self.subdirectory_changes)
        return known

    def compact(self) -> None:
        """Gives back the memory of names that went: a dict keeps its table, 36 KB for 1,000 of them."""
        left = list(self.children.items())
        self.children.clear()
        self.children.update(left)

    @property
    def busy(self) -> bool:
        """Somebody reads it, or a listing or a change of ours is under way: its names are not evicted."""
        return self.open_handles > 0 or self.listing is not None or bool(self.changing)


class Inode:
    """One file as the mount knows it.

    ``expires`` (``clock.now``) ends the lease on ``attributes``, 0 where the server has
    contradicted them since; ``lease`` is how long the next one will be. ``epoch`` is the
    tree's count of our changes as of the last one of it, 0 for none: a reply asked for under an older one is
    not installed.

    ``ctime_ns`` is what stat shows as ctime, 0 while that is the mtime: no change of ours, and none
    that the mtime does not show, is known. INVARIANT: what it makes ``shown_ctime_ns`` never falls.

    ``set_ns``: atime and mtime as they were set here, in nanoseconds, of a file that is to show their
    fractions; None of any other. Each counts only while the server tells its second.

    ``changed_here``: it was made or written through this mount.

    ``target`` is a link's target as the server keeps it, believed until ``target_expires``;
    ``created_target`` the one it was made with, where it was made through this mount.

    ``rename_count`` counts our renames of it.

    Until ``prefetched_until`` an open to read may be answered by content fetched ahead; no change of ours
    outlives it.

    ``kernel_attributes``: those the kernel was sent last; None before. It may hold them longer than we do.

    ``removed_by_server``: the server, not we, ended one of its names; the kernel may still come by that.

    INVARIANT: ``lookups`` is what the kernel holds and has not yet forgotten.
    INVARIANT: ``linked`` is False once no name known to us leads here; then ``path_of`` is None. All names
    of a linked inode are in directories that are linked.
    """

    __slots__ = (
        "aliases",
        "attributes",
        "changed_here",
        "content",
        "created_target",
        "ctime_ns",
        "directory",
        "epoch",
        "expires",
        "handles",
        "kernel_attributes",
        "lease",
        "linked",
        "lookups",
        "name",
        "number",
        "parent",
        "prefetched_until",
        "removed_by_server",
        "rename_count",
        "set_ns",
        "target",
        "target_expires",
    )

    def __init__(
        self,
        number: int,
        parent: Inode | None,
        name: bytes,
        attributes: Attributes,
        lease: float = 0.0,
        expires: float = 0.0,
    ) -> None:
        self.number = number
        self.parent = parent
        self.name = name
        self.aliases: list[tuple[Inode, bytes]] | None = None
        self.attributes = attributes
        self.expires = expires
        self.lease = lease
        self.epoch = 0
        self.ctime_ns = 0
        self.changed_here = False
        self.set_ns: tuple[int, int] | None = None
        self.lookups = 0
        self.rename_count = 0
        self.linked = True
        self.removed_by_server = False
        self.directory = Directory() if stat.S_ISDIR(attributes.mode) else None
        self.content: FileContent | None = None
        self.handles: list[FileHandle] | None = None
        self.target: bytes | None = None
        self.created_target: bytes | None = None
        self.target_expires = 0.0
        self.prefetched_until = 0.0
        self.kernel_attributes: Attributes | None = None

    @property
    def unnamed(self) -> bool:
        """It is open here, and the server gives it its name only when it is closed: until then no answer of
        the server's by that name is about it."""
        return self.handles is not None and any(handle.unnamed for handle in self.handles)

    @property
    def hidden(self) -> bool:
        """It was emptied here, and the server shows its old content until it is closed: a program that opened
        it now would read that."""
        return self.handles is not None and any(handle.hidden for handle in self.handles)

    @property
    def server_attributes(self) -> Attributes:
        """What the server last reported, which differs from ``attributes`` while the file is written."""
        beneath = self.content.beneath if self.content is not None and self.content.dirty else None
        return beneath or self.attributes

    @property
    def shown_ctime_ns(self) -> int:
        """The last change known, nanoseconds; SFTP v3 has no ctime of its own."""
        return self.ctime_ns or self.attributes.mtime * NANOSECONDS

    def shown_times_ns(self, mtime: int) -> tuple[int, int]:
        """atime and mtime as shown, if the latter is ``mtime`` in seconds: with the fractions that were set
        here, while the seconds are the same."""
        atime_ns, mtime_ns = self.attributes.atime * NANOSECONDS, mtime * NANOSECONDS
        if self.set_ns is None:
            return atime_ns, mtime_ns
        atime_set, mtime_set = self.set_ns
        return (
            atime_set if 0 <= atime_set - atime_ns < NANOSECONDS else atime_ns,
            mtime_set if 0 <= mtime_set - mtime_ns < NANOSECONDS else mtime_ns,
        )

    @property
    def change_mark(self) -> tuple[int, int]:
        """Changes with every local change of attributes or content."""
        content = self.content
        return (self.epoch, content.epoch if content is not None else 0)

    def names(self) -> list[tuple[Inode, bytes]]:
        """Every (directory, name) known to lead here."""
        if not self.linked or self.parent is None:
            return []
        return [(self.parent, self.name), *(self.aliases or ())]


def path_of(inode: Inode, root: bytes) -> bytes | None:
    """The absolute path on the server, or None if a component has no name any more."""
    parts: list[bytes] = []
    node = inode
    while node.parent is not None:
        if not node.linked:
            return None
        parts.append(node.name)
        node = node.parent
    if not parts:
        return root
    parts.append(b"" if root == b"/" else root)
    parts.reverse()
    return b"/".join(parts)


class CurrentPath:
    """Where a file is, to be asked for later: called, it returns the path on the server, or None if the file
    has none.

    It is equal for the same file; so ``remote`` knows what it has open of one (``remote.api.CurrentPath``).
    ``inode`` is set as soon as there is one, before it is compared with any.
    """

    __slots__ = ("_root", "inode")

    def __init__(self, root: bytes, inode: Inode | None = None) -> None:
        self._root = root
        self.inode = inode

    def __call__(self) -> bytes | None:
        return None if self.inode is None else path_of(self.inode, self._root)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CurrentPath) and other.inode is self.inode is not None

    def __hash__(self) -> int:
        assert self.inode is not None
        return hash(self.inode.number)


def last_path_of(inode: Inode, root: bytes) -> bytes:
    """As ``path_of``. If a component has no name any more, uses the name it had."""
    parts: list[bytes] = []
    node = inode
    while node.parent is not None:
        parts.append(node.name)
        node = node.parent
    return b"/".join([b"" if root == b"/" else root, *reversed(parts)]) or b"/"


class ChildOrder:
    """Entries of a directory in one order, and the position of each.

    It does not contain what came since it was made; ``between`` and ``after`` skip what went.
    """

    __slots__ = ("_index", "_items", "_node")

    def __init__(self, node: Inode, items: list[Inode]) -> None:
        self._node = node
        self._items = items
        self._index = {child.number: position for position, child in enumerate(items)}

    def __len__(self) -> int:
        return len(self._items)

    def position(self, inode: Inode) -> int | None:
        """The position of ``inode``; None if it is not known to have one."""
        return self._index.get(inode.number)

    def between(self, start: int, stop: int) -> Iterator[Inode]:
        """What is there still of the places from ``start`` to before ``stop``, or until too many are gone."""
        items, node = self._items, self._node
        gone = 0
        for position in range(max(start, 0), min(stop, len(items))):
            child = items[position]
            if child.linked and (child.parent is node or child.aliases):
                yield child
                continue
            gone += 1
            if gone > MOST_GONE:
                return

    def after(self, position: int = -1) -> Iterator[Inode]:
        """What is there still behind ``position``."""
        return self.between(position + 1, len(self._items))
