"""Inodes and directories: what is known of each file, and where it hangs in the tree.

Owns identity: a number is given once and never again; a path is read off parent
pointers, so renaming a directory moves everything below it at no cost. Only
``vfs.tree``, and what it is made of, changes what is written here.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from sftpfs.aio import Slot
from sftpfs.types import Attributes

if TYPE_CHECKING:
    from sftpfs.data import FileContent, FileHandle
    from sftpfs.vfs.order import Sequence


NANOSECONDS = 1_000_000_000


class PendingLookup:
    """An LSTAT under way for one name; ``stale`` once we changed that name ourselves."""

    __slots__ = ("slot", "stale")

    def __init__(self) -> None:
        self.slot: Slot[Inode | None] = Slot()
        self.stale = False


class PendingListing:
    """A listing under way; ``changed`` holds the names we changed since it began, ``told`` those
    the server was asked for one by one. ``begun``: the tree's count of our changes as it began."""

    __slots__ = ("begun", "changed", "slot", "told")

    def __init__(self, begun: int = 0) -> None:
        self.slot: Slot[None] = Slot()
        self.begun = begun
        self.changed: set[bytes] = set()
        self.told: set[bytes] = set()


class Held:
    """A request by path that renames above its ``anchors`` wait for (``vfs.in_place``); ``moved`` is what it
    renames itself, ``changed`` are inodes it makes another version of, ``looked_at`` one that no change
    is made of until it ends."""

    __slots__ = ("anchors", "changed", "ended", "looked_at", "moved")

    def __init__(self, anchors: list[Inode], moved: Inode | None) -> None:
        self.anchors = anchors
        self.moved = moved
        self.changed: list[Inode] = []
        self.looked_at: Inode | None = None
        self.ended: Slot[None] = Slot()


class Directory:
    """What is known of a directory's names.

    ``complete_until`` ends the lease on the listing; ``absent_until``, never later, the
    lease on what it does not name. ``listed`` is what the server said of the directory
    itself just before it was last listed, ``listed_at`` the server's wall clock then,
    ``listed_until`` when the lease on that ended, though its names were proven still true since;
    ``amended`` is True once we changed names since, so that its mtime proves nothing.
    ``changing`` holds names a request of ours is about to change, each with a slot that is filled
    when the tree is amended: what the server says of them meanwhile may be from before or after.
    ``ahead`` is True for a listing made ahead that nobody has used yet, ``renewed_ahead`` for one found
    unchanged ahead.
    ``misses`` counts lookups that had to ask the server since it was last listed.
    ``unknown`` holds names of which nobody knows where they lead, if anywhere: the listing does not
    answer for them, nor does their absence from ``children``.
    ``permitted_from``: when we last changed whom it lets in, or moved it.
    ``unused`` counts the names that lead to inodes the kernel does not hold.

    INVARIANT: while ``absent_until`` lies ahead, a name in neither ``children`` nor ``unknown`` is missing.
    INVARIANT: no name is in ``children`` and ``unknown``.
    INVARIANT: a child in ``children`` under a name has this directory and name as its own,
    or among its aliases.
    ``turnover`` counts the names that came or went, ``inner_turnover`` those of directories.
    ``subdirectories`` are the directories among ``children`` in the order listed and by name, as of
    when ``inner_turnover`` was the number beside them (``vfs.order``); None after a listing.
    """

    __slots__ = (
        "absence_lease",
        "absent_until",
        "ahead",
        "amended",
        "changing",
        "children",
        "complete_until",
        "inner_turnover",
        "listed",
        "listed_at",
        "listed_until",
        "listing",
        "misses",
        "open_handles",
        "pending",
        "permitted_from",
        "renewed_ahead",
        "subdirectories",
        "turnover",
        "unknown",
        "unused",
    )

    def __init__(self) -> None:
        self.children: dict[bytes, Inode] = {}
        self.complete_until = 0.0
        self.absent_until = 0.0
        self.absence_lease = 0.0
        self.listed: Attributes | None = None
        self.listed_at = 0.0
        self.listed_until = 0.0
        self.amended = False
        self.misses = 0
        self.listing: PendingListing | None = None
        self.open_handles = 0
        self.pending: dict[bytes, PendingLookup] = {}
        self.turnover = 0
        self.inner_turnover = 0
        self.subdirectories: tuple[Sequence, Sequence, int] | None = None
        self.ahead = False
        self.renewed_ahead = False
        self.permitted_from = 0.0
        self.changing: dict[bytes, Slot[None]] = {}
        self.unknown: frozenset[bytes] = frozenset()
        self.unused = 0

    def complete(self, now: float) -> bool:
        """Whether ``children`` are all its names, as far as may be believed at ``now``."""
        return self.complete_until > now and not self.unknown

    def compact(self) -> None:
        """Give back the memory of names that went: a dict keeps its table, 36 KB for 1,000 of them."""
        left = list(self.children.items())
        self.children.clear()
        self.children.update(left)

    @property
    def busy(self) -> bool:
        """Somebody reads it, or a listing or a change of ours is under way: its names are not let go."""
        return self.open_handles > 0 or self.listing is not None or bool(self.changing)


