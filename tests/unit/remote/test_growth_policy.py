"""When a further bulk connection is opened: pure policy, with time and idle processors given."""

from __future__ import annotations

from sftpfs.remote.pool.growth_policy import FIRST_STRETCH, PAUSE, STRETCH, GrowthPolicy

MIB = 1 << 20
NEAR = 0.0002
STEP = PAUSE / 2


class Copy:
    """A copy that keeps every connection busy, on a machine with some processors idle."""

    def __init__(self, idle: float) -> None:
        self.now = 100.0
        self.moved = 0
        self._idle = idle
        self.growth = GrowthPolicy(lambda: self.now * self._idle)

    def run(self, count: int, rate: float, seconds: float, round_trip: float = NEAR) -> bool:
        """True where ``count`` connections that move ``rate`` MiB/s became one more within ``seconds``."""
        end = self.now + seconds
        while self.now < end:
            if self.growth.wanted(self.now, count, self.moved, round_trip):
                return True
            self.now += STEP
            self.moved += int(rate * MIB * STEP)
        return False


def test_the_first_is_opened_at_once_over_a_distance_and_after_a_stretch_nearby() -> None:
    assert Copy(idle=0.0).growth.wanted(100.0, 0, 0, 0.02)
    copy = Copy(idle=0.0)
    assert not copy.run(0, 0, FIRST_STRETCH - STEP)
    assert copy.run(0, 0, 3 * STEP)
    short = Copy(idle=0.0)
    for _ in range(10):  # copies with pauses between
        assert not short.run(0, 0, FIRST_STRETCH - STEP)
        short.now += 2 * PAUSE


def test_distance_asks_for_more_after_a_stretch_until_windows_suffice() -> None:
    for count, round_trip in ((1, 0.02), (3, 0.02), (1, 0.003), (1, float("inf"))):
        copy = Copy(idle=0.0)
        assert not copy.run(count, 60, STRETCH - STEP, round_trip)
        assert copy.run(count, 60, 3 * STEP, round_trip)
    assert not Copy(idle=0.0).run(2, 60, 4 * STRETCH, 0.003)


def test_nearby_no_further_one_where_no_processor_is_idle() -> None:
    assert not Copy(idle=0.2).run(1, 400, 10 * STRETCH)


def test_nearby_a_further_one_after_a_stretch_where_processors_are_idle() -> None:
    copy = Copy(idle=1.5)
    assert not copy.run(1, 60, STRETCH - STEP)
    assert copy.run(1, 60, 3 * STEP)


def test_the_last_one_must_have_helped() -> None:
    helped, useless = Copy(idle=1.5), Copy(idle=1.5)
    for copy, rate in ((helped, 110), (useless, 62)):
        assert copy.run(1, 60, 2 * STRETCH)
        assert copy.run(2, rate, 4 * STRETCH) == (copy is helped)


def test_a_pause_begins_the_stretch_anew() -> None:
    copy = Copy(idle=1.5)
    for _ in range(5):
        assert not copy.run(1, 60, STRETCH - STEP)
        copy.now += 2 * PAUSE


def test_a_system_that_does_not_tell_is_judged_by_the_gain() -> None:
    copy = Copy(idle=float("inf"))
    assert copy.run(1, 60, 2 * STRETCH)
    assert not copy.run(2, 60, 4 * STRETCH)


def test_connections_needed_grow_with_the_distance() -> None:
    needed = [GrowthPolicy.needed(seconds, 3) for seconds in (0.0, 0.0001, 0.002, 0.004, 0.02, float("inf"))]
    assert needed == [1, 1, 1, 2, 3, 3]


def test_channels_grow_with_the_distance_and_stay_below_what_sshd_allows() -> None:
    channels = [GrowthPolicy.channels(seconds) for seconds in (0.0, 0.005, 0.01, 0.02, 0.1, float("inf"))]
    assert channels == [1, 1, 2, 3, 7, 7]
