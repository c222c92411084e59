"""The content of one file, shared by all its handles.

Joins state, reader and writer of one inode and decides, open by open, whether what was read before may still
be used. Made by ``data.contents``.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from math import inf

import trio

from sftpfs.aio import Slot
from sftpfs.data.buffers.chunk_cache import CHUNK_SHIFT
from sftpfs.data.buffers.dirty_extents import DirtyExtents
from sftpfs.data.content_state import ContentState, HandleState, SharedBuffers
from sftpfs.data.file_handle import FileHandle
from sftpfs.data.reader import ContentReader
from sftpfs.data.writing.writer import ContentWriter
from sftpfs.remote.api import RemoteFile
from sftpfs.types import AttributeChange, Attributes, OpenMode, WholeFile

OUTAGE = (errno.ETIMEDOUT, errno.ESTALE)
"""Errors of writes that the server did not refuse: it was away, or the file was another one by then."""


class FileContent:
    """The content of one inode, shared by all its handles."""

    __slots__ = ("__weakref__", "_dropping", "_mount", "_state", "_users", "handles", "reader", "writer")

    def __init__(self, number: int, mount: SharedBuffers) -> None:
        extents: DirtyExtents[HandleState] = DirtyExtents()
        self._mount = mount
        self._state = ContentState(number, mount.clock)
        self.handles: list[HandleState] = []
        """The open handles, oldest first."""
        self._dropping = 0
        """How many of them ``drops_pages``."""
        self._users: dict[RemoteFile, int] = {}
        """How many use a file that is open on the server: lent to another open, or to somebody who asks by
        it. INVARIANT: what nobody uses is closed."""
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
        """Writes are absorbed or under way, or the server has not reported its attributes since."""
        return self._state.dirty

    @property
    def kept(self) -> bool:
        """It is dirty, or has lost what may be written again, so it must not be forgotten."""
        return self._state.dirty or bool(self.writer.losses.incidents)

    @property
    def size(self) -> int | None:
        """Bytes, while dirty: takes precedence over the server's. None while clean."""
        return self._state.size

    @property
    def mtime(self) -> int | None:
        """Seconds since 1970, while dirty: takes precedence over the server's. None while clean."""
        return self._state.mtime

    @property
    def undated(self) -> bool:
        """``mtime`` is an estimate: the server dates the last write, and has not reported the time yet."""
        return self._state.undated

    @property
    def server_dated(self) -> bool:
        """The mtime is the server's own word on our last write, no time that was set."""
        return self._state.server_dated

    @property
    def deferring(self) -> bool:
        """Changes of mode or times are on their way that the server's attributes may not show yet."""
        return self.writer.piggyback.deferred.effective is not None

    @property
    def may_defer(self) -> bool:
        """The handle that created the file is open still: ``defer`` may be called."""
        return self.writer.piggyback.creating_handle() is not None

    def defer(self, change: AttributeChange, *, demanded: bool) -> None:
        """Sends ``change`` (mode, times) with the next flush, within a second or two at the latest.

        If ``demanded``, a failure is reported as a failed write is. Only while ``may_defer``.
        """
        self.writer.defer(change, demanded)

    def over(self, attributes: Attributes) -> Attributes:
        """``attributes`` as the server tells them, with deferred changes laid over."""
        return self.writer.piggyback.deferred.apply_to(attributes)

    def awaits_appends(self, end: int) -> bool:
        """Whether a read up to ``end`` would miss what was appended and has no place in the file yet."""
        state = self._state
        return state.appending and bool(self.writer.extents) and end > state.server_size

    def ask(self) -> Slot[Attributes] | None:
        """If something is dirty, asks the server what it has beneath, for an open that begins now."""
        settlement = self.writer.ask(hurry=True) if self._state.dirty else None
        return settlement.slot if settlement is not None else None

    async def advance(self) -> None:
        """Everything written or asked for is done or failed; a failure stays for the handles."""
        await self.writer.flush(None)

    def attach(
        self,
        remote: RemoteFile,
        mode: OpenMode,
        *,
        known: Attributes,
        ahead: bool = False,
        created: bool = False,
        whole: WholeFile | None = None,
        asked: float = 0.0,
    ) -> tuple[FileHandle, bool]:
        """A new handle, and whether the kernel may keep the pages it has (close-to-open).

        ``known`` came with the OPEN. What is dirty is newer and stays. Nothing clean beneath it stays,
        because our own writes hide whether others changed it. ``ahead``: this open is answered by what
        ``prefetched`` brought, which was open, FSTAT and READ in one. ``created``: this open made the file.
        ``whole``: all of the file, read by this open, which was sent at ``asked`` (``clock.now``); its bytes
        are in the budget as for ``prefetched``. Not while dirty.
        """
        state, config = self._state, self._mount.config
        direct = mode.direct or config.direct_io
        synchronous = mode.synchronous or config.synchronous_writes
        handle = FileHandle(self, remote, mode._replace(direct=direct, synchronous=synchronous))
        remote.refused = partial(self.writer.refused, handle)
        handle.fsync_writes = mode.synchronous
        handle.created = created and mode.writable and not handle.synchronous
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
        handle.fsync_error = self.writer.write_errors.unheard
        if self._dropping:
            keep_cache = False
        handle.drops_pages = not (keep_cache or created)
        self._dropping += handle.drops_pages
        self._users[remote] = self._users.get(remote, 0) + 1
        self.handles.append(handle)
        return handle, keep_cache

    def prefetched(self, whole: WholeFile, asked: float) -> bool:
        """Keeps a small file that was fetched before anybody opened it, asked for at ``asked``
        (``clock.now``). False if it may not be used.

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
        """The server's attributes of what is in memory; None while dirty, or if nothing is known."""
        return None if self._state.dirty else self._state.attributes

    @property
    def beneath(self) -> Attributes | None:
        """What the server last reported, also while dirty; None if nothing is known."""
        return self._state.attributes

    @property
    def fetched(self) -> bool:
        """Bytes of this version were asked for: the kernel may hold them, even if we no longer do."""
        return self._state.earliest_fetch is not None

    def holds_all(self) -> bool:
        """True if every byte of the file is in memory and clean."""
        state = self._state
        return not state.dirty and state.attributes is not None and self.reader.holds(state.server_size)

    def kept_pages(self, handle: HandleState) -> None:
        """The kernel has used ``handle``, and so has dropped what it had before."""
        handle.drops_pages = False
        self._dropping -= 1

    @contextmanager
    def using(self, remote: RemoteFile) -> Iterator[None]:
        """``remote`` stays open meanwhile, even if the handle that it belongs to is released."""
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
        """``handle`` is released; what it has open is closed if nobody else uses that."""
        try:
            self._detach(handle)
        finally:
            self._used(handle.remote)

    @staticmethod
    def closed(handle: HandleState) -> None:
        """No descriptor of ``handle`` is left. Its last close counts, if that reported to a program that
        lived."""
        # The next close after an outage is usually a script's, which does not look at its result.
        if handle.listened and handle.error is not None and handle.error.errno not in OUTAGE:
            handle.unheard = False

    def _detach(self, handle: HandleState) -> None:
        self.closed(handle)
        if handle.error is not None and handle.unheard:
            self._mount.unreported(self.number, handle.error)
        self.handles.remove(handle)
        self._dropping -= handle.drops_pages
        self.writer.piggyback.detached(handle)
        self.writer.undecided.decided(handle)
        if self.handles:
            return
        self.reader.unused()
        if self._state.dirty and not self.writer.extents:
            self.writer.settling.settle_unconfirmed()

    def reported_by_write(self, handle: HandleState, failure: OSError) -> None:
        """``write`` reports it to ``handle``. The next command of a script, with the same descriptor, does
        not look at what was lost before. (A stale handle reports it again at every use.)"""
        if failure.errno == errno.ETIMEDOUT and handle.unheard and self.writer.losses.incidents:
            self._mount.unreported(self.number, failure)

    def truncated(self, attributes: Attributes) -> None:
        """The server set a new size (SETSTAT by path, or O_TRUNC): ``attributes`` tell it."""
        self.changed(attributes, resized=True)
        if not attributes.size:
            self.writer.write_errors.unheard = (
                None  # a program that opens a file emptied since need not know what it lost
            )

    def changed(self, attributes: Attributes, *, resized: bool) -> None:
        """A change of ours is done, ``attributes`` are what the file has now."""
        state = self._state
        state.epoch += 1
        if resized:
            state.generation += 1
            state.resizes += 1
            self.writer.losses.cut(attributes.size)
            self.writer.undecided.cut(attributes.size)
        if resized or state.dirty:
            self.reader.drop_from(min(state.server_size, attributes.size) >> CHUNK_SHIFT, "written")
        elif attributes.size != state.server_size:
            self.reader.drop()
        if not state.same_version(attributes):
            state.trusted = False
        if state.dirty and resized:
            self.writer.settling.rebase(attributes)
        else:
            state.attributes = attributes
            if not state.dirty:
                self.writer.losses.clean_as(attributes)

    def redated(self) -> None:
        """The mtime was set by us, perhaps to what it was: it hides a change by others before."""
        self._state.trusted = False

    def rewritten(self, attributes: Attributes) -> None:
        """The server has put other content there by our request: ``attributes`` are what the file has now."""
        self.reader.drop("written")
        self.changed(attributes, resized=True)

    def invalidate(self) -> None:
        """Another version was found: drop what is clean."""
        self.reader.drop()
        self._state.verify = True

    def revalidated(self, attributes: Attributes) -> bool:
        """LSTAT reported ``attributes``. True if they are of another version; the content is now dropped."""
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
        """The server has reported the time of what was written before, if nothing was written since and this
        takes no longer than ``patience`` seconds. That is waited for once, because until the file is clean it
        will take as long again. Handles still report what failed."""
        state = self._state
        if patience < inf and state.dates_late:
            return
        with trio.move_on_after(patience) as scope, self._all_open():
            await self.writer.flush(None)
        state.dates_late = scope.cancelled_caught and state.dirty

    @contextmanager
    def _all_open(self) -> Iterator[None]:
        """What is asked stays open meanwhile: once released, it would not be opened again if its connection
        is lost."""
        with ExitStack() as held:
            for handle in self.handles:
                held.enter_context(self.using(handle.remote))
            yield

    def forget(self) -> None:
        """The inode is gone."""
        self.reader.drop()


def _heard(_: OSError) -> None:
    """What is closed has told whom it will tell."""
