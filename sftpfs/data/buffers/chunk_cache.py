"""The clean chunk cache of the mount: what the server was seen to hold, in aligned chunks.

Pure. One LRU by bytes over all files; the readers install, look up and drop. Bytes read ahead have a budget
of their own, so reading ahead of many files at once cannot push out what programs asked for.
"""

from __future__ import annotations

from cachetools import Cache, LRUCache

from sftpfs.types import Buffer

CHUNK_SHIFT = 17
CHUNK_BYTES = 1 << CHUNK_SHIFT
"""128 KiB: what the kernel asks for in one read, and one request within every server's
advertised limit (OpenSSH: 261,120 bytes)."""
CHUNK_MASK = CHUNK_BYTES - 1

CHUNK_OVERHEAD = 512
"""Bytes a cached chunk costs beyond its data (objects, dict entries), so that millions of
tiny files do not outgrow the limit."""


MISS_REASONS = ("new", "evicted", "changed", "doubted", "written", "awaited", "uncached")
"""Why a read had to wait for the server. The chunk was never here, or is not remembered; gave way to others;
was of a version that the server no longer has; was not believed, because the file was opened beside a writer
here; was written or cut here; is on its way, asked for ahead or by another; is not kept, because the file was
opened to be read directly, or only a small part of it was asked for.
"""

REMEMBERED = 4096
"""Chunks that are no longer here and for which the reason is known: half a GiB of a large file."""


class ReadAheadBudget:
    """Bytes asked for ahead and not yet read by anyone, over all files.

    INVARIANT: ``held`` is what is under way ahead plus what is cached and flagged ahead.
    """

    __slots__ = ("held", "issued", "limit", "pressure", "used", "wasted")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.pressure = 0
        """Counts signs of too little memory; a window that sees it grow halves."""
        self.issued = 0
        self.used = 0
        self.wasted = 0

    def take(self, size: int) -> bool:
        """Whether there is room for ``size`` more bytes. False counts as pressure."""
        if self.held + size > self.limit:
            self.pressure += 1
            return False
        self.held += size
        self.issued += size
        return True

    def use(self, size: int) -> None:
        """``size`` bytes fetched ahead were asked for."""
        self.held -= size
        self.used += size

    def waste(self, size: int) -> None:
        """``size`` bytes asked for ahead are gone unread."""
        self.held -= size
        self.wasted += size


class Chunk:
    """One cached chunk. It is ``ahead`` until somebody reads it; until then the budget holds its bytes."""

    __slots__ = ("ahead", "data", "index", "owner")

    def __init__(self, owner: set[int], index: int, data: memoryview, ahead: bool) -> None:
        self.owner = owner
        self.index = index
        self.data = data
        self.ahead = ahead


def _chunk_size(chunk: Chunk) -> int:
    return len(chunk.data) + CHUNK_OVERHEAD


class _Chunks(LRUCache[tuple[int, int], Chunk]):
    """An LRU that reports to its owner what it evicts."""

    def __init__(self, limit: int, budget: ReadAheadBudget) -> None:
        super().__init__(limit, getsizeof=_chunk_size)
        self.budget = budget
        self.evicted = 0
        self.gone: LRUCache[tuple[int, int], str] = LRUCache(REMEMBERED)
        """Why chunks are here no more."""

    def popitem(self) -> tuple[tuple[int, int], Chunk]:
        key, chunk = super().popitem()
        chunk.owner.discard(chunk.index)
        self.gone[key] = "evicted"
        self.evicted += 1
        if chunk.ahead:
            self.budget.waste(len(chunk.data))
            self.budget.pressure += 1
        return key, chunk

    def peek(self, key: tuple[int, int]) -> Chunk:
        """The chunk, without counting as a use."""
        return Cache.__getitem__(self, key)


class ChunkCache:
    """All clean chunks, keyed by inode number and chunk index.

    Each file passes its own set of cached indices, kept true here also on eviction.
    INVARIANT: an index is in its file's set exactly while its chunk is stored.
    """

    __slots__ = ("_chunks", "budget", "hits", "miss_counts", "misses")

    def __init__(self, limit: int, budget: ReadAheadBudget) -> None:
        self._chunks = _Chunks(limit, budget)
        self.budget = budget
        self.hits = 0
        self.misses = 0
        self.miss_counts = dict.fromkeys(MISS_REASONS, 0)
        """Reason → how often; those of what is uncached are no ``misses``."""

    @property
    def held(self) -> int:
        """Bytes in the cache, overhead included."""
        return int(self._chunks.currsize)

    @property
    def evicted(self) -> int:
        """How many chunks gave way to others."""
        return self._chunks.evicted

    def find(self, number: int, index: int) -> Chunk:
        """The chunk, now the most recently used and no longer ahead. Only for an index in its file's set."""
        chunk = self._chunks[number, index]
        if chunk.ahead:
            chunk.ahead = False
            self.budget.use(len(chunk.data))
        return chunk

    def missed(self, reason: str) -> None:
        """A read waits for a chunk that is not here, for ``reason``."""
        self.misses += 1
        self.miss_counts[reason] += 1

    def why_missing(self, number: int, index: int) -> str:
        """Of ``MISS_REASONS``, for a chunk that is not here and that nobody asked for."""
        return self._chunks.gone.get((number, index), "new")

    def install(self, number: int, owner: set[int], index: int, data: Buffer, ahead: bool) -> None:
        """Caches ``data``. If ``ahead``, the caller has taken its bytes from the budget."""
        view = data if isinstance(data, memoryview) else memoryview(data)
        if index in owner:
            self.drop(number, owner, index, "changed")
        chunk = Chunk(owner, index, view, ahead)
        if _chunk_size(chunk) > self._chunks.maxsize:
            if ahead:
                self.budget.waste(len(view))
            return
        self._chunks[number, index] = chunk
        self._chunks.gone.pop((number, index), None)
        owner.add(index)

    def give_up_ahead(self, number: int, owner: set[int]) -> None:
        """Nobody is expected to read what was fetched ahead of this file; it stays where it is in the LRU."""
        for index in owner:
            chunk = self._chunks.peek((number, index))
            if chunk.ahead:
                chunk.ahead = False
                self.budget.waste(len(chunk.data))

    def drop(self, number: int, owner: set[int], index: int, reason: str) -> None:
        """Forget one cached chunk; ``reason`` is of ``MISS_REASONS``."""
        chunk = self._chunks.pop((number, index))
        owner.discard(index)
        self._chunks.gone[number, index] = reason
        if chunk.ahead:
            self.budget.waste(len(chunk.data))
