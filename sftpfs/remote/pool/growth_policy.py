"""Whether a further bulk connection would help. Owned by ``remote.pool.bulk_connections``; keeps what it
measured.

Two things limit one connection. Over a distance it is the server's window, which a
further connection doubles. Nearby it is the processors at both ends, and a further
connection is one more process here and two more on the server: that helps while
processors are idle, and costs where they are not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

WINDOW_BYTES = 2 << 20
"""What one channel carries in a round trip: sshd's receive window."""

FULL_RATE = 1e9
"""Bytes per second. One connection cannot encrypt more, so one whose window allows as much is not limited by
it."""

CHANNELS_RATE = 300e6
"""Bytes per second that the channels of the first bulk connection should allow together from the first byte
on, without waiting for further logins."""

MOST_CHANNELS = 7
"""Channels on one connection: sshd's MaxSessions is 10, and each is a process there."""

STRETCH = 0.5
"""Seconds of uninterrupted bulk from which is judged: many times what it takes to open a
connection, so that a copy that is nearly over opens none."""

FIRST_STRETCH = 3.0
"""Seconds of uninterrupted bulk nearby before it gets a connection apart from metadata: what is
queued before a metadata request is passed in some 10 ms there, and a login costs a tenth of a
copy that takes a second."""

PAUSE = 0.1
"""Seconds without a busy moment that end a stretch: then the user is the slow one."""

IDLE_PROCESSORS = 0.5
"""With fewer processors idle on average, another process can only take from the others."""

GAIN = 1.15
"""What the last connection must have brought, times the rate before, for another to be opened."""


def idle_seconds() -> float:
    """Time that all processors together spent idle since boot; infinite if the system does not report it."""
    try:
        with open("/proc/stat", "rb") as file:
            fields = file.readline().split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return float("inf")


class GrowthPolicy:
    """See the module.

    INVARIANT: the figures of a stretch are those at its begin, with ``_count`` connections.
    """

    __slots__ = ("_begin", "_count", "_idle", "_idle_seconds", "_last", "_moved", "_rates")

    def __init__(self, idle: Callable[[], float] = idle_seconds) -> None:
        self._idle_seconds = idle
        self._rates: dict[int, float] = {}
        """Bytes per second of the last whole stretch, by the number of connections."""
        self._count = 0
        self._begin = self._last = float("-inf")
        self._moved = 0
        self._idle = 0.0

    def wanted(self, now: float, count: int, moved: int, round_trip: float) -> bool:
        """True if ``count`` bulk connections, all busy at ``now``, should become one more. Nearby even the
        first waits for a whole stretch, because a short copy is over before it is connected. So does every
        later one, because a file being copied pauses for a round trip or two to start using it.

        ``moved``: bytes sent and received on all so far. ``round_trip`` and ``now`` in seconds.
        """
        far = max(count, 1) * WINDOW_BYTES < round_trip * FULL_RATE
        if far and not count:
            return True
        if count != self._count or now - self._last > PAUSE or moved < self._moved:
            self._start(now, count, moved)
            return False
        self._last = now
        taken = now - self._begin
        if taken < (STRETCH if count else FIRST_STRETCH):
            return False
        if not count or far:
            return True
        rate = (moved - self._moved) / taken
        idle = self._idle_seconds() - self._idle
        self._start(now, count, moved)
        self._rates[count] = rate
        # Not a number if the system does not report it: then only the gain counts.
        return not idle < IDLE_PROCESSORS * taken and rate >= GAIN * self._rates.get(count - 1, 0.0)

    @staticmethod
    def needed(round_trip: float, most: int) -> int:
        """Connections whose windows together allow the full rate over ``round_trip`` seconds, within
        1 and ``most``."""
        return math.ceil(max(1.0, min(round_trip * FULL_RATE / WINDOW_BYTES, most)))

    @staticmethod
    def channels(round_trip: float) -> int:
        """How many channels the first bulk connection over ``round_trip`` seconds should have."""
        return math.ceil(max(1.0, min(round_trip * CHANNELS_RATE / WINDOW_BYTES, MOST_CHANNELS)))

    def _start(self, now: float, count: int, moved: int) -> None:
        self._begin = self._last = now
        self._count = count
        self._moved = moved
        self._idle = self._idle_seconds()
