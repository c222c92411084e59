"""What is held: inodes by number, names under directories, and which of them the kernel holds.

Synchronous, and the ground of the other layers of ``vfs.tree.tree``, which evict from it and change it by
what the server said and what we did. Everybody else asks ``vfs.tree.tree``. Waits for nothing and sends
nothing.

INVARIANT: ``_by_number`` holds every inode the kernel knows (lookups > 0), and the root.
INVARIANT: an inode the kernel knows that is ``linked`` stands under each of its names in that directory's
``children``.
INVARIANT: ``unreferenced`` is the sum of that of all directories. ``_evictable`` holds those that have any:
first the one that was listed, or got its first of them, longest ago.
INVARIANT: ``held_bytes`` is the sum of ``bytes_of`` all but the root in ``_by_number``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.config import CacheConfig
from sftpfs.server_clock import ServerClock
from sftpfs.types import Attributes
from sftpfs.vfs.tree.attribute_leases import AttributeLeases
from sftpfs.vfs.tree.inode import NANOSECONDS, CurrentPath, Directory, Inode, PathHold, path_of
from sftpfs.vfs.tree.leases import NegativeLeases

if TYPE_CHECKING:
    from sftpfs.data import Contents, FileContent

ROOT_NUMBER = 1
"""FUSE_ROOT_ID."""

BYTES_OF_A_FILE = 600
BYTES_OF_A_DIRECTORY = 1200
"""About what an inode with its name takes: its objects, and what an allocator makes of them."""


class InodeTable(AttributeLeases):
    """See the module. Its one instance is the mount's ``Tree``."""

    def __init__(
        self,
        root: bytes,
        attributes: Attributes,
        config: CacheConfig,
        server_clock: ServerClock | None = None,
    ) -> None:
        super().__init__(config, server_clock)
        self.root_path = root
        self.negatives = NegativeLeases(config.max_entries)
        self.last_name_removed: Callable[[Inode], None] = _no_kernel_yet
        """Called as a change of ours takes the last name of an inode; set by ``vfs.filesystem``."""
        self.unreferenced = 0
        """Names that lead to inodes the kernel does not hold."""
        self._evictable: dict[int, Inode] = {}
        self.held_bytes = 0
        """About the bytes of what the kernel holds."""
        self.path_holds: dict[PathHold, None] = {}
        """Requests that renames above them wait for, oldest first; ``vfs.tree.path_requests`` owns it."""
        self.notify_kernel: Callable[[list[tuple[int, bytes]], list[Inode]], Slot[None]] = _nothing_held
        """Makes the kernel ask anew for names (directory's number, name) and inodes; filled when it will."""
        self._notifying: dict[int, list[Slot[None]]] = {}
        self._names_until: dict[tuple[int, bytes], float] = {}
        """When the lease on a name (directory's number, name) ends, for names of inodes that have several:
        what renews an inode's lease says nothing of its other names.
        INVARIANT: all its names are of inodes that have ``aliases``."""
        self._numbers = itertools.count(ROOT_NUMBER)
        self.root = Inode(next(self._numbers), None, b"", attributes)
        self.root.lookups = 1
        self._by_number: dict[int, Inode] = {ROOT_NUMBER: self.root}
        self._grant_lease(self.root, changed=False)

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

    def current_path(self, inode: Inode) -> CurrentPath:
        """``path`` of ``inode``, to be asked for later."""
        return CurrentPath(self.root_path, inode)

    def current_path_at(self, path: bytes) -> CurrentPath | None:
        """``current_path`` of what ``path`` leads to, as far as we know. Sends no request."""
        root = self.root_path.rstrip(b"/") + b"/"
        inode: Inode | None = self.root
        for name in path[len(root) :].split(b"/") if path.startswith(root) else ():
            inode = inode.directory.children.get(name) if inode and inode.directory else None
        return None if inode is None or inode is self.root else self.current_path(inode)

    def change_on_path(self, inode: Inode) -> Slot[None] | None:
        """Filled when a change of ours to a name on the path of ``inode`` is done; None if there is none."""
        node = inode
        while node.parent is not None:
            assert node.parent.directory is not None
            slot = node.parent.directory.changing.get(node.name)
            if slot is not None:
                return slot
            node = node.parent
        return None

    def location(self, inode: Inode) -> tuple[bytes, int] | None:
        """Where ``inode`` is. If it is the same before and after a request, its path led to it all the while,
        as far as our own changes go. None while a change of ours is under way, or without a name."""
        path = path_of(inode, self.root_path)
        if path is None or self.change_on_path(inode) is not None:
            return None
        moves = 0
        node: Inode | None = inode
        while node is not None:
            moves += node.rename_count
            node = node.parent
        return path, moves

    def child(self, parent: Directory, number: int, name: bytes, now: float) -> Inode | bool:
        """What memory says of ``name`` in directory ``number``: the inode with a valid lease,
        False (known missing), or True (ask the server)."""
        found = parent.children.get(name)
        if found is not None:
            if found.aliases and self._names_until.get((number, name), 0.0) <= now:
                return True
            return found if found.expires > now else True
        if name in parent.unknown:
            return True
        return not (parent.absent_until > now or self.negatives.expires(number, name) > now)

    def expired_child(self, parent: Inode, name: bytes) -> tuple[Inode | None] | None:
        """What was last known of ``name`` in ``parent``, with or without a lease: the inode, or (None,) if it
        was missing. None if nothing is known, or nothing that may still be believed."""
        directory = parent.directory
        if directory is None or name in directory.changing or name in directory.unknown:
            return None
        found = directory.children.get(name)
        if found is not None:
            return (found,) if found.expires > 0.0 else None
        if not self.policy.negative:
            return None
        listed = directory.absent_until > 0.0
        return (None,) if listed or self.negatives.expires(parent.number, name) > 0.0 else None

    def missing_until(self, parent: Inode, name: bytes) -> float:
        """When the lease on the absence of ``name`` ends (``clock.now``); 0 where it exists."""
        directory = parent.directory
        if directory is None or name in directory.children or name in directory.unknown:
            return 0.0
        return max(directory.absent_until, self.negatives.expires(parent.number, name))

    def statistics(self) -> dict[str, int]:
        """Counts for whoever looks in."""
        known = {**self._by_number, **self._evictable}
        listings = sum(
            one.directory is not None and one.directory.complete_until > 0.0 for one in known.values()
        )
        return {"inodes": len(self._by_number), "listings": listings}

    # -- one name ----------------------------------------------------------------

    def remove_name(self, parent: Inode, name: bytes, *, ours: bool = False) -> None:
        """There is no ``name`` in ``parent``: the server or we say so, and a listing without it is complete.

        ``ours``: it went by a request of the kernel's, which therefore no longer has it.
        """
        self._unlink(parent, name, ours)
        directory = parent.directory
        assert directory is not None
        if directory.unknown:
            directory.unknown -= {name}

    def name_unknown(self, parent: Inode, name: bytes) -> None:
        """Nobody knows whether there is a ``name`` in ``parent``, nor what it leads to: it leads elsewhere
        than was known, or a change of ours had no answer. Whoever asks for it or lists ``parent`` asks the
        server."""
        self._unlink(parent, name, ours=False)
        self.negatives.discard(parent.number, name)
        directory = parent.directory
        assert directory is not None
        if directory.complete_until > 0.0 or directory.listing is not None:
            directory.unknown |= {name}
        if directory.listing is not None:
            directory.listing.changed.add(name)  # what it brought may be from before

    def _add_name(self, parent: Inode, name: bytes, inode: Inode) -> None:
        """``name`` in ``parent`` leads to ``inode``, which has it among its own names or is given it now."""
        directory = parent.directory
        assert directory is not None
        assert name not in directory.children
        directory.children[name] = inode
        directory.name_changes += 1
        directory.subdirectory_changes += inode.directory is not None
        if not inode.lookups:
            self._count_unreferenced(parent)
        if directory.unknown:
            directory.unknown -= {name}
        self.negatives.discard(parent.number, name)

    def _drop_name(self, parent: Inode, name: bytes) -> Inode | None:
        """``name`` is no longer in ``parent``. Returns what it led to, which still counts it as its own."""
        directory = parent.directory
        assert directory is not None
        inode = directory.children.pop(name, None)
        if inode is not None:
            directory.name_changes += 1
            directory.subdirectory_changes += inode.directory is not None
            if not inode.lookups:
                self._uncount_unreferenced(parent)
        return inode

    def _unlink(self, parent: Inode, name: bytes, ours: bool) -> None:
        """Takes ``name`` off the tree, with what is known below it. Inodes live on while the kernel or a
        handle holds them."""
        inode = self._detach(parent, name, ours)
        vanished = [inode] if inode is not None and inode.directory is not None else []
        for each in vanished:  # grows as it goes
            directory = each.directory
            assert directory is not None
            directory.complete_until = directory.absent_until = 0.0
            for below in list(directory.children):
                inode = self._detach(each, below, ours=False)
                if inode is not None and inode.directory is not None:
                    vanished.append(inode)

    def _detach(self, parent: Inode, name: bytes, ours: bool) -> Inode | None:
        """Takes one name off its inode, and off the tree. Returns the inode."""
        inode = self._drop_name(parent, name)
        if inode is None:
            return None
        inode.removed_by_server = inode.removed_by_server or not ours
        self._names_until.pop((parent.number, name), None)
        if inode.parent is parent and inode.name == name:
            if inode.aliases:
                inode.parent, inode.name = inode.aliases.pop(0)
            else:
                inode.linked = False
        elif inode.aliases:
            inode.aliases = [alias for alias in inode.aliases if alias != (parent, name)]
        if not inode.aliases and inode.linked and inode.parent is not None:
            self._names_until.pop((inode.parent.number, inode.name), None)
        attributes = inode.attributes
        if attributes.nlink > 0 and inode.directory is None:
            inode.attributes = attributes._replace(nlink=attributes.nlink - 1)
        if ours:
            self.bump_ctime(inode)
        else:
            inode.ctime_ns = max(int(clock.wall()) * NANOSECONDS, inode.shown_ctime_ns + 1)
            if inode.linked and inode.lookups:
                self._split_off(inode, parent, name)
        if not inode.linked:
            if ours:
                self.last_name_removed(inode)
            self._release_if_unused(inode)
        return inode

    def _split_off(self, inode: Inode, parent: Inode, name: bytes) -> None:
        """``name`` no longer leads to ``inode``, which has others. But the kernel may go on using the inode
        for it, and does not say by which name. If the file is open, it goes on and the kernel is told.
        Otherwise its other names get another inode, so that the kernel looks up the name whatever it wants of
        the file.
        """
        names = inode.names()
        if inode.handles:
            invalidated = self.notify_kernel([(parent.number, name)], [])
            if not invalidated.done:
                self._notifying.setdefault(inode.number, []).append(invalidated)
            return
        other = Inode(next(self._numbers), *names[0], inode.attributes)
        other.aliases = names[1:]
        # If it was changed, and not replaced, they have changed with it: whoever looks one up asks.
        other.expires, other.lease = min(inode.expires, clock.now()), inode.lease
        other.epoch, other.ctime_ns, other.set_ns = inode.epoch, inode.ctime_ns, inode.set_ns
        other.changed_here = inode.changed_here
        other.created_target = inode.created_target
        for directory, each in names:
            self._drop_name(directory, each)
            self._add_name(directory, each, other)
        inode.linked, inode.aliases = False, None
        self.notify_kernel([(directory.number, each) for directory, each in [(parent, name), *names]], [])

    def notifying(self, inode: Inode) -> Slot[None] | None:
        """Filled when the kernel knows of one more name that no longer leads to ``inode``; None if it knows
        of all. Until then a request about the inode may have come by one of them."""
        left = [slot for slot in self._notifying.pop(inode.number, ()) if not slot.done]
        if not left:
            return None
        self._notifying[inode.number] = left
        return left[0]

    def _grant_name_lease(self, parent: Inode, name: bytes, inode: Inode, since: float = 0.0) -> None:
        """The server or we say that ``name`` leads to ``inode``: a lease as ``_grant``'s."""
        if inode.aliases:
            self._names_until[parent.number, name] = (since or clock.now()) + self.policy.attribute

    # -- what the kernel holds -------------------------------------------------

    def content_of(self, inode: Inode, contents: Contents) -> FileContent:
        """The content of ``inode``, from now on where it had none."""
        if inode.content is None:
            inode.content = contents.create(inode.number)
        return inode.content

    def _release_if_unused(self, inode: Inode) -> None:
        content = inode.content
        if content is None or inode.lookups or inode.handles or content.kept:
            return
        content.forget()
        inode.content = None

    def _account(self, size: int) -> None:
        """The kernel holds ``size`` bytes more of ours."""
        self.held_bytes += size

    def _count_unreferenced(self, parent: Inode, count: int = 1) -> None:
        """``count`` more names in ``parent`` lead to what the kernel does not hold."""
        directory = parent.directory
        assert directory is not None
        if directory.unreferenced == 0:
            self._evictable[parent.number] = parent
        directory.unreferenced += count
        self.unreferenced += count

    def _uncount_unreferenced(self, parent: Inode, count: int = 1) -> None:
        directory = parent.directory
        assert directory is not None
        directory.unreferenced -= count
        self.unreferenced -= count
        if directory.unreferenced == 0:
            del self._evictable[parent.number]


def bytes_of(inode: Inode) -> int:
    """What ``inode`` takes, about."""
    return BYTES_OF_A_FILE if inode.directory is None else BYTES_OF_A_DIRECTORY


def _nothing_held(_names: list[tuple[int, bytes]], _inodes: list[Inode]) -> Slot[None]:
    """Before it is attached."""
    return Slot.of(None)


def _no_kernel_yet(_inode: Inode) -> None:
    """Before the mount is made."""
