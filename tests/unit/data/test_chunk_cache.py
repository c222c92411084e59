"""The chunk cache and the read-ahead budget."""

from __future__ import annotations

from sftpfs.data.buffers.chunk_cache import (
    CHUNK_BYTES,
    CHUNK_OVERHEAD,
    REMEMBERED,
    ChunkCache,
    ReadAheadBudget,
)


def make(chunks: int, ahead: int = 1 << 30) -> tuple[ChunkCache, ReadAheadBudget]:
    """A store with room for so many whole chunks."""
    budget = ReadAheadBudget(ahead)
    return ChunkCache(chunks * (CHUNK_BYTES + CHUNK_OVERHEAD), budget), budget


def test_least_recently_used_gives_way_and_its_file_knows() -> None:
    store, _ = make(2)
    owner: set[int] = set()
    for index in (0, 1):
        store.install(7, owner, index, bytes(CHUNK_BYTES), ahead=False)
    store.find(7, 0)
    store.install(7, owner, 2, bytes(CHUNK_BYTES), ahead=False)
    assert owner == {0, 2}
    assert store.evicted == 1
    assert store.held <= 2 * (CHUNK_BYTES + CHUNK_OVERHEAD)


def test_files_share_the_limit_and_not_their_chunks() -> None:
    store, _ = make(2)
    first: set[int] = set()
    second: set[int] = set()
    store.install(1, first, 0, b"one" * 1000, ahead=False)
    store.install(2, second, 0, b"two" * 1000, ahead=False)
    assert bytes(store.find(1, 0).data[:3]) == b"one"
    assert bytes(store.find(2, 0).data[:3]) == b"two"
    store.drop(1, first, 0, "changed")
    assert not first and second == {0}


def test_tiny_chunks_are_bounded_too() -> None:
    store, _ = make(1)
    owner: set[int] = set()
    for index in range(10_000):
        store.install(1, owner, index, b"x", ahead=False)
    assert len(owner) <= (CHUNK_BYTES + CHUNK_OVERHEAD) // CHUNK_OVERHEAD


def test_chunk_larger_than_the_cache_is_not_kept() -> None:
    budget = ReadAheadBudget(1 << 20)
    store = ChunkCache(1000, budget)
    owner: set[int] = set()
    assert budget.take(5000)
    store.install(1, owner, 0, bytes(5000), ahead=True)
    assert not owner and budget.held == 0 and budget.wasted == 5000


def test_bytes_ahead_are_used_once() -> None:
    store, budget = make(4)
    owner: set[int] = set()
    assert budget.take(CHUNK_BYTES)
    store.install(1, owner, 0, bytes(CHUNK_BYTES), ahead=True)
    store.find(1, 0)
    store.find(1, 0)
    assert (budget.held, budget.used, budget.wasted) == (0, CHUNK_BYTES, 0)


def test_unread_bytes_ahead_are_wasted_and_press() -> None:
    store, budget = make(1)
    owner: set[int] = set()
    assert budget.take(CHUNK_BYTES)
    store.install(1, owner, 0, bytes(CHUNK_BYTES), ahead=True)
    store.install(1, owner, 1, bytes(CHUNK_BYTES), ahead=False)
    assert (budget.held, budget.used, budget.wasted) == (0, 0, CHUNK_BYTES)
    assert budget.pressure == 1


def test_budget_refuses_beyond_its_limit() -> None:
    budget = ReadAheadBudget(100)
    assert budget.take(60)
    assert not budget.take(60)
    assert (budget.held, budget.issued, budget.pressure) == (60, 60, 1)


def test_why_a_chunk_is_gone_is_remembered_of_the_latest() -> None:
    store, _ = make(1)
    owner: set[int] = set()
    assert store.why_missing(1, 0) == "new"
    for index in range(REMEMBERED + 2):
        store.install(1, owner, index, bytes(CHUNK_BYTES), ahead=False)
    assert store.why_missing(1, 0) == "new"
    assert store.why_missing(1, 1) == store.why_missing(1, REMEMBERED) == "evicted"
    store.drop(1, owner, REMEMBERED + 1, "written")
    assert store.why_missing(1, REMEMBERED + 1) == "written"
    store.install(1, owner, REMEMBERED + 1, b"again", ahead=False)
    store.drop(1, owner, REMEMBERED + 1, "changed")
    assert store.why_missing(1, REMEMBERED + 1) == "changed"
