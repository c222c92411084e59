"""Virtual time and a scheduler that is a function of the seed.

``install`` puts other clocks into ``time`` and is called before the product is imported, in a process of its
own: nothing of a run may depend on how fast this machine is.
"""

from __future__ import annotations

import random
import secrets
import sys
import time
from types import SimpleNamespace

import trio._core._run as trio_run
from trio.testing import MockClock

EPOCH = 1_700_000_000.25
"""The server's time of day as a run begins, seconds since 1970; a fraction, since no run begins with a
second."""

BOOTED = 5_000.0
"""Seconds since the machine was started, as a run begins."""


class Clocks:
    """The clocks of one run. ``wall_offset`` is what this machine's time of day is ahead of the server's;
    ``slept`` what CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.trio = MockClock(rate=0.0, autojump_threshold=0.0)
        self.wall_offset = 0.0
        self.server_offset = 0.0
        self.slept = 0.0

    def awake(self) -> float:
        """Seconds of the run so far."""
        return self.trio._virtual_base

    def server(self) -> float:
        """The server's time of day."""
        return EPOCH + self.trio._virtual_base + self.slept + self.server_offset


_current = SimpleNamespace(clocks=Clocks())


def _monotonic() -> float:
    return BOOTED + _current.clocks.trio._virtual_base


def _boottime() -> float:
    clocks = _current.clocks
    return BOOTED + clocks.trio._virtual_base + clocks.slept


def _wall() -> float:
    clocks = _current.clocks
    return EPOCH + clocks.trio._virtual_base + clocks.slept + clocks.wall_offset


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


def begin(seed: int) -> Clocks:
    """The clocks of a new run; the product's and trio's chances are the seed's from now on."""
    _current.clocks = Clocks()
    random.seed(seed)
    trio_run._r.seed(seed)
    return _current.clocks
