"""The read-ahead window and the estimate of the link."""

from __future__ import annotations

import random

from sftpfs.data.buffers.chunk_cache import CHUNK_BYTES
from sftpfs.data.buffers.read_ahead import (
    CONSUMED_FACTOR,
    MIN_LINK_BYTES,
    NEAR_LINK_BYTES,
    LinkEstimate,
    ReadAheadWindow,
)

KIB = 1 << 10
MIB = 1 << 20


def test_first_read_at_zero_opens_one_chunk() -> None:
    window = ReadAheadWindow()
    assert window.observe(0, CHUNK_BYTES)
    assert window.size == CHUNK_BYTES
    assert window.target == 2 * CHUNK_BYTES


def test_small_first_read_wants_little_ahead() -> None:
    window = ReadAheadWindow()
    window.observe(0, 4 * KIB)
    assert window.target <= 4 * KIB * (1 + CONSUMED_FACTOR)


def test_second_adjoining_read_opens_elsewhere() -> None:
    window = ReadAheadWindow()
    assert not window.observe(10 * MIB, CHUNK_BYTES)
    assert window.size == 0
    assert window.observe(10 * MIB + CHUNK_BYTES, CHUNK_BYTES)
    assert window.size == CHUNK_BYTES


def test_doubles_while_the_reader_waits_up_to_the_limit() -> None:
    window = ReadAheadWindow()
    sizes = []
    for at in range(20):
        window.observe(at * CHUNK_BYTES, CHUNK_BYTES)
        window.waited(2 * MIB)
        sizes.append(window.size)
    assert sizes[:5] == [CHUNK_BYTES << power for power in range(1, 5)] + [2 * MIB]
    assert set(sizes[4:]) == {2 * MIB}


def test_never_more_than_in_proportion_to_what_was_read() -> None:
    window = ReadAheadWindow()
    window.observe(0, 16 * KIB)
    for _ in range(10):
        window.waited(1 << 30)
    assert window.target - window.front <= CONSUMED_FACTOR * 16 * KIB


def test_stays_where_the_reader_never_waits() -> None:
    window = ReadAheadWindow()
    for at in range(100):
        window.observe(at * CHUNK_BYTES, CHUNK_BYTES)
    assert window.size == CHUNK_BYTES


def test_random_reads_close_it_and_keep_it_closed() -> None:
    choose = random.Random(1)
    window = ReadAheadWindow()
    for at in range(8):
        window.observe(at * CHUNK_BYTES, CHUNK_BYTES)
        window.waited(8 * MIB)
    opened = 0
    for _ in range(1000):
        window.observe(choose.randrange(1 << 18) * 4096, 4096)
        opened += window.size > 0
    assert opened < 10


def test_backward_reads_close_it() -> None:
    window = ReadAheadWindow()
    for at in range(100, 80, -1):
        window.observe(at * CHUNK_BYTES, CHUNK_BYTES)
        assert window.size == 0


def test_strided_reads_close_it() -> None:
    window = ReadAheadWindow()
    window.observe(0, 4096)
    sequential = [window.observe(at * 3 * 4096, 4096) for at in range(1, 50)]
    assert not any(sequential[2:])
    assert window.size == 0


def test_reordered_reads_of_one_stream_are_sequential() -> None:
    window = ReadAheadWindow()
    order = [0, 1, 3, 2, 5, 4, 6, 9, 7, 8, 10, 12, 13, 11, 14]
    assert all(window.observe(at * CHUNK_BYTES, CHUNK_BYTES) for at in order)
    assert window.front == 15 * CHUNK_BYTES


def test_long_reordered_stream_stays_open() -> None:
    choose = random.Random(2)
    window = ReadAheadWindow()
    blocks = list(range(400))
    for at in range(0, 400, 4):
        group = blocks[at : at + 3]
        choose.shuffle(group)
        blocks[at : at + 3] = group
    window.observe(0, CHUNK_BYTES)
    assert all(window.observe(at * CHUNK_BYTES, CHUNK_BYTES) for at in blocks)


def test_halves_under_pressure_once_for_each_sign() -> None:
    window = ReadAheadWindow()
    for at in range(10):
        window.observe(at * CHUNK_BYTES, CHUNK_BYTES)
        window.waited(1 * MIB)
    window.pressed(1)
    window.pressed(1)
    assert window.size == 512 * KIB
    for pressure in range(2, 20):
        window.pressed(pressure)
    assert window.size == CHUNK_BYTES


def test_estimate_grows_to_twice_the_product_and_stops() -> None:
    """A link of 50 MB/s and 100 ms, always given as much as the estimate allows."""
    link, rate, trip = LinkEstimate(), 50e6, 0.1
    now = 0.0
    for _ in range(40):
        sent = now
        chunks = max(1, link.window // CHUNK_BYTES)
        for chunk in range(chunks):
            now = sent + trip + (chunk + 1) * CHUNK_BYTES / rate
            link.arrived(CHUNK_BYTES, sent, now)
    assert rate * trip <= link.window <= 3 * rate * trip


def test_estimate_has_a_floor() -> None:
    assert LinkEstimate().window == MIN_LINK_BYTES
    link = LinkEstimate()
    for at in range(100):
        link.arrived(CHUNK_BYTES, at * 0.01, at * 0.01 + 0.005)
    assert link.window == MIN_LINK_BYTES


def test_a_server_nearby_is_asked_for_less_and_stays_near_while_replies_queue() -> None:
    link = LinkEstimate()
    link.arrived(CHUNK_BYTES, 0.0, 0.001)
    assert link.window == NEAR_LINK_BYTES
    for at in range(2000):
        link.arrived(CHUNK_BYTES, at * 0.01, at * 0.01 + 0.01)
    assert link.window == NEAR_LINK_BYTES


def test_time_without_reads_is_not_taken_for_a_slow_link() -> None:
    link = LinkEstimate()
    for at in range(200):
        link.arrived(MIB, at * 0.01, at * 0.01 + 0.1)
    before = link.window
    for at in range(20):
        link.arrived(MIB, 1000 + at * 0.01, 1000 + at * 0.01 + 0.1)
    assert link.window > before / 2
