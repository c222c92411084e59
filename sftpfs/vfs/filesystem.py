"""The mount's file system: one tree and everything that works on it.

Composes the rooms of vfs for ``fuse`` and answers what needs several of them: what an
inode looks like, settled content, statistics.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import NamedTuple, Protocol

from sftpfs import clock
from sftpfs.aio import Slot, in_thread
from sftpfs.config import MountConfig
from sftpfs.data import Contents, LostBytes
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, FilesystemStatistics, Unwritten
from sftpfs.vfs.file_identity import FileIdentity
from sftpfs.vfs.mapping.id_map import IdMap
from sftpfs.vfs.mapping.letter_case import LetterCase
from sftpfs.vfs.mapping.login_ids import LoginIds
from sftpfs.vfs.mapping.owner_names_remote import OwnerNamesRemote
from sftpfs.vfs.memory_bound import MemoryBound
from sftpfs.vfs.namespace import Namespace
from sftpfs.vfs.open_file import OpenOperations
from sftpfs.vfs.prefetch.background import BackgroundTasks
from sftpfs.vfs.prefetch.prefetcher import Prefetcher
from sftpfs.vfs.readdir import DirectoryReader
from sftpfs.vfs.refresh import Refresher
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.server_copy import ServerCopier
from sftpfs.vfs.setattr import SetattrOperations
from sftpfs.vfs.softreval import SoftRevalidation
from sftpfs.vfs.tree.inode import NANOSECONDS, Inode, last_path_of
from sftpfs.vfs.tree.pending_listing import Snapshot
from sftpfs.vfs.tree.tree import Tree
from sftpfs.vfs.tree_remove.remover import TreeRemover

_new_tuple = tuple.__new__

Entries = list[tuple[int, bytes]]
Numbers = list[int]

PATIENCE = 1.0
"""Seconds that a thread waits, once a file, when it asks how far another thread's writing has come."""

STATISTICS_LEASE = 1.0
"""Seconds statfs figures are believed: df and file managers ask several times at once."""


