"""Reading one file: from chunks, from requests under way, from the server, under dirty data.

Owns the requests under way and which chunks of the file are cached. A read is answered from one version: if
the content turns out to be another while the read waits, it starts again.
"""

from __future__ import annotations

import errno

from sftpfs import clock, operation
from sftpfs.aio import Slot
from sftpfs.data.buffers.chunk_cache import CHUNK_BYTES, CHUNK_MASK, CHUNK_SHIFT
from sftpfs.data.buffers.dirty_extents import DirtyExtents, covers, overlay
from sftpfs.data.content_state import ContentState, HandleState, SharedBuffers
from sftpfs.data.reads_in_flight import Fetch, VersionCheck
from sftpfs.errors import error
from sftpfs.types import Buffer

MAX_DOUBTS = 2
"""How often a read that ends before the known size is repeated with FSTAT. The file may be cut just between
the two; and a file that reports a size it does not have must not keep us for ever."""

PAGES = frozenset({4 << 10, 16 << 10, 64 << 10})
"""Sizes in bytes that prove nothing: Linux reports a page for every file of /sys, whatever is in it."""


class ContentReader:
    """Everything read from one file.

    INVARIANT: no cached chunk and no pending fetch overlaps a dirty extent.
    INVARIANT: a cached chunk shorter than CHUNK_BYTES ends at the size of the known version.
    """

    __slots__ = ("_cached", "_extents", "_mount", "_pending", "_state", "_verification")

    def __init__(self, state: ContentState, mount: SharedBuffers, extents: DirtyExtents[HandleState]) -> None:
        self._state = state
        self._mount = mount
        self._extents = extents
        self._cached: set[int] = set()
        self._pending: dict[int, Fetch] = {}
        self._verification: VersionCheck | None = None

    # Lookups that never wait.

    def hit(self, handle: HandleState, offset: int, size: int) -> Buffer | None:
        """The bytes, if one cached chunk has them all; reads ahead on the way."""
        index = offset >> CHUNK_SHIFT
        if index not in self._cached or handle.direct:
            return None
        start = offset & CHUNK_MASK
        stop = start + size
        data = self._mount.chunks.find(self._state.number, index).data
        length = len(data)
        if stop > length:
            if start >= length or length == CHUNK_BYTES or self._state.dirty:
                return None
            size = length - start  # the chunk ends where the file does
        self._mount.chunks.hits += 1
        window = handle.window
        window.observe(offset, size)
        if window.size and window.front + window.size >= window.requested + CHUNK_BYTES:
            self._read_ahead(handle)
        return data if size == length else data[start:stop]

    async def read(self, handle: HandleState, offset: int, size: int) -> Buffer:
        """``size`` bytes at ``offset``, fewer only at the end of file. EIO if the server keeps reporting more
        than it gives."""
        sequential = handle.window.observe(offset, size)
        state = self._state
        counted = False
        doubts = 0
        while True:
            generation = state.generation
            end = offset + size if handle.direct else self._clamp(offset, offset + size)
            if end <= offset:
                return b""
            # What is all here is of the known version, and must not wait for a server that may be away.
            trusted = not doubts if handle.direct else self._has(offset, end)
            check = None if trusted else self._verify(handle)
            indices = None if handle.direct else self._chunks(offset, end, sequential)
            if indices is None:
                data = await self._read_range(handle, offset, end, check)
            else:
                reason = self._why_missing(offset, end)
                parts = [self._part(handle, index) for index in indices]
                if not counted:
                    self._count(handle, parts, sequential, reason)
                    counted = True
                if sequential:
                    self._read_ahead(handle)
                if check is not None:
                    await check.wait()
                usable = await self._arrived(handle, parts)
                data = self._assemble(parts, offset, end) if usable else None
            if data is None or state.generation != generation:
                continue
            if not self._too_short(data, offset, end):
                return data
            if doubts == MAX_DOUBTS:
                if state.server_size in PAGES:
                    return data
                raise error(errno.EIO, "the server reports a size that it has no bytes for")
            doubts += 1

    def _has(self, offset: int, end: int) -> bool:
        """Whether every chunk that holds [offset, end) is cached."""
        return all(
            index in self._cached for index in range(offset >> CHUNK_SHIFT, (end - 1 >> CHUNK_SHIFT) + 1)
        )

    def _why_missing(self, offset: int, end: int) -> str:
        """Of the first chunk of [offset, end) that is not here."""
        for index in range(offset >> CHUNK_SHIFT, (end - 1 >> CHUNK_SHIFT) + 1):
            if index not in self._cached:
                pending = index in self._pending
                return "awaited" if pending else self._mount.chunks.why_missing(self._state.number, index)
        return "new"

    def _too_short(self, data: Buffer, offset: int, end: int) -> bool:
        """Whether the file ends before the size that we know. Then it is another version: ask, and read
        again."""
        state = self._state
        if state.dirty or offset + len(data) >= min(end, state.server_size):
            return False
        state.verify = True
        return True

    def _clamp(self, offset: int, end: int) -> int:
        """``end``, or the end of file as known, because asking past it would cost another round trip."""
        state = self._state
        if state.dirty:
            return end if state.appending else min(end, state.shown_size)
        if offset < state.server_size:
            return min(end, state.server_size)
        state.verify = True  # somebody believes the file longer than we do
        return end

    def _count(
        self, handle: HandleState, parts: list[Fetch | memoryview], sequential: bool, reason: str
    ) -> None:
        """Counts a read as hit or miss. A sequential read that has to wait widens the window."""
        for part in parts:
            if isinstance(part, Fetch) and not part.slot.done:
                self._mount.chunks.missed(reason)
                if sequential:
                    handle.window.waited(self._mount.link.window)
                return
        self._mount.chunks.hits += 1

    async def _arrived(self, handle: HandleState, parts: list[Fetch | memoryview]) -> bool:
        """Waits for all ``parts``. False if one may not be used; then the read starts again."""
        usable = True
        for part in parts:
            if isinstance(part, Fetch):
                try:
                    await part.slot.wait()
                except OSError as failure:
                    # A fetch that ended with an operation which began before ours had less time than we have.
                    earlier = failure.errno == errno.ETIMEDOUT and part.begun < operation.begun()
                    if part.handle is handle and not (part.ahead or earlier):
                        raise
                    usable = False  # asked for by others or ahead: ask for ourselves
                usable = usable and not part.stale
        return usable

    def _chunks(self, offset: int, end: int, sequential: bool) -> range | None:
        """The chunks that hold [offset, end); None if only these bytes are asked for."""
        first, last = offset >> CHUNK_SHIFT, (end - 1) >> CHUNK_SHIFT
        size = self._state.server_size
        if not self._chunkable(first, last) or end > size:
            return None
        indices = range(first, last + 1)
        missing = [index for index in indices if index not in self._cached and index not in self._pending]
        if len(missing) == len(indices) and not sequential and size > CHUNK_BYTES:
            whole = min((last + 1) << CHUNK_SHIFT, size) - (first << CHUNK_SHIFT)
            if 2 * (end - offset) < whole:
                return None
        return indices

    def _part(self, handle: HandleState, index: int) -> Fetch | memoryview:
        """One chunk: cached, or under way, now if not before."""
        if index in self._cached:
            return self._mount.chunks.find(self._state.number, index).data
        fetch = self._pending.get(index)
        if fetch is None:
            return self._fetch(handle, index, ahead=False)
        if fetch.ahead:
            fetch.ahead = False
            self._mount.budget.use(fetch.length)
        return fetch

    def _chunkable(self, first: int, last: int) -> bool:
        """Whether these chunks may be fetched whole: while dirty only if the server has all of them,
        unwritten."""
        if not self._state.dirty:
            return True
        start, stop = first << CHUNK_SHIFT, (last + 1) << CHUNK_SHIFT
        if stop > self._state.server_size:
            return False
        return self._state.appending or not self._extents.overlaps(start, stop)

    @staticmethod
    def _assemble(parts: list[Fetch | memoryview], offset: int, end: int) -> Buffer:
        """The bytes of [offset, end) out of consecutive chunks, up to the first one that is too short."""
        pieces: list[memoryview] = []
        position = offset
        for part in parts:
            data = memoryview(part.slot.result()) if isinstance(part, Fetch) else part
            start = position & CHUNK_MASK
            wanted = min(CHUNK_BYTES - start, end - position)
            piece = data[start : start + wanted]
            pieces.append(piece)
            position += len(piece)
            if len(piece) < wanted:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _read_range(
        self, handle: HandleState, offset: int, end: int, check: Slot[None] | None
    ) -> Buffer | None:
        """Exactly these bytes from the server, not cached, with what is dirty laid over them.

        What was dirty when the request left may be acknowledged before the reply arrives, and be in it or
        not. So it is kept and laid over as well. What is appended has no place until the server gave it one:
        a reader of the end waits for it first. None if the content was found to be another one meanwhile.
        """
        state, extents = self._state, self._extents
        generation = state.generation
        dirty_end = 0 if state.appending else extents.end
        pieces = [] if state.appending else extents.snapshot(offset, end)
        base: Buffer = b""
        if len(pieces) == 1 and covers(pieces, offset, end):
            return pieces[0][1]
        if not covers(pieces, offset, end):
            state.fetching()
            self._mount.chunks.miss_counts["uncached"] += 1
            slot = handle.remote.start_read(offset, end - offset)
            if check is not None:
                await check.wait()
            base = await slot.wait()
            if state.generation != generation:
                return None
            if not state.appending:
                pieces += extents.snapshot(offset, end)
                dirty_end = max(dirty_end, extents.end)
        # Zeros only beneath our own dirty data past the server's end: the hole it will be.
        length = max(len(base), min(end, dirty_end) - offset)
        return overlay(base, offset, length, pieces) if pieces or length > len(base) else base

    # Requests.

    def _fetch(self, handle: HandleState, index: int, ahead: bool) -> Fetch:
        state = self._state
        length = min(CHUNK_BYTES, state.server_size - (index << CHUNK_SHIFT))
        state.fetching()
        fetch = Fetch(self._fetched, handle, index, length, state.generation, ahead)
        self._pending[index] = fetch
        if fetch.slot.done:
            fetch.completed(fetch.slot)
        else:
            fetch.slot.callback = fetch.completed
        return fetch

    def _fetched(self, fetch: Fetch) -> None:
        """The reply to ``fetch`` is here: caches it if it is still true."""
        mount = self._mount
        wanted = self._pending.get(fetch.index) is fetch
        if wanted:
            del self._pending[fetch.index]
        if fetch.slot.error is not None:
            if fetch.ahead:
                mount.budget.waste(fetch.length)
            return
        data = fetch.slot.result()
        mount.link.arrived(len(data), fetch.sent, clock.awake())
        if not wanted or fetch.generation != self._state.generation or len(data) != fetch.length:
            if fetch.ahead:
                mount.budget.waste(fetch.length)
            return
        mount.chunks.install(self._state.number, self._cached, fetch.index, data, fetch.ahead)

    def _read_ahead(self, handle: HandleState) -> None:
        """Ask for what the handle's window wants and is neither here nor under way."""
        mount, state, window = self._mount, self._state, handle.window
        if not mount.config.read_ahead or mount.link.window < CHUNK_BYTES:
            return
        window.pressed(mount.budget.pressure)
        size = state.server_size
        target = min(window.target, size)
        index = max(window.front, window.requested) + CHUNK_MASK >> CHUNK_SHIFT
        while index << CHUNK_SHIFT < target:
            if index not in self._cached and index not in self._pending:
                if not self._chunkable(index, index):
                    return
                if not mount.budget.take(min(CHUNK_BYTES, size - (index << CHUNK_SHIFT))):
                    return
                self._fetch(handle, index, ahead=True)
            index += 1
            window.requested = index << CHUNK_SHIFT

    def _verify(self, handle: HandleState) -> Slot[None] | None:
        """Asks with the first fetch since an open what version the file is; reads wait until that is
        known."""
        state = self._state
        if state.verify and not state.dirty and self._verification is None:
            state.verify = False
            verification = VersionCheck(self._verified, handle, state.epoch)
            self._verification = verification
            if verification.slot.done:
                verification.completed(verification.slot)
            else:
                verification.slot.callback = verification.completed
        return self._verification.checked if self._verification is not None else None

    def _verified(self, verification: VersionCheck) -> None:
        """FSTAT is here: if it reports another version than the known one, drops what is held."""
        state = self._state
        self._verification = None
        if verification.slot.error is not None:
            state.verify = True
        elif not state.dirty and verification.epoch == state.epoch:
            attributes = verification.slot.result()
            if not state.same_version(attributes):
                self.drop()
                state.attributes = attributes
                self._mount.observer.content_outdated(state.number, attributes)
        verification.checked.set(None)

    # Content that came without being read.

    def install(self, data: Buffer) -> None:
        """All of a file, fetched ahead; its bytes are in the budget."""
        view = memoryview(data)
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            self._mount.chunks.install(
                self._state.number, self._cached, start >> CHUNK_SHIFT, chunk, ahead=True
            )

    def holds(self, size: int) -> bool:
        """True where all of the file's ``size`` bytes are cached."""
        return all(index in self._cached for index in range((size + CHUNK_MASK) >> CHUNK_SHIFT))

    # What others do to the content.

    def drop(self, reason: str = "changed") -> None:
        """The content is another: forget all chunks; reads under way start again. ``reason`` is of
        ``MISS_REASONS``."""
        self._state.outdated()
        self._state.pages_stale = True
        self.drop_from(0, reason)

    def forget(self) -> None:
        """Nothing cached or under way is used by later readers. A reader that has begun may get it, because
        beginning again with each open of the file might never end."""
        state = self._state
        state.earliest_fetch = None
        state.pages_stale = True
        for cached in list(self._cached):
            self._mount.chunks.drop(state.number, self._cached, cached, "doubted")
        self._pending.clear()

    def drop_from(self, index: int, reason: str) -> None:
        """Forget the chunks from ``index`` on, cached or under way; as ``drop``."""
        for cached in [cached for cached in self._cached if cached >= index]:
            self._mount.chunks.drop(self._state.number, self._cached, cached, reason)
        for pending in [pending for pending in self._pending if pending >= index]:
            self._pending.pop(pending).stale = True

    def unused(self) -> None:
        """Nobody has the file open: what was fetched ahead stays cached, but holds no budget."""
        mount = self._mount
        mount.chunks.give_up_ahead(self._state.number, self._cached)
        for fetch in self._pending.values():
            if fetch.ahead:
                fetch.ahead = False
                mount.budget.waste(fetch.length)

    def overwritten(self, offset: int, end: int) -> None:
        """[offset, end) is written: no chunk that overlaps it stays, and none under way is used."""
        if not self._cached and not self._pending:
            return
        size = self._state.shown_size
        if end > size:
            # The last chunk ends where the file ended; now that the file is longer, it would not be whole.
            self._discard(size >> CHUNK_SHIFT)
        for index in range(offset >> CHUNK_SHIFT, (end - 1 >> CHUNK_SHIFT) + 1):
            self._discard(index)

    def extended(self) -> None:
        """Something is appended, wherever the end may be: no chunk ends there any more."""
        self._discard(self._state.server_size >> CHUNK_SHIFT)

    def _discard(self, index: int) -> None:
        if index in self._cached:
            self._mount.chunks.drop(self._state.number, self._cached, index, "written")
        elif index in self._pending:
            self._pending.pop(index).stale = True
