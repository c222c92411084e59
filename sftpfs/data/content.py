"""The content of one file, and of all files of the mount.

``FileContent`` joins state, reader and writer of one inode and decides, open by open,
whether what was read before may still be used. ``Contents`` is what vfs makes at mount.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from math import inf
from weakref import WeakSet

import trio

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.config import DataConfig
from sftpfs.data.chunks import CHUNK_SHIFT
from sftpfs.data.extents import DirtyExtents
from sftpfs.data.handle import FileHandle
from sftpfs.data.reader import ContentReader
from sftpfs.data.state import ContentObserver, ContentState, HandleState, MountContent
from sftpfs.data.writer import LINGER_SECONDS, ContentWriter
from sftpfs.remote.api import RemoteFile
from sftpfs.server_clock import ServerClock
from sftpfs.types import AttributeChange, Attributes, WholeFile

OUTAGE = (errno.ETIMEDOUT, errno.ESTALE)
"""What writes fail with that the server did not refuse: it was away, or the file was another one then."""


class FileContent:
    """The content of one inode, shared by all its handles."""

    __slots__ = ("__weakref__", "_dropping", "_mount", "_state", "_users", "handles", "reader", "writer")

    def __init__(self, number: int, mount: MountContent) -> None:
        extents: DirtyExtents[HandleState] = DirtyExtents()
        self._mount = mount
        self._state = ContentState(number, mount.clock)
        self.handles: list[HandleState] = []
        """The open handles, oldest first."""
        self._dropping = 0
        """How many of them ``drops_pages``."""
        self._users: dict[RemoteFile, int] = {}
        """How many use a file that is open on the server: lent to another open, or to who asks by it.
        INVARIANT: what nobody uses is closed."""
        self.reader = ContentReader(self._state, mount, extents)
        self.writer = ContentWriter(self._state, mount, extents, self.reader, self.handles)

    @property
    def number(self) -> int:
        """The inode's number."""
        return self._state.number

    @property
    def epoch(self) -> int:
        """Grows with every local change of content: attributes asked for before it are outdated."""
        return self._state.epoch

    @property
    def dirty(self) -> bool:
        """Writes are absorbed or under way, or the server has not told its attributes since."""
        return self._state.dirty

    @property
    def kept(self) -> bool:
        """It is dirty, or has lost what may be written again: it must not be forgotten."""
        return self._state.dirty or bool(self.writer.losses.incidents)

    @property
    def size(self) -> int | None:
        """Bytes, while dirty: rules over the server's. None while clean."""
        return self._state.size

    @property
    def mtime(self) -> int | None:
        """Seconds since 1970, while dirty: rules over the server's. None while clean."""
        return self._state.mtime

    @property
    def undated(self) -> bool:
        """``mtime`` is taken to be so: the server dates the last write, and has not told yet."""
        return self._state.undated

    @property
    def server_dated(self) -> bool:
        """The mtime is the server's own word on our last write, no time that was set."""
        return self._state.server_dated

    @property
    def deferring(self) -> bool:
        """Changes of mode or times are on their way that the server's attributes may not show yet."""
        return self.writer.rider.deferred.shown is not None

    @property
    def may_defer(self) -> bool:
        """The handle that created the file is open still: ``defer`` may be called."""
        return self.writer.rider.creator() is not None

    def defer(self, change: AttributeChange, *, demanded: bool) -> None:
        """Send ``change`` (mode, times) with the next flush, within a second or two at the latest.

        Where ``demanded`` a failure is reported as a failed write is. Only while ``may_defer``.
        """
        self.writer.defer(change, demanded)

    def over(self, attributes: Attributes) -> Attributes:
        """``attributes`` as the server tells them, with deferred changes laid over."""
        return self.writer.rider.deferred.over(attributes)

    def awaits_appends(self, end: int) -> bool:
        """Would a read up to ``end`` miss what was appended and has no place in the file yet?"""
        state = self._state
        return state.appending and bool(self.writer.extents) and end > state.server_size

    def ask(self) -> Slot[Attributes] | None:
        """Where something is dirty: ask the server what it has beneath, for an open that begins now."""
        settlement = self.writer.ask(hurry=True) if self._state.dirty else None
        return settlement.slot if settlement is not None else None

    async def advance(self) -> None:
        """Everything written or asked for is done or failed; a failure stays for the handles."""
        await self.writer.flush(None)

    def attach(
        self,
        remote: RemoteFile,
        *,
        readable: bool,
        writable: bool,
        append: bool,
        synchronous: bool,
        direct: bool,
        known: Attributes,
        ahead: bool = False,
        created: bool = False,
        whole: WholeFile | None = None,
        asked: float = 0.0,
    ) -> tuple[FileHandle, bool]:
        """A new handle, and whether the kernel may keep the pages it has (close-to-open).

        ``known`` came with the OPEN. What is dirty is newer and stays; of what is clean beneath nothing
        does, for our own writes hide whether others changed it.
        ``ahead``: this open is answered by what ``prefetched`` brought, which was open,
        FSTAT and READ in one. ``created``: this open made the file. ``whole``: all of it, read
        by this open, which was sent at ``asked`` (``clock.now``); its bytes are in the budget as for
        ``prefetched``. Not while dirty.
        """
        state, config = self._state, self._mount.config
        handle = FileHandle(
            self,
            remote,
            readable=readable,
            writable=writable,
            append=append,
            synchronous=synchronous or config.synchronous_writes,
            direct=direct or config.direct_io,
        )
        remote.refused = partial(self.writer.refused, handle)
        handle.fsync_writes = synchronous
        handle.created = created and writable and not handle.synchronous
        keep_cache = True
        if ahead:
            keep_cache = not state.pages_stale and self._mount.config.auto_cache
            state.pages_stale = False
            state.verify = True
        elif not state.dirty:
            if not state.unchanged(known):
                self.reader.drop()
                keep_cache = False
            state.attributes = known
            state.verify = True
            state.pages_stale = False
            keep_cache = (keep_cache and config.auto_cache) or config.kernel_cache
            if whole is not None:
                state.fetching(asked)
                self.reader.install(whole.data)
        elif not created:
            self.reader.forget()
            state.pages_stale = False
            keep_cache = config.kernel_cache
        handle.fsync_error = self.writer.telling.unheard
        if self._dropping:
            keep_cache = False
        handle.drops_pages = not (keep_cache or created)
        self._dropping += handle.drops_pages
        self._users[remote] = self._users.get(remote, 0) + 1
        self.handles.append(handle)
        return handle, keep_cache

    def prefetched(self, whole: WholeFile, asked: float) -> bool:
        """Keep a small file fetched before anybody opened it, asked for at ``asked`` (``clock.now``); False
        where it may not be used.

        The caller reserved its bytes with ``Contents.reserve``; here they are used or given back.
        """
        state, mount = self._state, self._mount
        size = len(whole.data)
        if state.dirty or self.handles:
            mount.budget.waste(size)
            return False
        if not state.unchanged(whole.attributes):
            self.reader.drop()  # and what the kernel has of before
        state.attributes = whole.attributes
        state.fetching(asked)
        self.reader.install(whole.data)
        return True

    @property
    def version(self) -> Attributes | None:
        """What the server told of what is in memory; None while dirty, or where nothing is known."""
        return None if self._state.dirty else self._state.attributes

    @property
    def beneath(self) -> Attributes | None:
        """What the server told last, also while dirty; None where nothing is known."""
        return self._state.attributes

    @property
    def fetched(self) -> bool:
        """Bytes of this version were asked for: the kernel may hold them, also where we do no more."""
        return self._state.witnessed is not None

    def holds_all(self) -> bool:
        """True where every byte of the file is in memory and clean."""
        state = self._state
        return not state.dirty and state.attributes is not None and self.reader.holds(state.server_size)

    def kept_pages(self, handle: HandleState) -> None:
        """The kernel has used ``handle``, and so dropped what it had of before."""
        handle.drops_pages = False
        self._dropping -= 1

    @contextmanager
    def using(self, remote: RemoteFile) -> Iterator[None]:
        """``remote`` stays open meanwhile, though the handle it belongs to may be released."""
        self._users[remote] = self._users.get(remote, 0) + 1
        try:
            yield
        finally:
            self._used(remote)

    def _used(self, remote: RemoteFile) -> None:
        self._users[remote] -= 1
        if not self._users[remote]:
            del self._users[remote]
            remote.close()
            remote.refused = _heard  # it holds the handle, which holds it

    def detach(self, handle: HandleState) -> None:
        """``handle`` is released; what it has open is closed where nobody else uses that."""
        try:
            self._detach(handle)
        finally:
            self._used(handle.remote)

    @staticmethod
    def closed(handle: HandleState) -> None:
        """No descriptor of ``handle`` is left: its last close counts, if that told a program that lived."""
        # Whose close happens to be the next after an outage, a script's mostly, does not look at it.
        if handle.listened and handle.error is not None and handle.error.errno not in OUTAGE:
            handle.unheard = False

    def _detach(self, handle: HandleState) -> None:
        self.closed(handle)
        if handle.error is not None and handle.unheard:
            self._mount.untold(self.number, handle.error)
        self.handles.remove(handle)
        self._dropping -= handle.drops_pages
        self.writer.rider.detached(handle)
        if self.handles:
            return
        self.reader.unused()
        if self._state.dirty and not self.writer.extents:
            self.writer.settling.abandon()

    def told_by_write(self, handle: HandleState, failure: OSError) -> None:
        """``write`` tells ``handle`` of it: a script's next command, with the same descriptor, does not look
        at what was lost before. (A stale handle goes on telling, at every use.)"""
        if failure.errno == errno.ETIMEDOUT and handle.unheard and self.writer.losses.incidents:
            self._mount.untold(self.number, failure)

    def truncated(self, attributes: Attributes) -> None:
        """The server set a new size (SETSTAT by path, or O_TRUNC): ``attributes`` tell it."""
        self.changed(attributes, resized=True)
        if not attributes.size:
            self.writer.telling.unheard = (
                None  # who opens a file emptied since need not know what was lost of it
            )

    def changed(self, attributes: Attributes, *, resized: bool) -> None:
        """A change of ours is done, ``attributes`` are what the file has now."""
        state = self._state
        state.epoch += 1
        if resized:
            state.generation += 1
            state.resizes += 1
            self.writer.losses.cut(attributes.size)
        if resized or state.dirty:
            self.reader.drop_from(min(state.server_size, attributes.size) >> CHUNK_SHIFT)
        elif attributes.size != state.server_size:
            self.reader.drop()
        if not state.same_version(attributes):
            state.trusted = False
        if state.dirty and resized:
            self.writer.settling.rebase(attributes)
        else:
            state.attributes = attributes
            if not state.dirty:
                self.writer.losses.told(attributes)

    def redated(self) -> None:
        """The mtime was set at our word, to what it was perhaps: it hides a change by others before."""
        self._state.trusted = False

    def rewritten(self, attributes: Attributes) -> None:
        """The server has put other content there at our word: ``attributes`` are what the file has now."""
        self.reader.drop()
        self.changed(attributes, resized=True)

    def invalidate(self) -> None:
        """Another version was found: drop what is clean."""
        self.reader.drop()
        self._state.verify = True

    def revalidated(self, attributes: Attributes) -> bool:
        """LSTAT told ``attributes``; True where they are of another version, now dropped."""
        state = self._state
        if state.dirty or state.attributes is None:
            return False
        if state.same_version(attributes):
            return False
        self.reader.drop()
        state.attributes = attributes
        state.verify = True
        return True

    def found(self, attributes: Attributes) -> None:
        """An open handle tells that others have changed the file, which is clean: it has ``attributes``."""
        if not self._state.dirty and not self._state.same_version(attributes):
            self._mount.observer.content_outdated(self.number, attributes)

    async def settle(self) -> Attributes | None:
        """As ``ContentWriter.settle``: what was written before is acknowledged (no fsync)."""
        with self._all_open():
            return await self.writer.settle()

    async def date(self, patience: float) -> None:
        """The server has told the time of what was written before, where nothing was written since, and this
        takes no longer than ``patience`` seconds: that is waited for once, as it will take longer again until
        the file is clean. What failed stays for the handles."""
        state = self._state
        if patience < inf and state.dates_late:
            return
        with trio.move_on_after(patience) as scope, self._all_open():
            await self.writer.flush(None)
        state.dates_late = scope.cancelled_caught and state.dirty

    @contextmanager
    def _all_open(self) -> Iterator[None]:
        """Who is asked stays open meanwhile: released, it would not be opened again where its connection is
        lost."""
        with ExitStack() as held:
            for handle in self.handles:
                held.enter_context(self.using(handle.remote))
            yield

    def forget(self) -> None:
        """The inode is gone."""
        self.reader.drop()