class Inode:
    """One file as the mount knows it.

    ``expires`` (``clock.now``) ends the lease on ``attributes``, 0 where the server has
    contradicted them since; ``lease`` is how long the next one will be. ``epoch`` is the
    tree's count of our changes as of the last one of it, 0 for none: a reply asked for under an older one is
    not installed.

    ``ctime_ns`` is what stat shows as ctime, 0 while that is the mtime: no change of ours, and none
    that the mtime does not show, is known. INVARIANT: what it makes ``shown_ctime_ns`` never falls.

    ``target`` is a link's target as the server keeps it, believed until ``target_expires``;
    ``given_target`` the one it was made with, where it was made through this mount.

    ``moves`` counts our renames of it.

    Until ``ready_until`` an open to read may be answered by content fetched ahead; no change of ours
    outlives it.

    ``told``: the attributes the kernel was told last; None before. It may hold them longer than we do.

    ``contradicted``: the server, not we, ended one of its names, by which the kernel may still lead to it.

    INVARIANT: ``lookups`` is what the kernel holds and has not yet forgotten.
    INVARIANT: ``linked`` is False once no name known to us leads here; then ``path_of`` is None. All names
    of a linked inode are in directories that are linked.
    """

    __slots__ = (
        "aliases",
        "attributes",
        "content",
        "contradicted",
        "ctime_ns",
        "directory",
        "epoch",
        "expires",
        "given_target",
        "handles",
        "lease",
        "linked",
        "lookups",
        "moves",
        "name",
        "number",
        "parent",
        "ready_until",
        "target",
        "target_expires",
        "told",
    )

    def __init__(self, number: int, parent: Inode | None, name: bytes, attributes: Attributes) -> None:
        self.number = number
        self.parent = parent
        self.name = name
        self.aliases: list[tuple[Inode, bytes]] | None = None
        self.attributes = attributes
        self.expires = 0.0
        self.lease = 0.0
        self.epoch = 0
        self.ctime_ns = 0
        self.lookups = 0
        self.moves = 0
        self.linked = True
        self.contradicted = False
        self.directory = Directory() if stat.S_ISDIR(attributes.mode) else None
        self.content: FileContent | None = None
        self.handles: list[FileHandle] | None = None
        self.target: bytes | None = None
        self.given_target: bytes | None = None
        self.target_expires = 0.0
        self.ready_until = 0.0
        self.told: Attributes | None = None

    @property
    def unnamed(self) -> bool:
        """It is open here, and the server gives it the name it has here as it is closed: until then no answer
        of the server's by that name is about it."""
        return self.handles is not None and any(handle.unnamed for handle in self.handles)

    @property
    def hidden(self) -> bool:
        """It was emptied here, and the server shows what was in it until it is closed: who opened it now
        would read that."""
        return self.handles is not None and any(handle.hidden for handle in self.handles)

    @property
    def shown_ctime_ns(self) -> int:
        """The last change known, nanoseconds; SFTP v3 has no ctime of its own."""
        return self.ctime_ns or self.attributes.mtime * NANOSECONDS

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
    """The absolute path on the server, or None where a component has no name any more."""
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
    """Where a file is, to be asked for later: called for its path on the server, None where it has none.

    Equal for the same file: by this ``remote`` knows what it has open of one (``remote.api.CurrentPath``).
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
    """As ``path_of``; where a component has no name any more, by the name it had."""
    parts: list[bytes] = []
    node = inode
    while node.parent is not None:
        parts.append(node.name)
        node = node.parent
    return b"/".join([b"" if root == b"/" else root, *reversed(parts)]) or b"/"
