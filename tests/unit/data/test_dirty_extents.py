"""Dirty extents: what is kept, merged, blocked, and seen by a read."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from sftpfs.data.buffers.dirty_extents import (
    EXTENT_BYTES,
    WHOLE_WRITE_BYTES,
    DirtyExtents,
    Extent,
    covers,
    overlay,
)

Extents = DirtyExtents[str]


def seen(extents: Extents, start: int, end: int, base: bytes = b"") -> bytes:
    """[start, end) as a read sees it over ``base``."""
    return bytes(overlay(base, start, end - start, extents.snapshot(start, end)))


def only(extents: Extents) -> Extent[str]:
    """The one unsent extent."""
    (extent,) = extents.unsent()
    return extent


def test_sequential_small_writes_gather_into_one_extent() -> None:
    extents = Extents()
    for at in range(0, 64 << 10, 4096):
        assert extents.write(at, bytes([at >> 12]) * 4096, "a") == 0
        assert extents.full(at) is None
    extent = only(extents)
    assert (extent.offset, len(extent.data)) == (0, 64 << 10)
    assert extents.unsent_bytes == 64 << 10
    assert seen(extents, 4096 * 3, 4096 * 4) == b"\3" * 4096


def test_gathered_extent_is_full_at_the_limit() -> None:
    extents = Extents()
    at = 0
    while extents.full(max(0, at - 1)) is None:
        extents.write(at, bytes(4096), "a")
        at += 4096
    assert at == EXTENT_BYTES
    full = extents.full(at - 1)
    assert full is not None and extents.start(full)
    extents.write(at, b"next", "a")
    assert only(extents).offset == EXTENT_BYTES
    assert extents.unsent_bytes == 4


def test_large_write_is_kept_uncopied_and_full_at_once() -> None:
    extents, data = Extents(), bytes(1 << 20)
    extents.write(100, data, "a")
    full = extents.full(100)
    assert full is not None and full.data is data


def test_large_write_after_small_ones_is_an_extent_of_its_own() -> None:
    extents = Extents()
    extents.write(0, bytes(4096), "a")
    extents.write(4096, bytes(WHOLE_WRITE_BYTES), "a")
    assert [len(extent.data) for extent in extents.unsent()] == [4096, WHOLE_WRITE_BYTES]


def test_contiguous_writes_of_other_owners_stay_apart() -> None:
    extents = Extents()
    extents.write(0, b"aa", "a")
    extents.write(2, b"bb", "b")
    assert [(one.owner, bytes(one.data)) for one in extents.unsent()] == [("a", b"aa"), ("b", b"bb")]


def test_growing_extent_stops_where_another_begins() -> None:
    extents = Extents()
    extents.write(8, b"later", "a")
    extents.write(0, b"0123", "a")
    assert extents.write(4, b"456789", "a") == 2
    assert seen(extents, 0, 13) == b"0123456789ter"
    assert extents.unsent_bytes == 13


@pytest.mark.parametrize(
    ("offset", "data", "expected", "replaced"),
    [
        (2, b"XX", b"abXXefgh", 2),
        (0, b"XXXXXXXX", b"XXXXXXXX", 8),
        (6, b"XXXX", b"abcdefXXXX", 2),
        (4, b"XXXX", b"abcdXXXX", 4),
        (0, b"XX", b"XXcdefgh", 2),
    ],
)
def test_last_write_wins_over_unsent(offset: int, data: bytes, expected: bytes, replaced: int) -> None:
    extents = Extents()
    extents.write(0, b"abcdefgh", "a")
    assert extents.write(offset, data, "b") == replaced
    assert seen(extents, 0, len(expected)) == expected
    assert extents.unsent_bytes == len(expected)


def test_write_over_one_under_way_waits_for_it() -> None:
    extents = Extents()
    extents.write(0, b"first", "a")
    sent = only(extents)
    assert extents.start(sent)
    extents.write(3, b"second", "a")
    second = only(extents)
    assert not extents.start(second)
    assert extents.blocked == 1 and extents.unsent() == []
    assert not extents.start(second) and extents.blocked == 1, "asked for twice"
    assert seen(extents, 0, 9) == b"firsecond"
    assert extents.finish(sent) == [second] and not extents.blocked
    assert extents.start(second)
    assert extents.finish(second) == []
    assert not extents


def test_data_under_way_does_not_change() -> None:
    extents = Extents()
    extents.write(0, b"first", "a")
    sent = only(extents)
    extents.start(sent)
    extents.write(0, b"other", "a")
    assert bytes(sent.data) == b"first"
    assert seen(extents, 0, 5) == b"other"


def test_snapshot_keeps_what_it_saw() -> None:
    extents = Extents()
    extents.write(0, b"one", "a")
    pieces = extents.snapshot(0, 3)
    extents.write(0, b"two", "a")
    extents.write(3, b"more", "a")
    assert [bytes(data) for _, data in pieces] == [b"one"]


def test_batch_ends_with_the_last_of_its_extents() -> None:
    extents = Extents()
    extents.write(0, b"one", "a")
    first = only(extents)
    batch = extents.close_batch()
    extents.write(100, b"two", "a")
    assert not batch.slot.done
    extents.start(first)
    extents.finish(first)
    assert batch.slot.done and extents


def test_batch_ends_also_where_its_extent_was_overwritten() -> None:
    extents = Extents()
    extents.write(4, b"one", "a")
    batch = extents.close_batch()
    extents.write(0, b"everything", "a")
    assert batch.slot.done


def test_overwritten_blocked_extent_is_not_sent() -> None:
    extents = Extents()
    extents.write(0, b"first", "a")
    sent = only(extents)
    extents.start(sent)
    extents.write(0, b"next", "a")
    assert not extents.start(only(extents))
    extents.write(0, b"overwrites", "a")
    assert extents.blocked == 0 and extents.finish(sent) == []
    assert seen(extents, 0, 10) == b"overwrites"


def test_overlaps_is_half_open() -> None:
    extents = Extents()
    extents.write(10, b"0123456789", "a")
    assert extents.overlaps(19, 20) and extents.overlaps(0, 11) and extents.overlaps(12, 13)
    assert not extents.overlaps(20, 30) and not extents.overlaps(0, 10)
    assert extents.end == 20


def test_overlay_pads_only_to_the_length() -> None:
    assert bytes(overlay(b"abc", 10, 6, [(14, b"XYZW")])) == b"abc\0XY"
    assert bytes(overlay(b"abcdef", 10, 2, [])) == b"ab"


def test_covers() -> None:
    assert covers([(0, b"ab"), (2, b"cd")], 1, 4)
    assert not covers([(0, b"ab"), (3, b"cd")], 0, 5)
    assert not covers([], 0, 1)


@pytest.mark.parametrize("seed", range(8))
def test_random_use_equals_a_plain_array(seed: int) -> None:
    """The model: ``server`` has what finished, ``local`` what was written; reads see ``local``."""
    choose = random.Random(seed)
    size = 2000
    extents = Extents()
    server, local = bytearray(size), bytearray(size)
    held = 0
    for _ in range(3000):
        action = choose.random()
        if action < 0.5:
            offset = choose.randrange(size)
            data = choose.randbytes(min(choose.choice((1, 7, 50, 400)), size - offset))
            held += len(data) - extents.write(offset, data, choose.choice("ab"))
            local[offset : offset + len(data)] = data
        elif action < 0.7 and extents.unsent():
            extents.start(choose.choice(extents.unsent()))
        elif action < 0.9 and extents.sent:
            extent = choose.choice(extents.sent)
            server[extent.offset : extent.end] = extent.data
            held -= len(extent.data)
            for waited in extents.finish(extent):
                over_others = extents._overlap(extents._sent, waited.offset, waited.end)
                if over_others or choose.random() < 0.8:
                    extents.start(waited)
                else:  # given up, and as it happens the server has it
                    held -= len(waited.data)
                    server[waited.offset : waited.end] = waited.data
                    extents.withdraw(waited)
        elif action < 0.95:
            extents.close_batch()
        start = choose.randrange(size)
        end = choose.randrange(start, size)
        assert seen(extents, start, end, bytes(server[start:end])) == local[start:end]
        check_invariants(extents, held)


def check_invariants(extents: Extents, held: int) -> None:
    """What the class promises."""
    for group in (extents._unsent, extents._sent):
        for before, after in pairwise(group):
            assert before.end <= after.offset
    everything = extents._unsent + extents._sent
    assert sum(len(extent.data) for extent in everything) == held
    assert sum(len(extent.data) for extent in extents._unsent) == extents.unsent_bytes
    assert all(extent.data for extent in everything)
    waiting = [extent for extent in extents._unsent if extent.blocker is not None]
    assert len(waiting) == extents.blocked
    for extent in waiting:
        assert extent.blocker in extents._sent and extent in extent.blocker.behind
