"""What is known of a link, and what it bounds: told of requests of either way and of their answers."""

from __future__ import annotations

import math
import random
from collections import deque

import pytest

from sftpfs.sftp.link_rate import (
    ANY,
    DOUBTFUL,
    LEAST_PIECE,
    LEAST_UNDER_WAY,
    MEMORY,
    MOMENT,
    SLOW_RATE,
    Link,
    LinkDirection,
)

ROUND_TRIP = 0.02
CHUNK = 128 << 10
NOW = 1000.0
AHEAD = 4 << 20


def passed(direction: LinkDirection, size: int, rate: float) -> None:
    """A request for ``size`` bytes goes alone over a link of ``rate`` bytes per second."""
    queued = direction.sent(size, NOW)
    direction.answered(size, queued, ROUND_TRIP + queued / rate, ROUND_TRIP, NOW)


def test_nothing_is_bounded_once_a_link_is_seen_to_be_quick() -> None:
    link = Link()
    link.logged_in(0.2)
    for direction in (link.down, link.up):
        passed(direction, 32 << 10, 50e6)
        assert direction.room == math.inf and direction.piece == ANY
    assert not link.slow(NOW) and link.affordable == math.inf


@pytest.mark.parametrize("rate", [2e3, 10e3, 50e3, 400e3])
def test_a_slow_link_has_no_more_under_way_than_it_brings_in_a_moment(rate: float) -> None:
    direction = Link().down
    passed(direction, 8 * CHUNK, rate)
    for _ in range(20):
        passed(direction, direction.piece, rate)
    assert direction.slow(NOW)
    assert direction.rate == pytest.approx(rate, rel=0.01)
    assert direction.room <= max(LEAST_UNDER_WAY, 1.1 * rate * (MOMENT + ROUND_TRIP))
    assert LEAST_PIECE <= direction.piece <= max(LEAST_PIECE, direction.room / 2)


def test_a_link_that_becomes_quick_is_not_held_for_slow() -> None:
    link = Link()
    passed(link.down, CHUNK, 10e3)
    assert link.slow(NOW) and link.affordable < CHUNK
    for _ in range(4):
        passed(link.down, link.down.piece, 100e6)
    assert not link.slow(NOW) and link.down.room == math.inf


def test_a_moment_of_a_busy_processor_or_disk_is_no_slow_link() -> None:
    direction = Link().down
    passed(direction, CHUNK, 100e6)
    direction.answered(CHUNK, direction.sent(CHUNK, NOW), 0.9, ROUND_TRIP, NOW)
    assert not direction.slow(NOW) and direction.room == math.inf


def test_little_that_takes_long_tells_nothing_of_the_rate() -> None:
    direction = Link().down
    direction.answered(100, direction.sent(100, NOW), 5.0, ROUND_TRIP, NOW)
    assert not direction.slow(NOW)


def test_nothing_is_bounded_before_anything_is_known_unless_the_login_took_long() -> None:
    link = Link()
    link.round_trip = ROUND_TRIP
    link.logged_in(0.3)
    assert not link.doubtful
    assert link.up.room == link.down.room == math.inf


def test_a_login_that_takes_longer_than_its_round_trips_makes_the_first_requests_small() -> None:
    link = Link()
    link.round_trip = ROUND_TRIP
    link.logged_in(1.5)
    assert link.doubtful and not link.slow(NOW)
    assert link.down.room == link.up.room == DOUBTFUL
    passed(link.down, 16 << 10, 50e6)
    assert not link.doubtful and link.down.room == math.inf


@pytest.mark.parametrize("rate", [10e3, 50e3, 90e3])
def test_a_link_in_doubt_that_brings_little_is_slow_though_no_answer_takes_a_second(rate: float) -> None:
    link = Link()
    link.round_trip = ROUND_TRIP
    link.logged_in(1.5)
    passed(link.down, DOUBTFUL, rate)
    assert link.down.slow(NOW)
    assert link.down.room == pytest.approx(max(LEAST_UNDER_WAY, rate * (MOMENT + ROUND_TRIP)), rel=0.01)


