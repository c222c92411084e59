"""A limit that somebody set for content in one direction (``bwlimit``): how much may be sent by when.

Pure; time is a parameter. Owned by one ``sftp.link_rate.LinkDirection``, which keeps requests waiting. A
limit is a schedule. Each request moves the schedule's end by the time that its bytes take at the rate, and
the next may go once that end is near. The requests that follow make up for bytes that had to go at once.
"""

from __future__ import annotations

import math

BURST = 0.1
"""Seconds by which requests may be ahead of the schedule. So what a timer that fires late leaves unused is
sent then, and a small file comes at once."""

LEAST_PIECE = 4096
"""Bytes of a request, however low the limit is."""


class RateLimit:
    """See the module.

    INVARIANT: over any span of seconds, those who wait until ``pause`` is 0 take no more than ``rate`` times
    the span, plus what ``BURST`` allows, plus one piece.
    """

    __slots__ = ("_end", "piece", "rate")

    def __init__(self, rate: float) -> None:
        """``rate``: bytes a second."""
        self.rate = rate
        self.piece = max(LEAST_PIECE, int(rate * BURST))
        """Bytes of one request at most, so that what travels is spread over each second."""
        self._end = -math.inf

    def take(self, size: int, now: float) -> None:
        """``size`` bytes are sent, or asked for, at ``now``."""
        self._end = max(self._end, now) + size / self.rate

    def give_back(self, size: int) -> None:
        """Of what was taken ``size`` bytes did not travel."""
        self._end -= size / self.rate

    def pause(self, now: float) -> float:
        """Seconds until something more may be sent; 0 if it may now."""
        return max(0.0, self._end - BURST - now)

    def spare(self, now: float) -> float:
        """Bytes that may go now without a wait."""
        return max(0.0, (now + BURST - max(self._end, now)) * self.rate)
