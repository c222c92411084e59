"""A limit set for content: bytes that went by when, counted under a clock that the test moves."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import pytest

from sftpfs.sftp.link_rate import Link, LinkDirection
from sftpfs.sftp.rate_limit import BURST, LEAST_PIECE, RateLimit
from sftpfs.types import Bandwidth

CHUNK = 128 << 10
ROUND_TRIP = 0.02


class Machine:
    """Programs that read as much as they can, over a link that answers after a round trip."""

    def __init__(self, down: float) -> None:
        self.now = 1000.0
        self.link = Link()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.went: list[tuple[float, int, str]] = []
        """When, how many bytes, for whom."""
        self.limit(down)

    def limit(self, down: float) -> None:
        self.link.limit(Bandwidth(down=down), self.now, self.later)

    def later(self, pause: float, go_on: Callable[[float], None]) -> None:
        assert pause > 0
        self.at(self.now + pause, lambda: go_on(self.now))

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, len(self.events) + len(self.went), do))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.events and self.events[0][0] <= until:
            self.now, _, do = heapq.heappop(self.events)
            do()
        self.now = until

    def read(self, name: str, size: int) -> None:
        """``name`` reads ``size`` bytes, a request after the other."""
        direction = self.link.down
        if direction.full:
            direction.wait(lambda: self.read(name, size))
            return
        piece = min(size, CHUNK, direction.piece)
        self.went.append((self.now, piece, name))
        queued = direction.sent(piece, self.now)

        def answered() -> None:
            direction.answered(piece, queued, ROUND_TRIP, ROUND_TRIP, self.now)
            if size > piece:
                self.read(name, size - piece)

        self.at(self.now + ROUND_TRIP, answered)

    @property
    def bytes(self) -> int:
        return sum(size for _, size, _ in self.went)


@pytest.mark.parametrize("rate", [1024.0, 10e3, 250e3, 3e6, 80e6])
def test_no_second_brings_more_than_the_limit_and_none_is_left_unused(rate: float) -> None:
    machine = Machine(rate)
    for reader in range(20):
        machine.read(str(reader), int(rate * 100))
    machine.run(30.0)
    piece = RateLimit(rate).piece
    for start in range(29):
        second = [size for at, size, _ in machine.went if start <= at - 1000.0 < start + 1]
        assert sum(second) <= rate * (1 + BURST) + min(piece, CHUNK)
    assert machine.bytes >= rate * 30.0


def test_readers_take_turns() -> None:
    machine = Machine(100e3)
    for reader in "abc":
        machine.read(reader, 10 << 20)
    machine.run(20.0)
    each = [sum(size for _, size, name in machine.went if name == reader) for reader in "abc"]
    assert max(each) - min(each) <= RateLimit(100e3).piece


def test_a_limit_that_is_changed_holds_from_then_on_for_those_that_wait_too() -> None:
    machine = Machine(10e3)
    machine.read("a", 1 << 30)
    machine.run(10.0)
    before = machine.bytes
    machine.limit(1e6)
    assert before <= 10e3 * (10 + BURST) + LEAST_PIECE
    machine.run(10.0)
    assert 10e6 <= machine.bytes - before <= 1e6 * (10 + BURST) + CHUNK
    before = machine.bytes
    machine.limit(10e3)
    machine.run(10.0)
    assert machine.bytes - before <= 10e3 * (10 + BURST) + LEAST_PIECE


def test_without_a_limit_any_more_everything_goes_at_once() -> None:
    machine = Machine(1024.0)
    for reader in "abc":
        machine.read(reader, CHUNK)
    machine.run(1.0)
    assert machine.link.down.held
    machine.limit(math.inf)
    machine.run(60 * ROUND_TRIP)
    assert machine.bytes == 3 * CHUNK
    assert not machine.link.down.full
    assert machine.link.down.limited_to == math.inf


def test_what_goes_past_a_limit_is_made_up_for() -> None:
    machine = Machine(10e3)
    machine.link.down.sent(100_000, machine.now)
    machine.read("a", 1 << 20)
    machine.run(9.0)
    assert machine.bytes == 0
    machine.run(1.0)
    assert 0 < machine.bytes <= 10e3 * BURST + LEAST_PIECE


def test_a_file_that_ends_early_costs_what_came_of_it() -> None:
    direction: LinkDirection = Link().down
    direction.limit(10e3, 0.0, lambda pause, go_on: None)
    direction.sent(4000, 0.0)
    direction.cut(4000, 100)
    assert direction.spare(0.0) == pytest.approx(10e3 * BURST - 100)
    assert direction.under_way == 0


def test_ways_are_limited_apart() -> None:
    machine = Machine(1024.0)
    machine.link.down.sent(CHUNK, machine.now)
    assert machine.link.down.held and not machine.link.up.full
    assert machine.link.up.spare(machine.now) == math.inf
