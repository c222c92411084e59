"""What is held: inodes by number, names under directories, and which of them the kernel holds.

Synchronous, and the ground of ``vfs.eviction``, ``vfs.answers`` and ``vfs.tree``, which let go of it and
amend it with what the server said and what we did; everybody else asks ``vfs.tree``. Waits for nothing and
sends nothing.

INVARIANT: ``_by_number`` holds every inode the kernel knows (lookups > 0), and the root.
INVARIANT: an inode the kernel knows that is ``linked`` stands under each of its names in that directory's
``children``.
INVARIANT: ``unused`` is the sum of that of all directories; ``_idle`` holds those that have any, the one
listed, or with the first of them, longest ago first.
INVARIANT: ``held`` is the sum of ``bytes_of`` all but the root in ``_by_number``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.config import CacheConfig
from sftpfs.server_clock import ServerClock
from sftpfs.types import Attributes
from sftpfs.vfs.inodes import CurrentPath, Directory, Held, Inode, path_of
from sftpfs.vfs.leases import LeasePolicy, NegativeLeases

ROOT_NUMBER = 1
"""FUSE_ROOT_ID."""

ENDS_TOGETHER = 0.01
"""Seconds: leases that would end so soon one after another end as one, and are one object."""

BYTES_OF_A_FILE = 600
BYTES_OF_A_DIRECTORY = 1200
"""What an inode with its name takes, about: its objects, and what an allocator makes of them."""


class Inventory:
    """See the module. Its one instance is the mount's ``Tree``."""

    def __init__(
        self,
        root: bytes,
        attributes: Attributes,
        config: CacheConfig,
        server_clock: ServerClock | None = None,
    ) -> None:
        self.root_path = root
        self.policy = LeasePolicy(config)
        self.clock = server_clock or ServerClock()
        self.negatives = NegativeLeases(config.max_entries)
        self.nameless: Callable[[Inode], None] = _nobody_to_tell
        """Called as a change of ours takes the last name of an inode; set by ``vfs.filesystem``."""
        self.unused = 0
        """Names that lead to inodes the kernel does not hold."""
        self._idle: dict[int, Inode] = {}
        self.held = 0
        """Bytes, about, of what the kernel holds."""
        self.changes = 0
        """Counts our changes of inodes."""
        self.holds: dict[Held, None] = {}
        """Requests that renames above them wait for, oldest first; ``vfs.in_place`` owns it."""
        self.outdate: Callable[[list[tuple[int, bytes]], list[Inode]], Slot[None]] = _kernel_holds_nothing
        """Makes the kernel ask anew for names (directory's number, name) and inodes; filled when it will."""
        self._outdating: dict[int, list[Slot[None]]] = {}
        self._names_until: dict[tuple[int, bytes], float] = {}
        """When the lease on a name (directory's number, name) ends, for names of inodes that have several:
        what renews an inode's lease says nothing of its other names.
        INVARIANT: all its names are of inodes that have ``aliases``."""
        self._numbers = itertools.count(ROOT_NUMBER)
        self.root = Inode(next(self._numbers), None, b"", attributes)
        self.root.lookups = 1
        self._by_number: dict[int, Inode] = {ROOT_NUMBER: self.root}
        self._last_end = 0.0
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

    def current_path(self, inode: Inode) -> CurrentPath:
        """``path`` of ``inode``, to be asked for later."""
        return CurrentPath(self.root_path, inode)

    def current_path_at(self, path: bytes) -> CurrentPath | None:
        """``current_path`` of what ``path`` leads to, as far as we know. Asks nobody."""
        root = self.root_path.rstrip(b"/") + b"/"
        inode: Inode | None = self.root
        for name in path[len(root) :].split(b"/") if path.startswith(root) else ():
            inode = inode.directory.children.get(name) if inode and inode.directory else None
        return None if inode is None or inode is self.root else self.current_path(inode)

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
        """What was last known of ``name`` in ``parent``, lease or not: the inode, or (None,) where it was
        missing. None where nothing is known, or nothing that still may be believed."""
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
        known = {**self._by_number, **self._idle}
        listings = sum(
            one.directory is not None and one.directory.complete_until > 0.0 for one in known.values()
        )
        return {"inodes": len(self._by_number), "listings": listings}

    # -- one inode ---------------------------------------------------------------

    def _grant(self, inode: Inode, changed: bool, since: float = 0.0) -> None:
        """A lease on ``inode`` from ``since`` (``clock.now``), 0 for now."""
        inode.lease = self.policy.next_lease(inode.lease, changed)
        expires = (since or clock.now()) + inode.lease
        if not 0.0 <= expires - self._last_end < ENDS_TOGETHER:
            self._last_end = expires
        inode.expires = self._last_end

    def touched(self, inode: Inode, earliest_ns: int = 0) -> None:
        """A change of ours: ctime is now, and in any case later than it was; what was fetched ahead of it
        answers no open any more."""
        self.changes += 1
        inode.epoch = self.changes
        inode.ready_until = 0.0
        inode.ctime_ns = max(clock.wall_ns(), earliest_ns, inode.shown_ctime_ns + 1)

    def ready(self, inode: Inode) -> bool:
        """Whether what was fetched ahead may answer an open: none of our changes since has made it another
        file's, or one that may not be read."""
        if inode.ready_until <= clock.now() or not inode.linked:
            return False
        asked = inode.ready_until - self.policy.attribute
        node = inode.parent
        while node is not None:
            if node.directory is not None and node.directory.permitted_from >= asked:
                return False
            node = node.parent
        return True

    def gone(self, parent: Inode, name: bytes, *, ours: bool = False) -> None:
        """There is no ``name`` in ``parent``: the server or we say so, and a listing without it is complete.

        ``ours``: it went by a request of the kernel's, which therefore has it no more."""
        self._unlink(parent, name, ours)
        directory = parent.directory
        assert directory is not None
        if directory.unknown:
            directory.unknown -= {name}

    def unknown(self, parent: Inode, name: bytes) -> None:
        """Nobody knows whether there is a ``name`` in ``parent``, nor of what: it leads elsewhere than was
        known, or a change of ours had no answer. Whoever asks for it or lists ``parent`` asks the server."""
        self._unlink(parent, name, ours=False)
        self.negatives.discard(parent.number, name)
        directory = parent.directory
        assert directory is not None
        if directory.complete_until > 0.0 or directory.listing is not None:
            directory.unknown |= {name}

    def _enter(self, parent: Inode, name: bytes, inode: Inode) -> None:
        """``name`` in ``parent`` leads to ``inode``, which has it among its own names or is given it now."""
        directory = parent.directory
        assert directory is not None
        assert name not in directory.children
        directory.children[name] = inode
        directory.turnover += 1
        directory.inner_turnover += inode.directory is not None
        if not inode.lookups:
            self._more_unused(parent)
        if directory.unknown:
            directory.unknown -= {name}
        self.negatives.discard(parent.number, name)

    def _leave(self, parent: Inode, name: bytes) -> Inode | None:
        """``name`` is in ``parent`` no more. Returns what it led to, which still counts it as its own."""
        directory = parent.directory
        assert directory is not None
        inode = directory.children.pop(name, None)
        if inode is not None:
            directory.turnover += 1
            directory.inner_turnover += inode.directory is not None
            if not inode.lookups:
                self._fewer_unused(parent)
        return inode

    def _unlink(self, parent: Inode, name: bytes, ours: bool) -> None:
        """Take ``name`` off the tree, with what is known below it; inodes live on while the kernel or a
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
        """Take one name off its inode, and off the tree. Returns the inode."""
        inode = self._leave(parent, name)
        if inode is None:
            return None
        inode.contradicted = inode.contradicted or not ours
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
            self.touched(inode)
        else:
            inode.ctime_ns = max(clock.wall_ns(), inode.shown_ctime_ns + 1)
            if inode.linked and inode.lookups:
                self._part(inode, parent, name)
        if not inode.linked:
            if ours:
                self.nameless(inode)
            self._release_if_unused(inode)
        return inode

    def _part(self, inode: Inode, parent: Inode, name: bytes) -> None:
        """``name`` does not lead to ``inode`` any more, which has others, but the kernel may go on using the
        inode for it, and does not say by which name. Where it is open it goes on, and the kernel is told;
        else its other names get another inode, so that whatever the kernel wants of it makes it look up."""
        names = inode.names()
        if inode.handles:
            told = self.outdate([(parent.number, name)], [])
            if not told.done:
                self._outdating.setdefault(inode.number, []).append(told)
            return
        other = Inode(next(self._numbers), *names[0], inode.attributes)
        other.aliases = names[1:]
        # Where it was changed, and not replaced, they have changed with it: who looks one up asks.
        other.expires, other.lease = min(inode.expires, clock.now()), inode.lease
        other.epoch, other.ctime_ns = inode.epoch, inode.ctime_ns
        other.given_target = inode.given_target
        for directory, each in names:
            self._leave(directory, each)
            self._enter(directory, each, other)
        inode.linked, inode.aliases = False, None
        self.outdate([(directory.number, each) for directory, each in [(parent, name), *names]], [])

    def outdating(self, inode: Inode) -> Slot[None] | None:
        """Filled when the kernel knows of one more name that does not lead to ``inode`` any more; None where
        it knows of all. Until then a request about the inode may have come by one of them."""
        left = [told for told in self._outdating.pop(inode.number, ()) if not told.done]
        if not left:
            return None
        self._outdating[inode.number] = left
        return left[0]

    def _name_granted(self, parent: Inode, name: bytes, inode: Inode, since: float = 0.0) -> None:
        """The server or we say that ``name`` leads to ``inode``: a lease as ``_grant``'s."""
        if inode.aliases:
            self._names_until[parent.number, name] = (since or clock.now()) + self.policy.attribute

    # -- the kernel's references ----------------------------------------------

    def names_held(self) -> list[tuple[int, bytes]]:
        """The names (directory's number, name) of all that the kernel holds."""
        return [(parent.number, name) for one in self._by_number.values() for parent, name in one.names()]

    def names_ended(self) -> list[tuple[int, bytes]]:
        """The last names, by the server's word, of what has none any more: the kernel may hold them still."""
        return [
            (one.parent.number, one.name)
            for one in self._by_number.values()
            if one.contradicted and not one.linked and one.parent is not None
        ]

    def pin(self, inode: Inode) -> None:
        """The kernel was told of ``inode`` once more, with its attributes."""
        if inode.lookups == 0:
            self._by_number[inode.number] = inode
            self._hold(bytes_of(inode))
            for parent, _ in inode.names():
                self._fewer_unused(parent)
        inode.lookups += 1
        inode.told = inode.attributes

    def told(self, inode: Inode) -> None:
        """The kernel was told the attributes of ``inode``, which it holds."""
        inode.told = inode.attributes

    def told_end(self, inode: Inode, size: int) -> None:
        """The kernel takes ``inode`` to be of ``size`` bytes by what was done to it: a read that ended there,
        or an open that emptied it."""
        if inode.told is not None:
            inode.told = inode.told._replace(size=size)

    def forget(self, number: int, count: int) -> None:
        """The kernel drops ``count`` references. Never raises."""
        inode = self._by_number.get(number)
        if inode is None or inode is self.root:
            return
        inode.lookups = max(0, inode.lookups - count)
        if inode.lookups == 0:
            del self._by_number[number]
            self.held -= bytes_of(inode)
            self._outdating.pop(number, None)
            for parent, _ in inode.names():
                self._more_unused(parent)
            self._release_if_unused(inode)

    def handle_closed(self, inode: Inode) -> None:
        """A handle on ``inode`` went; free its content where nothing else needs it."""
        self._release_if_unused(inode)

    def _release_if_unused(self, inode: Inode) -> None:
        content = inode.content
        if content is None or inode.lookups or inode.handles or content.kept:
            return
        content.forget()
        inode.content = None

    def _hold(self, size: int) -> None:
        """The kernel holds ``size`` bytes more of ours."""
        self.held += size

    def _more_unused(self, parent: Inode) -> None:
        """One more name in ``parent`` leads to what the kernel does not hold."""
        directory = parent.directory
        assert directory is not None
        directory.unused += 1
        self.unused += 1
        if directory.unused == 1:
            self._idle[parent.number] = parent

    def _fewer_unused(self, parent: Inode) -> None:
        directory = parent.directory
        assert directory is not None
        directory.unused -= 1
        self.unused -= 1
        if directory.unused == 0:
            del self._idle[parent.number]


def bytes_of(inode: Inode) -> int:
    """What ``inode`` takes, about."""
    return BYTES_OF_A_FILE if inode.directory is None else BYTES_OF_A_DIRECTORY


def _kernel_holds_nothing(_names: list[tuple[int, bytes]], _inodes: list[Inode]) -> Slot[None]:
    """Before it is attached."""
    return Slot.of(None)


def _nobody_to_tell(_inode: Inode) -> None:
    """Before the mount is made."""