class Appearance(NamedTuple):
    """What stat(2) shows of an inode, with what we know ourselves; times in nanoseconds."""

    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class LossRecord(Protocol):
    """What the mount has lost, until somebody acknowledges it. Only ``wait_saved`` waits."""

    def record_loss(self, path: bytes, lost: LostBytes) -> None:
        """The file at ``path`` lost bytes, which must be saved. Never raises."""

    def narrow_loss(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """Only ``ranges`` of what ``incident`` took are still missing."""

    def note_version(self, incidents: list[int], version: tuple[int, int] | None) -> None:
        """The file that lost ``incidents`` has this size and mtime since, if that is known."""

    def acknowledged(self, path: bytes) -> bool:
        """Whether somebody has acknowledged all that the file at ``path`` lost. False if it lost no bytes."""

    def files(self, path: bytes) -> list[str]:
        """The files that hold what the file at ``path`` lost."""

    def wait_saved(self) -> None:
        """Waits, in a thread, until what was handed over is saved."""


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
        """``losses`` receives everything that can no longer be written."""
        self.config = config
        self.owners = IdMap(config.ownership, (os.getuid(), os.getgid()))
        self._naming = naming = OwnerNamesRemote(remote, self.owners) if self.owners.by_name else None
        remote = naming or remote
        self._remote = remote
        self.tree = Tree(root, root_attributes, config.cache, remote.clock)
        remote.named_by(self.tree.current_path_at)
        self.contents = Contents(config.data, self, remote.clock)
        self.background = BackgroundTasks()
        self.softreval = SoftRevalidation(
            remote, config.cache.enabled and config.cache.stat_timeout > 0, self.background
        )
        self.listings = DirectoryReader(self.tree, remote, config.symlinks, self.background.spawn)
        self.prefetcher = Prefetcher(self.tree, remote, self.contents, self.listings, self.background)
        mountpoint = os.fsencode(os.path.abspath(config.mountpoint))
        identity = FileIdentity(self.tree, remote)
        self.cases = LetterCase(self.tree, remote)
        self.resolver = Resolver(
            self.tree,
            remote,
            self.prefetcher,
            self.softreval,
            identity,
            self.cases,
            config.symlinks,
            mountpoint,
        )
        self.namespace = Namespace(
            self.tree, remote, identity, self.cases, self.owners, config.hard_links, naming
        )
        self.files = OpenOperations(
            self.tree,
            remote,
            self.resolver,
            identity,
            self.namespace,
            self.contents,
            self.prefetcher,
            self.softreval,
        )
        self._login = LoginIds(self.tree, remote, self.owners, config)
        self.refresher = Refresher(self.tree, self.listings, self.resolver)
        self.copier = ServerCopier(self.tree, remote, identity, config.pool.reconnect)
        self.remover = TreeRemover(
            self.tree,
            remote,
            self.namespace,
            self.resolver,
            self.background,
            lambda inode: self.attributes_changed(inode),
        )
        self.attributes = SetattrOperations(self.tree, remote, self.resolver, identity, self.owners, naming)
        self.attributes_changed: Callable[[Inode], None] = _no_kernel_yet
        """Makes the kernel ask for the attributes of an inode again; set by ``fuse``."""
        self.memory = MemoryBound(self.tree)
        self.tree.over_limit = partial(self.background.spawn, self.memory.make_room)
        self.forget_names: Callable[[Entries, Numbers], Awaitable[None]] = _nothing_to_forget
        """Makes the kernel forget names (directory's number, name) and inodes, which waits for requests
        about them; set by ``fuse``."""
        self.tree.notify_kernel = self._notify_kernel
        self._losses = losses
        self.tree.last_name_removed = self._nameless
        self._unreported: dict[int, Unwritten] = {}
        """By inode number, which may be forgotten since, the first failed write that nobody was surely told
        of, until it is acknowledged."""
        self._statistics: FilesystemStatistics | None = None
        self._statistics_expire = 0.0

    async def learn_owner(self) -> None:
        """Finds out who we are on the server, before anything is shown. Two round trips."""
        with suppress(OSError):  # then ids are shown as the server has them
            await self._login.learn()
            if self._naming is not None:
                await self._naming.know((self.tree.root.attributes,), self.tree.root_path)

    async def learn_owner_by_root(self) -> None:
        """Finds it out by what is in the root, which was listed."""
        with suppress(OSError):
            await self._login.learn_by_root()

    def appearance(self, inode: Inode) -> Appearance:
        """What stat shows now, from memory. EPERM for unmapped ids with nomap=error."""
        attributes = inode.attributes
        mode, uid, gid = self.owners.show(attributes)
        _, size, _, _, atime, mtime, links = attributes
        ctime_ns = inode.ctime_ns or mtime * NANOSECONDS
        content = inode.content
        if content is not None and content.dirty:
            if content.size is not None:
                size = content.size
            ours = content.mtime
            if ours is not None:
                mtime = ours
                if content.server_dated and mtime * NANOSECONDS > ctime_ns:
                    self.tree.written(inode, mtime)
                    ctime_ns = inode.shown_ctime_ns
        if inode.set_ns is None:
            atime_ns, mtime_ns = atime * NANOSECONDS, mtime * NANOSECONDS
        else:
            atime_ns, mtime_ns = inode.shown_times_ns(mtime)
        nlink = 0 if not inode.linked else links if links > 1 else 1
        if inode.aliases:
            nlink = max(nlink, 1 + len(inode.aliases))
        # The constructor of a NamedTuple costs twice as much, for every entry listed.
        return _new_tuple(Appearance, (mode, nlink, uid, gid, size, atime_ns, mtime_ns, ctime_ns))

    async def date(self, inode: Inode, *, patient: bool) -> None:
        """Has the server report the time of what was written to ``inode`` so far, for a program that wrote it
        and may compare this time with the file's later. Not while the server is away. Costs one round trip,
        which ``close`` then does not make; everything written is sent before. If not ``patient``, waits
        ``PATIENCE`` seconds at most.
        """
        content = inode.content
        assert content is not None
        await self.softreval.ask(partial(content.date, inf if patient else PATIENCE), lambda: (None,))

    async def listing(self, inode: Inode) -> Snapshot:
        """Every name, for a program that lists; of a large directory those that came first. Also starts the
        listings that it will want next."""
        self.prefetcher.on_listing(inode)
        listed = await self.softreval.ask(
            partial(self.listings.listing, inode), partial(self.listings.expired, inode)
        )
        self.prefetcher.advance()
        return listed

    def access(self, inode: Inode, mask: int) -> bool:
        """access(2), as far as mode bits tell; the server decides in the end. The kernel knows whether the
        mount is read-only, and has checked that before."""
        return self.owners.permits(inode.attributes, mask)

    async def statfs(self) -> FilesystemStatistics | None:
        """The server's figures for the root, at most a second old, or the last ones while the server is away;
        None if it has none."""
        if self._statistics_expire > clock.now():
            return self._statistics
        return await self.softreval.ask(
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

    def content_reported(self, number: int, attributes: Attributes) -> None:
        """What the server has of inode ``number`` beneath what we are still writing."""
        inode = self.tree.find(number)
        if inode is not None and stat.S_ISREG(attributes.mode):
            # While we write, size and time are ours, so this is no other version than the known one.
            known = inode.attributes
            attributes = attributes._replace(size=known.size, mtime=known.mtime)
            self.tree.own_change(inode, attributes, dated=True)

    def content_unknown(self, number: int) -> None:
        """Inode ``number`` has lost what was written, and nobody reported what it is like now. It is asked
        for, so that an old end of file is not shown for what the file became since."""
        inode = self.tree.find(number)
        if inode is not None:
            self.tree.expire(inode)

    def statistics(self) -> dict[str, int]:
        """Counters of names, of what was asked for ahead, and of content."""
        return {
            **self.tree.statistics(),
            **self.prefetcher.statistics(),
            **self.contents.statistics(),
            "answered_offline": self.softreval.served,
        }

    def misses(self) -> dict[str, dict[str, int]]:
        """Why the server was asked for names, listings (``tree.miss_counts``) and content
        (``data.buffers.chunk_cache``): reason → how often."""
        return {
            "names": dict(self.resolver.misses.counts),
            "listings": dict(self.listings.misses.counts),
            "content": self.contents.misses(),
        }

    def content_outdated(self, number: int, attributes: Attributes) -> None:
        """A read met another version than the kernel was told of: makes the kernel ask again."""
        inode = self.tree.find(number)
        if inode is not None and stat.S_ISREG(attributes.mode):
            self.tree.refresh(inode, attributes, named=False)
            self.attributes_changed(inode)

    def _notify_kernel(self, names: Entries, inodes: list[Inode]) -> Slot[None]:
        """As ``Tree.notify_kernel``: of the names beside the requests that hold their directories."""
        for inode in inodes:
            self.attributes_changed(inode)
        invalidated: Slot[None] = Slot()
        if not self.background.spawn(self._forget_names, names, invalidated):
            invalidated.set(None)
        return invalidated

    async def _forget_names(self, names: Entries, invalidated: Slot[None]) -> None:
        try:
            await self.forget_names(names, [])
        finally:
            invalidated.set(None)

    def content_lost(self, number: int, lost: LostBytes) -> None:
        """Bytes of inode ``number`` will never be on the server."""
        self._losses.record_loss(self._path_known(number), lost)

    def content_remains(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """The rest of what was lost then was written again, or cut off."""
        self._losses.narrow_loss(incident, ranges)

    def content_left(self, incidents: list[int], attributes: Attributes | None) -> None:
        """The size and time of the file after it lost bytes."""
        self._losses.note_version(
            incidents, None if attributes is None else (attributes.size, attributes.mtime)
        )

    def content_unreported(self, number: int, failure: OSError) -> None:
        """A write of inode ``number`` failed, and its program may not know: ``flush`` and ``drain`` report
        it."""
        self._unreported.setdefault(number, Unwritten(self._path_known(number), failure))

    def content_made_good(self, number: int) -> None:
        """What inode ``number`` had lost no longer counts as lost, though it may still be saved."""
        self._unreported.pop(number, None)

    def _nameless(self, inode: Inode) -> None:
        """The last name of ``inode`` was removed here, or another file has it: nobody misses what it lost."""
        self.contents.made_good(inode.number)

    async def drain(self) -> list[Unwritten]:
        """Brings everything dirty to the server. Returns what could not be written and nobody was surely told
        of."""
        return self._unwritten(await self.contents.drain())

    def give_up(self, failure: OSError) -> list[Unwritten]:
        """As ``drain``, but at once: what is not on the server is lost, because of ``failure``."""
        return self._unwritten(self.contents.give_up(failure))

    async def flush(self) -> list[str]:
        """Brings what was written so far to the server, as ``drain`` but without ending. Returns lines."""
        failed = self._unwritten(await self.contents.settle_all())
        if failed:
            await in_thread(self._losses.wait_saved)
        return [self.describe_unwritten(one) for one in failed]

    def describe_unwritten(self, unwritten: Unwritten) -> str:
        """For a person: which file, why, and where its data is."""
        path, failure = unwritten
        files = self._losses.files(path)
        where = f"; saved in {', '.join(files)}" if files else ""
        return f"{os.fsdecode(path)}: {failure.strerror or failure}{where}"

    def name(self, number: int) -> str:
        """The path on the server of an inode, for a person."""
        return os.fsdecode(self._path_known(number))

    def _unwritten(self, failures: list[tuple[int, OSError]]) -> list[Unwritten]:
        """``failures``, and earlier ones on record, without those that somebody has acknowledged."""
        found = {number: Unwritten(self._path_known(number), problem) for number, problem in failures}
        found |= self._unreported
        for number in [number for number, one in found.items() if self._losses.acknowledged(one.path)]:
            del found[number]
            self._unreported.pop(number, None)
        return list(found.values())

    def _path_known(self, number: int) -> bytes:
        """The path on the server, or the last one if it has none any more; for people."""
        inode = self.tree.find(number)
        return last_path_of(inode, self.tree.root_path) if inode is not None else b"inode %d" % number


async def _nothing_to_forget(_entries: Entries, _inodes: Numbers) -> None:
    """As ``_no_kernel_yet``."""


def _no_kernel_yet(inode: Inode) -> None:
    """Before the kernel is attached it holds nothing that could be outdated."""
