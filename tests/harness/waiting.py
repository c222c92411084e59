"""Waiting for a fact, always with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LIMIT = 40.0
"""Seconds for what takes a moment, on a busy machine: nobody waits for them where it comes."""

STEP = 0.01
"""Seconds between two looks: short beside any limit, long beside the look itself."""


def eventually(look: Callable[[], T], limit: float = LIMIT, what: str = "") -> T:
    """The first true value of ``look``; AssertionError after ``limit`` seconds without one."""
    end = time.monotonic() + limit
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s: {what or look!r} (last: {value!r})")
        time.sleep(STEP)


def undisturbed(attempt: Callable[[], T], seconds: float, times: int = 10) -> T:
    """What ``attempt`` gives that took less than ``seconds``: one that the machine held up for longer shows
    nothing about what holds so long. AssertionError after so many ``times``."""
    for _ in range(times):
        begun = time.monotonic()
        value = attempt()
        if time.monotonic() - begun < seconds:
            return value
    raise AssertionError(f"{times} times it took more than {seconds} s: {attempt!r}")
