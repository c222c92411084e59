"""When a request is sent again: pure policy over counted latencies."""

from __future__ import annotations

from sftpfs.histogram import Histogram
from sftpfs.remote.pool.stall_policy import ENOUGH, FACTOR, FLOOR, MOST_AT_ONCE, UNKNOWN, StallPolicy


def noted(seconds: float, times: int) -> StallPolicy:
    """Where that many reads took so long."""
    known = Histogram()
    for _ in range(times):
        known.count(seconds)
    return StallPolicy(lambda kind: known if kind == "read" else Histogram())


def test_of_other_kinds_nothing_is_known() -> None:
    assert noted(0.01, ENOUGH).limit("lstat") == UNKNOWN


def test_never_below_the_floor_and_beyond_what_is_usual() -> None:
    assert noted(0.0001, ENOUGH).limit("read") == FLOOR
    assert noted(0.0001, ENOUGH - 1).limit("read") == UNKNOWN
    assert FACTOR * 2.0 <= noted(3.0, ENOUGH).limit("read") <= FACTOR * 5.0


def test_only_so_many_at_once() -> None:
    stalls = noted(0.0, 0)
    assert all(stalls.admit() for _ in range(MOST_AT_ONCE))
    assert not stalls.admit()
    stalls.ended(won=True)
    assert stalls.admit()
    for won in [True] + [False] * (MOST_AT_ONCE - 1):
        stalls.ended(won)
    assert stalls.statistics() == {
        "connections_stalled": 0,
        "sent_again": MOST_AT_ONCE + 1,
        "answered_first": 2,
        "moved": 0,
        "refused": 1,
        "under_way": 0,
    }
