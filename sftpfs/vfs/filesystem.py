"""The mount's file system: one tree and everything that works on it.

Composes the rooms of vfs for ``fuse`` and answers what needs several of them: what an
inode looks like, settled content, statistics.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import NamedTuple, Protocol

import trio

from sftpfs import clock
from sftpfs.aio import Slot, in_thread
from sftpfs.config import MountConfig
from sftpfs.data import Contents, LostBytes
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, FilesystemStatistics, Unwritten
from sftpfs.vfs.ahead import Ahead
from sftpfs.vfs.attributes import AttributeWriter
from sftpfs.vfs.background import Background
from sftpfs.vfs.copying import Copier
from sftpfs.vfs.files import Files
from sftpfs.vfs.identity import Identity
from sftpfs.vfs.inodes import NANOSECONDS, Inode, last_path_of
from sftpfs.vfs.listings import Listings
from sftpfs.vfs.login import Login
from sftpfs.vfs.name_cases import NameCases
from sftpfs.vfs.namespace import Namespace
from sftpfs.vfs.naming import NamingRemote
from sftpfs.vfs.offline import Offline
from sftpfs.vfs.ownership import OwnerMap
from sftpfs.vfs.refresh import Refresher
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.tree import Tree

_new_tuple = tuple.__new__

Entries = list[tuple[int, bytes]]
Numbers = list[int]

FORGETTING_TAKES = 0.05
"""Seconds in which the kernel tells what it forgot when asked to, before more is asked for."""

PATIENCE = 1.0
"""Seconds a thread that shows how far another one's writing has come is held up, once a file."""

STATISTICS_LEASE = 1.0
"""Seconds statfs figures are believed: df and file managers ask several times at once."""


