"""The clean chunk cache of the mount: what the server was seen to hold, in aligned chunks.

Pure. One LRU by bytes over all files; the readers install, look up and drop. Bytes
asked for ahead of the reader are accounted in a budget of their own, so that reading
ahead of many files at once cannot push out what was asked for.
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
        """Room for ``size`` more bytes? False counts as pressure."""
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
    """One cached chunk; ``ahead`` until somebody reads it, its bytes held in the budget till then."""

    __slots__ = ("ahead", "data", "index", "owner")

    def __init__(self, owner: set[int], index: int, data: memoryview, ahead: bool) -> None:
        self.owner = owner
        self.index = index
        self.data = data
        self.ahead = ahead


def _chunk_size(chunk: Chunk) -> int:
    return len(chunk.data) + CHUNK_OVERHEAD


class _Chunks(LRUCache[tuple[int, int], Chunk]):
    """An LRU that tells the owner of what it evicts."""

    def __init__(self, limit: int, budget: ReadAheadBudget) -> None:
        super().__init__(limit, getsizeof=_chunk_size)
        self.budget = budget
        self.evicted = 0

    def popitem(self) -> tuple[tuple[int, int], Chunk]:
        key, chunk = super().popitem()
        chunk.owner.discard(chunk.index)
        self.evicted += 1
        if chunk.ahead:
            self.budget.waste(len(chunk.data))
            self.budget.pressure += 1
        return key, chunk

    def peek(self, key: tuple[int, int]) -> Chunk:
        """The chunk, without counting as a use."""
        return Cache.__getitem__(self, key)


class ChunkStore:
    """All clean chunks, keyed by inode number and chunk index.

    Each file passes its own set of cached indices, kept true here also on eviction.
    INVARIANT: an index is in its file's set exactly while its chunk is stored.
    """

    __slots__ = ("_chunks", "budget", "hits", "misses")

    def __init__(self, limit: int, budget: ReadAheadBudget) -> None:
        self._chunks = _Chunks(limit, budget)
        self.budget = budget
        self.hits = 0
        self.misses = 0

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

    def install(self, number: int, owner: set[int], index: int, data: Buffer, ahead: bool) -> None:
        """Cache ``data``. Where ``ahead``, its bytes were taken from the budget by the caller."""
        view = data if isinstance(data, memoryview) else memoryview(data)
        if index in owner:
            self.drop(number, owner, index)
        chunk = Chunk(owner, index, view, ahead)
        if _chunk_size(chunk) > self._chunks.maxsize:
            if ahead:
                self.budget.waste(len(view))
            return
        self._chunks[number, index] = chunk
        owner.add(index)

    def give_up_ahead(self, number: int, owner: set[int]) -> None:
        """Nobody is expected to read what was fetched ahead of this file; its place in the LRU stays."""
        for index in owner:
            chunk = self._chunks.peek((number, index))
            if chunk.ahead:
                chunk.ahead = False
                self.budget.waste(len(chunk.data))

    def drop(self, number: int, owner: set[int], index: int) -> None:
        """Forget one cached chunk."""
        chunk = self._chunks.pop((number, index))
        owner.discard(index)
        if chunk.ahead:
            self.budget.waste(len(chunk.data))
