"""Three clocks: for what we know, for what we wait for, and for what people are shown.

What we know grows old while this machine sleeps, so leases, ages and the server's time go by ``now``. What we
wait for does not: a laptop that slept for a minute in the middle of a write usually finds its server where it
was, and a deadline that had passed meanwhile would lose the bytes. So deadlines, back-offs and measurements
go by ``awake``, as trio's do. Neither of these clocks jumps; the time of day does.

Nothing else of the front process asks ``time`` (except what is compared with a library's own clock). So a
test may put other clocks here before other modules are imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

now: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds since this machine was started, asleep or not. 63 ns a call, where ``awake`` takes 44."""

awake: Callable[[], float] = time.monotonic
"""Seconds this machine was awake since it was started (CLOCK_MONOTONIC). Not to be compared with ``now``."""

wall: Callable[[], float] = time.time
"""The time of day, seconds since 1970."""

wall_ns: Callable[[], int] = time.time_ns
"""The same in nanoseconds, for the times shown of files that we change."""