class Route:
    """A link in virtual time, one way: a queue that brings ``rate`` bytes per second, and a route of
    ``round_trip`` seconds, which was ``ROUND_TRIP`` when the connection began."""

    def __init__(self, rate: float, round_trip: float) -> None:
        self.direction = Link().down
        self.rate = rate
        self.round_trip = round_trip
        self.now = NOW
        self._free_at = NOW
        self._under_way: deque[tuple[float, int, int, float]] = deque()
        self.longest = 0.0
        """What any answer took, seconds."""

    def send(self, size: int) -> None:
        """A request for ``size`` bytes."""
        self._free_at = max(self._free_at, self.now) + size / self.rate
        arrives = self._free_at + self.round_trip
        self._under_way.append((arrives, size, self.direction.sent(size, self.now), self.now))

    def answer(self) -> None:
        """Let the next answer come."""
        arrives, size, queued, sent = self._under_way.popleft()
        self.now = arrives
        self.longest = max(self.longest, arrives - sent)
        self.direction.answered(size, queued, arrives - sent, ROUND_TRIP, arrives)

    def read(self, size: int) -> float:
        """Bytes per second of a stream of ``size`` bytes, which asks for ``AHEAD`` at most."""
        begun, asked = self.now, 0
        while asked < size or self._under_way:
            while asked < size and not self.direction.full and self.direction.under_way < AHEAD:
                piece = min(self.direction.piece, CHUNK)
                self.send(piece)
                asked += piece
            self.answer()
        return asked / (self.now - begun)


def stalled(rate: float, round_trip: float) -> Route:
    """A link of ``rate`` on which a small read took three seconds once, and what it is from then on."""
    route = Route(rate, 3.0)
    route.send(16 << 10)
    route.answer()
    assert route.direction.slow(route.now)
    route.round_trip = round_trip
    route.longest = 0.0
    return route


@pytest.mark.parametrize("round_trip", [0.02, 0.06, 0.3, 0.5, 0.8, 1.2])
def test_a_route_that_became_longer_is_not_held_for_slow(round_trip: float) -> None:
    route = stalled(100e6, round_trip)
    route.read(4 << 20)
    assert route.direction.room == math.inf
    assert route.read(32 << 20) > 0.8 * min(route.rate, AHEAD / round_trip)
    assert route.direction.room == math.inf, "and is not again by the next answer"


@pytest.mark.parametrize("rate", [5e3, 10e3, 50e3, 400e3])
@pytest.mark.parametrize("round_trip", [0.02, 0.3, 0.6])
def test_a_slow_link_is_known_as_such_however_long_its_route(rate: float, round_trip: float) -> None:
    route = stalled(rate, round_trip)
    assert route.read(int(120 * rate)) > 0.6 * rate
    assert route.direction.slow(route.now)
    assert route.longest < 2.5 * (max(LEAST_UNDER_WAY / rate, MOMENT) + round_trip)


@pytest.mark.parametrize("stall", [1.0, 3.0])
def test_a_request_that_meets_a_stall_alone_lets_little_more_be_under_way(stall: float) -> None:
    route = stalled(10e3, ROUND_TRIP)
    for _ in range(40):
        route.read(60_000)
        route.round_trip = stall
        route.read(LEAST_PIECE)
        route.round_trip = ROUND_TRIP
    assert route.longest < stall + 3 * LEAST_UNDER_WAY / route.rate


def test_what_waits_for_room_goes_in_order_and_is_never_forgotten() -> None:
    """Random requests of several sessions, some of which are lost."""
    chance = random.Random(7)
    direction = Link().down
    passed(direction, CHUNK, 10e3)
    under_way: list[tuple[int, int]] = []
    sent: list[int] = []

    def ask(number: int) -> None:
        def send() -> None:
            if direction.full:
                direction.wait(send)
                return
            size = chance.randint(1, direction.piece)
            assert direction.under_way <= direction.room
            sent.append(number)
            under_way.append((size, direction.sent(size, NOW)))

        send()

    for number in range(500):
        ask(number)
        assert direction.under_way == sum(size for size, _ in under_way)
        assert not direction.full or direction.under_way
        if under_way and chance.random() < 0.5:
            size, queued = under_way.pop(0)
            if chance.random() < 0.2:
                direction.lost(size)
            else:
                direction.answered(size, queued, ROUND_TRIP + queued / 10e3, ROUND_TRIP, NOW)
    while under_way:
        size, queued = under_way.pop(0)
        direction.answered(size, queued, ROUND_TRIP + queued / 10e3, ROUND_TRIP, NOW)
    assert sorted(sent) == list(range(500))
    assert direction.under_way == 0
    assert direction.rate < SLOW_RATE


def test_what_showed_a_slow_link_is_forgotten_where_nothing_comes_any_more() -> None:
    link = Link()
    passed(link.down, CHUNK, 10e3)
    assert link.slow(NOW + MEMORY - 1) and not link.slow(NOW + MEMORY)