class Appearance(NamedTuple):
    """What stat(2) shows of an inode, local truth included; times in nanoseconds."""

    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class LossRecord(Protocol):
    """What the mount has lost, until somebody acknowledges it. All but ``settle`` return at once."""

    def keep(self, path: bytes, lost: LostBytes) -> None:
        """The file at ``path`` lost bytes, which are to be saved. Never raises."""

    def remains(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """No more than ``ranges`` of what ``incident`` took is missing still."""

    def left(self, incidents: list[int], version: tuple[int, int] | None) -> None:
        """The file that lost ``incidents`` has this size and mtime since, if that is known."""

    def acknowledged(self, path: bytes) -> bool:
        """Somebody has acknowledged all that the file at ``path`` lost; False where it lost no bytes."""

    def files(self, path: bytes) -> list[str]:
        """Where what the file at ``path`` lost is saved."""

    def settle(self) -> None:
        """Wait, in a thread, until what was handed over is saved."""


class Filesystem:
    """Everything ``fuse`` needs, and the observer of settled content."""

    def __init__(
        self,
        config: MountConfig,
        remote: Remote,
        root: bytes,
        root_attributes: Attributes,
        losses: LossRecord,
    ) -> None:
        """``losses`` is told of all that can no longer be written."""
        self.config = config
        self.owners = OwnerMap(config.ownership, (os.getuid(), os.getgid()))
        self._naming = naming = NamingRemote(remote, self.owners) if self.owners.by_name else None
        remote = naming or remote
        self._remote = remote
        self.tree = Tree(root, root_attributes, config.cache, remote.clock)
        remote.named_by(self.tree.current_path_at)
        self.contents = Contents(config.data, self, remote.clock)
        self.background = Background()
        self.offline = Offline(
            remote, config.cache.enabled and config.cache.stat_timeout > 0, self.background
        )
        self.listings = Listings(self.tree, remote, config.symlinks)
        self.ahead = Ahead(self.tree, remote, self.contents, self.listings, self.background)
        mountpoint = os.fsencode(os.path.abspath(config.mountpoint))
        identity = Identity(self.tree, remote)
        self.cases = NameCases(self.tree, remote)
        self.resolver = Resolver(
            self.tree, remote, self.ahead, self.offline, identity, self.cases, config.symlinks, mountpoint
        )
        self.namespace = Namespace(
            self.tree, remote, identity, self.cases, self.owners, config.hard_links, naming
        )
        self.files = Files(
            self.tree,
            remote,
            self.resolver,
            identity,
            self.namespace,
            self.contents,
            self.ahead,
            self.offline,
        )
        self._login = Login(self.tree, remote, self.owners, config)
        self.refresher = Refresher(self.tree, self.listings, self.resolver)
        self.copier = Copier(self.tree, remote, identity, config.pool.reconnect)
        self.attributes = AttributeWriter(self.tree, remote, self.resolver, identity, self.owners, naming)
        self.outdate: Callable[[Inode], None] = _nobody_to_tell
        """Makes the kernel ask for the attributes of an inode again; set by ``fuse``."""
        self.forget: Callable[[Sequence[Inode]], Awaitable[None]] | None = None
        """Asks the kernel to forget what nobody uses of these; set by ``fuse``."""
        self.tree.crowded = partial(self.background.spawn, self._make_room)
        self._making_room = False
        self.forget_names: Callable[[Entries, Numbers], Awaitable[None]] = _nothing_to_forget
        """Makes the kernel forget names (directory's number, name) and inodes, which waits for requests
        about them; set by ``fuse``."""
        self.tree.outdate = self._outdate
        self._losses = losses
        self.tree.nameless = self._nameless
        self._untold: dict[int, Unwritten] = {}
        """By inode number, which may be forgotten since, the first failed write that nobody was surely told
        of, until it is acknowledged."""
        self._statistics: FilesystemStatistics | None = None
        self._statistics_expire = 0.0

    async def learn_owner(self) -> None:
        """Find out who we are on the server, before anything is shown. Two round trips."""
        with suppress(OSError):  # then ids are shown as the server has them
            await self._login.learn()
            if self._naming is not None:
                await self._naming.know((self.tree.root.attributes,), self.tree.root_path)

    async def learn_owner_by_root(self) -> None:
        """The same by what is in the root, which was listed."""
        with suppress(OSError):
            await self._login.learn_by_root()

    def appearance(self, inode: Inode) -> Appearance:
        """What stat shows now, from memory. EPERM for unmapped ids with nomap=error."""
        attributes = inode.attributes
        mode, uid, gid = self.owners.show(attributes)
        size = attributes.size
        mtime_ns = attributes.mtime * NANOSECONDS
        ctime_ns = inode.ctime_ns or mtime_ns
        content = inode.content
        if content is not None and content.dirty:
            if content.size is not None:
                size = content.size
            mtime = content.mtime
            if mtime is not None:
                mtime_ns = mtime * NANOSECONDS
                if content.server_dated and mtime_ns > ctime_ns:
                    ctime_ns = mtime_ns
        nlink = 0 if not inode.linked else attributes.nlink if attributes.nlink > 1 else 1
        if inode.aliases:
            nlink = max(nlink, 1 + len(inode.aliases))
        # The constructor of a NamedTuple costs twice as much, for every entry listed.
        return _new_tuple(
            Appearance, (mode, nlink, uid, gid, size, attributes.atime * NANOSECONDS, mtime_ns, ctime_ns)
        )

    async def date(self, inode: Inode, *, patient: bool) -> None:
        """Have the server tell the time of what was written to ``inode`` so far, for one who wrote it and
        may compare it with the file's later. Not while it is away. One round trip, which ``close`` then has
        not to make, and all that is written goes before. Not ``patient``: ``PATIENCE`` seconds at most.
        """
        content = inode.content
        assert content is not None
        await self.offline.ask(partial(content.date, inf if patient else PATIENCE), lambda: (None,))

    async def listing(self, inode: Inode) -> list[bytes]:
        """What a program lists: every name. Listings it will want next follow."""
        self.ahead.demanded(inode)
        listed = await self.offline.ask(
            partial(self.listings.listing, inode), partial(self.listings.expired, inode)
        )
        self.ahead.advance()
        return listed

    async def _make_room(self) -> None:
        """Let go of what the tree need not hold, and have the kernel forget what there is no memory for."""
        if self._making_room:
            return
        self._making_room = True
        try:
            for _ in self.tree.sweep():
                await trio.lowlevel.checkpoint()
            while self.forget is not None and (forgettable := self.tree.forgettable()):
                await self.forget(forgettable)
                await trio.sleep(FORGETTING_TAKES)
                if all(inode.lookups for inode in forgettable):
                    break  # in use, all of them: others are asked for when there is more
        finally:
            self._making_room = False

    def access(self, inode: Inode, mask: int) -> bool:
        """access(2), as far as mode bits tell; the server has the last word anyway."""
        if mask & os.W_OK and self.config.fuse.read_only:
            return False
        return self.owners.permits(inode.attributes, mask)

    async def statfs(self) -> FilesystemStatistics | None:
        """The server's figures for the root, a second old at most, the last ones while it is away;
        None where it has none."""
        if self._statistics_expire > clock.now():
            return self._statistics
        return await self.offline.ask(
            self._ask_statistics, lambda: (self._statistics,) if self._statistics_expire else None
        )

    async def _ask_statistics(self) -> FilesystemStatistics | None:
        now = clock.now()
        self._statistics = await self._remote.statvfs(self.tree.root_path)
        self._statistics_expire = now + STATISTICS_LEASE
        return self._statistics

    def content_settled(self, number: int, attributes: Attributes) -> None:
        """All our writes to inode ``number`` are on the server, which says ``attributes``."""
        inode = self.tree.find(number)
        if inode is None or not stat.S_ISREG(attributes.mode):
            return
        dated = inode.content is not None and inode.content.server_dated
        self.tree.own_change(inode, attributes, dated=dated)

    def content_told(self, number: int, attributes: Attributes) -> None:
        """What the server has of inode ``number`` beneath what we are still writing."""
        inode = self.tree.find(number)
        if inode is not None and stat.S_ISREG(attributes.mode):
            # Size and time are ours while we write: no other version than is known.
            known = inode.attributes
            self.tree.own_change(inode, attributes._replace(size=known.size, mtime=known.mtime))

    def content_unknown(self, number: int) -> None:
        """Inode ``number`` has lost what was written, and nobody told what it is like now: it is asked for,
        lest the end of file known of before is shown for what it was made since."""
        inode = self.tree.find(number)
        if inode is not None:
            inode.expires = min(inode.expires, clock.now())

    def statistics(self) -> dict[str, int]:
        """Counters of names, of what was asked for ahead, and of content."""
        return {
            **self.tree.statistics(),
            **self.ahead.statistics(),
            **self.contents.statistics(),
            "answered_offline": self.offline.served,
        }

    def content_outdated(self, number: int, attributes: Attributes) -> None:
        """A read met another version than the kernel was told of: tell it to ask again."""
        inode = self.tree.find(number)
        if inode is not None and stat.S_ISREG(attributes.mode):
            self.tree.refresh(inode, attributes, named=False)
            self.outdate(inode)

    def _outdate(self, names: Entries, inodes: list[Inode]) -> Slot[None]:
        """As ``Tree.outdate``: of the names beside the requests that hold their directories."""
        for inode in inodes:
            self.outdate(inode)
        told: Slot[None] = Slot()
        if not self.background.spawn(self._forget_names, names, told):
            told.set(None)
        return told

    async def _forget_names(self, names: Entries, told: Slot[None]) -> None:
        try:
            await self.forget_names(names, [])
        finally:
            told.set(None)

    def content_lost(self, number: int, lost: LostBytes) -> None:
        """Bytes of inode ``number`` will never be on the server."""
        self._losses.keep(self._path_known(number), lost)

    def content_remains(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """Of what was lost then the rest was written again, or cut off."""
        self._losses.remains(incident, ranges)

    def content_left(self, incidents: list[int], attributes: Attributes | None) -> None:
        """What the file is as which it lost bytes."""
        self._losses.left(incidents, None if attributes is None else (attributes.size, attributes.mtime))

    def content_untold(self, number: int, failure: OSError) -> None:
        """A write of inode ``number`` failed, and its program may not know: ``flush`` and ``drain`` tell."""
        self._untold.setdefault(number, Unwritten(self._path_known(number), failure))

    def content_made_good(self, number: int) -> None:
        """What inode ``number`` had lost is no loss any more, though it may be saved still."""
        self._untold.pop(number, None)

    def _nameless(self, inode: Inode) -> None:
        """The last name of ``inode`` was removed here, or another file has it: nobody misses what it lost."""
        self.contents.made_good(inode.number)

    async def drain(self) -> list[Unwritten]:
        """Everything dirty to the server; what could not be written and nobody was surely told of."""
        return self._unwritten(await self.contents.drain())

    def give_up(self, failure: OSError) -> list[Unwritten]:
        """As ``drain``, but at once: what is not on the server is lost, for ``failure``."""
        return self._unwritten(self.contents.give_up(failure))

    async def flush(self) -> list[str]:
        """What was written so far to the server, as ``drain`` but without an end in view: lines."""
        failed = self._unwritten(await self.contents.settle_all())
        if failed:
            await in_thread(self._losses.settle)
        return [self.told(one) for one in failed]

    def told(self, unwritten: Unwritten) -> str:
        """For a person: which file, why, and where its data is."""
        path, failure = unwritten
        files = self._losses.files(path)
        where = f"; saved in {', '.join(files)}" if files else ""
        return f"{os.fsdecode(path)}: {failure.strerror or failure}{where}"

    def name(self, number: int) -> str:
        """The path on the server of an inode, for a person."""
        return os.fsdecode(self._path_known(number))

    def _unwritten(self, failures: list[tuple[int, OSError]]) -> list[Unwritten]:
        """``failures``, and what is on record of before; without what somebody has acknowledged."""
        found = {number: Unwritten(self._path_known(number), problem) for number, problem in failures}
        found |= self._untold
        for number in [number for number, one in found.items() if self._losses.acknowledged(one.path)]:
            del found[number]
            self._untold.pop(number, None)
        return list(found.values())

    def _path_known(self, number: int) -> bytes:
        """The path on the server, the last one where it has none any more; for people."""
        inode = self.tree.find(number)
        return last_path_of(inode, self.tree.root_path) if inode is not None else b"inode %d" % number


async def _nothing_to_forget(_entries: Entries, _inodes: Numbers) -> None:
    """As ``_nobody_to_tell``."""


def _nobody_to_tell(inode: Inode) -> None:
    """Before the kernel is attached it holds nothing that could be outdated."""
