"""Virtual time and a scheduler that is a function of the seed.

``install`` puts other clocks into ``time`` and is called before the product is imported, in a process of its
own: nothing of a run may depend on how fast this machine is.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import math
import random
import secrets
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import trio
import trio._core._run as trio_run

EPOCH = 1_700_000_000.25
"""The server's time of day as a run begins, seconds since 1970; a fraction, since no run begins with a
second."""

BOOTED = 5_000.0
"""Seconds since the machine was started, as a run begins."""


class EventClock(trio.abc.Clock, trio.abc.Instrument):
    """trio's clock. It stands while a task can run, and then goes to what comes next: a deadline, or an event
    (``at``). Events happen in it: no task waits for them, which halves the rounds trio makes.

    An event that is due comes after all tasks that can run, or, by chance, after some of them. One that
    raises ends the run: ``failed`` is set, and ``failure`` what it raised.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.rng = random.Random(0)
        self.failure: BaseException | None = None
        self.failed = trio.Event()
        self._events: list[tuple[float, float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Have ``action`` happen at ``when``; among those of one moment by chance."""
        heapq.heappush(self._events, (when, self.rng.random(), next(self._numbers), action))

    def start_clock(self) -> None:
        """As trio.abc.Clock."""

    def current_time(self) -> float:
        """Seconds of the run so far."""
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """As trio.abc.Clock, which is asked when no task can run: what comes next is now."""
        event = self._events[0][0] if self._events else math.inf
        following = min(deadline, event)
        if following == math.inf:
            return math.inf
        self.now = max(self.now, following)
        if event <= self.now and (deadline > event or self.rng.random() < 0.5):
            self._happen()
        return 0.0

    def before_io_wait(self, timeout: float) -> None:
        """trio is between two rounds of tasks."""
        events = self._events
        if events and events[0][0] <= self.now and self.rng.random() < 0.5:
            self._happen()

    def _happen(self) -> None:
        """All that is due. Nothing may be raised into trio's own loop."""
        events = self._events
        try:
            while events and events[0][0] <= self.now:
                heapq.heappop(events)[3]()
        except BaseException as error:
            self.failure = self.failure or error
            self.failed.set()


class Clocks:
    """The clocks of one run. ``wall_offset`` is what this machine's time of day is ahead of the server's;
    ``slept`` what CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.trio = EventClock()
        self.wall_offset = 0.0
        self.server_offset = 0.0
        self.slept = 0.0

    def awake(self) -> float:
        """Seconds of the run so far."""
        return self.trio.now

    def booted(self) -> float:
        """The same, with those it was asleep."""
        return self.trio.now + self.slept

    def server(self) -> float:
        """The server's time of day."""
        return EPOCH + self.trio.now + self.slept + self.server_offset


_current = SimpleNamespace(clocks=Clocks())


def _monotonic() -> float:
    return BOOTED + _current.clocks.trio.now


def _boottime() -> float:
    clocks = _current.clocks
    return BOOTED + clocks.trio.now + clocks.slept


def _wall() -> float:
    clocks = _current.clocks
    return EPOCH + clocks.trio.now + clocks.slept + clocks.wall_offset


def _gettime(which: int) -> float:
    if which == time.CLOCK_REALTIME:
        return _wall()
    return _boottime() if which == time.CLOCK_BOOTTIME else _monotonic()


def install() -> None:
    """Put virtual clocks into ``time``, and make trio's order of tasks its random generator's alone."""
    assert "sftpfs.aio" not in sys.modules, "the product must be imported after this"
    time.monotonic = _monotonic
    time.monotonic_ns = lambda: int(_monotonic() * 1e9)
    time.time = _wall
    time.time_ns = lambda: int(_wall() * 1e9)
    time.clock_gettime = _gettime
    time.clock_gettime_ns = lambda which: int(_gettime(which) * 1e9)
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    secrets.token_hex = lambda size=16: random.getrandbits(8 * size).to_bytes(size, "big").hex()
    gc.set_threshold(*COLLECTING)


COLLECTING = (50_000, 20, 20)
"""When the garbage collector looks: a run leaves few cycles, and by default it takes a tenth of the time."""


def begin(seed: int) -> Clocks:
    """The clocks of a new run; the product's and trio's chances are the seed's from now on."""
    _current.clocks = Clocks()
    random.seed(seed)
    trio_run._r.seed(seed)
    return _current.clocks