class Contents:
    """The content of every file of the mount."""

    def __init__(self, config: DataConfig, observer: ContentObserver, server_clock: ServerClock) -> None:
        self._mount = MountContent(config, observer, server_clock)
        self._open: WeakSet[FileContent] = WeakSet()

    def create(self, number: int) -> FileContent:
        """The content of a new inode."""
        content = FileContent(number, self._mount)
        self._open.add(content)
        return content

    def reserve(self, size: int) -> bool:
        """Room for ``size`` bytes that nobody has asked for yet? Their use or ``unreserve`` must follow."""
        config = self._mount.config
        return config.read_ahead and not config.direct_io and self._mount.budget.take(size)

    def unreserve(self, size: int) -> None:
        """What was reserved did not come."""
        self._mount.budget.waste(size)

    async def run(self) -> None:
        """Send what nobody flushes; for the life of the mount, until cancelled."""
        while True:
            await trio.sleep(LINGER_SECONDS / 2)
            now = clock.wall_ns()
            for writer in list(self._mount.dirty.values()):
                writer.tidy(now)

    async def drain(self) -> list[tuple[int, OSError]]:
        """Everything dirty to the server; what nobody was told of (``untold``)."""
        mount = self._mount
        mount.send_all()
        for writer in list(mount.dirty.values()):
            with suppress(OSError):  # the handles know of it
                await writer.settle()
        return self.untold()

    def give_up(self, failure: OSError) -> list[tuple[int, OSError]]:
        """As ``drain``, but at once: whatever is not on the server is lost, for ``failure``."""
        for writer in list(self._mount.dirty.values()):
            writer.give_up(failure)
        return self.untold()

    def untold(self) -> list[tuple[int, OSError]]:
        """By inode number the first failed write of which no program was surely told, by ``write`` or
        ``fsync``: each once of handles that are released, and of those that are open until they are told.
        """
        failed = self._mount.failed.copy()
        self._mount.failed.clear()
        for content in list(self._open):
            for handle in content.handles:
                if handle.error is not None and handle.unheard:
                    failed.setdefault(content.number, handle.error)
        return list(failed.items())

    def made_good(self, number: int) -> None:
        """What inode ``number`` has lost is missed by nobody any more."""
        self._mount.made_good(number)

    async def settle_all(self) -> list[tuple[int, OSError]]:
        """Everything written so far is acknowledged or failed; inode numbers and errors of what failed,
        and of what nobody was told of before. The handles tell theirs all the same.
        """
        mount = self._mount
        failed: dict[int, OSError] = {}

        async def settle(writer: ContentWriter) -> None:
            try:
                problem = await writer.flush(None)
            except OSError as error:
                problem = error
            if problem is not None:
                failed[writer.number] = problem

        mount.send_all()
        async with trio.open_nursery() as nursery:
            for writer in list(mount.dirty.values()):
                nursery.start_soon(settle, writer)
        return list((failed | dict(self.untold())).items())

    def dirty(self) -> list[tuple[int, int]]:
        """(inode number, size in bytes) of every file with something that is not on the server yet."""
        return [(number, writer.extents.held) for number, writer in self._mount.dirty.items()]

    @property
    def dirty_bytes(self) -> int:
        """Bytes written and not yet acknowledged by the server."""
        return self._mount.gate.held

    def statistics(self) -> dict[str, int]:
        """Counters since the mount, and sizes now, in bytes where they say so."""
        mount = self._mount
        chunks, budget = mount.chunks, mount.budget
        return {
            "chunk_hits": chunks.hits,
            "chunk_misses": chunks.misses,
            "chunk_evictions": chunks.evicted,
            "cached_bytes": chunks.held,
            "read_ahead_issued_bytes": budget.issued,
            "read_ahead_used_bytes": budget.used,
            "read_ahead_wasted_bytes": budget.wasted,
            "read_ahead_held_bytes": budget.held,
            "read_ahead_window_bytes": mount.link.window,
            "dirty_bytes": mount.gate.held,
            "dirty_files": len(mount.dirty),
        }


def _heard(_: OSError) -> None:
    """What is closed has told whom it will tell."""
