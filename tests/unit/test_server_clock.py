"""What is known of the server's clock: never more than was learned, and no step of ours moves it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from sftpfs import clock
from sftpfs.server_clock import DRIFT, SETTLED, UNKNOWN, ServerClock

WALL = 1_800_000_000.0
SLACK = 0.2
"""Seconds: the grain of file times, and the drift of some minutes."""


class Machine:
    """Our clocks, and a server's that is ``ahead`` of the time of day; its files have whole seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 0.0
        """What our time of day was set on by."""
        self.ahead = 0.0
        self.known = ServerClock()

    @property
    def server(self) -> float:
        return WALL + self.now + self.ahead

    def make(self, travel: float = 0.04) -> None:
        """A name is made halfway through ``travel`` seconds."""
        sent = self.now
        self.now += travel / 2
        mtime = int(self.server)
        self.now += travel / 2
        self.known.made(mtime, sent, self.now)

    def connect(self, age: float = 0.0) -> None:
        """A session begins, whose process has run for ``age`` seconds."""
        self.known.started(int(self.server - age), self.now, self.now)

    def check(self, most: float = 1 + SLACK) -> None:
        """``earliest`` is no later than the server's clock, and ``most`` seconds earlier at most."""
        assert self.server - most <= self.known.earliest(self.now) <= self.server


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(clock, "now", lambda: machine.now)
    monkeypatch.setattr(clock, "wall", lambda: WALL + machine.now + machine.step)
    return machine


@pytest.mark.parametrize("ahead", [0.0, 0.7, 10.0, -10.0, 3600.0, -3600.0, -1e9])
@pytest.mark.parametrize("learn", [Machine.make, Machine.connect])
def test_one_name_or_one_session_tells_it_to_a_second(
    machine: Machine, ahead: float, learn: Callable[[Machine], None]
) -> None:
    machine.ahead = ahead
    learn(machine)
    machine.check()
    machine.now += 100
    machine.check()


def test_names_made_at_other_moments_of_a_second_tell_it_better(machine: Machine) -> None:
    for _ in range(20):
        machine.now += 1.37
        machine.make()
    machine.check(most=0.4)


def test_while_nothing_is_known_nothing_of_the_last_day_is_proven(machine: Machine) -> None:
    machine.ahead = -UNKNOWN + 1
    machine.check(most=2)


def test_a_step_of_our_clock_moves_nothing_that_was_learned(machine: Machine) -> None:
    machine.make()
    for machine.step in (10.0, -1e6, 1e6):
        machine.check()
        assert machine.known.estimate() == pytest.approx(machine.server, abs=1.1)


def test_a_slow_answer_tells_less_and_spoils_nothing(machine: Machine) -> None:
    machine.make(travel=30)
    machine.check(most=31 + SLACK)
    machine.make()
    machine.check()
    machine.make(travel=30)
    machine.check()


def test_a_server_set_back_is_believed_at_once(machine: Machine) -> None:
    machine.make()
    machine.ahead = -100.0
    machine.make()
    machine.check()


def test_a_server_set_on_is_believed_after_an_hour(machine: Machine) -> None:
    machine.make()
    machine.ahead = 100.0
    machine.make()
    machine.check(most=101 + SLACK)
    machine.now += SETTLED + 1
    machine.make()
    machine.check()


def test_where_files_come_from_two_clocks_the_later_is_not_taken_for_the_other(machine: Machine) -> None:
    machine.make()
    for _ in range(20):
        for machine.ahead in (-30.0, 0.0):
            machine.now += 60
            machine.make()
            machine.now += 60
            assert machine.known.earliest(machine.now) <= WALL + machine.now - 30


def test_what_is_not_learned_again_drifts(machine: Machine) -> None:
    machine.make()
    days = 3 * 86400.0
    machine.now += days
    machine.ahead = -days * DRIFT
    machine.check(most=2 * days * DRIFT + 2)


def test_a_process_that_ran_for_a_while_tells_less(machine: Machine) -> None:
    machine.connect(age=50.0)
    machine.check(most=52)


def test_ours_is_shown_where_it_may_be_the_servers(machine: Machine) -> None:
    assert machine.known.estimate() == clock.wall()
    machine.make()
    assert machine.known.estimate() == clock.wall()
    machine.ahead = -10.0
    known = machine.known = ServerClock()
    machine.make()
    assert known.estimate() == pytest.approx(machine.server, abs=1.1)
    assert math.isfinite(ServerClock().estimate())
