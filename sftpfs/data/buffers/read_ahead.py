"""How far to read ahead of a reader.

Pure policy: a window for each open file, and one estimate of what the link needs.
The reader asks and fetches; nothing here waits.
"""

from __future__ import annotations

import math

from sftpfs.data.buffers.chunk_cache import CHUNK_BYTES

REORDER_READS = 4
"""The kernel has several reads of one reader under way and they reach us in any order;
a read this many lengths off the front still belongs to it."""

CONSUMED_FACTOR = 4
"""No further ahead than this multiple of what was read, so that a reader who stops early
wasted no more than in proportion."""

MIN_LINK_BYTES = 4 << 20
"""Always allowed: keeps four connections busy with several requests each on a link too
quick for its round trip to be told from our own work."""

NEAR = 0.002
"""Seconds, our own work included, in which a nearby server sends a chunk that waits for no other."""

NEAR_LINK_BYTES = 1 << 20
"""Always allowed nearby. More would only be queued, with small requests of the same connection behind it."""

ESTIMATE_SECONDS = 10.0
"""A smaller round trip seen longer ago than this is forgotten: the route may have changed."""

AHEAD_SECONDS = 2.0
"""No more is asked for ahead than the link brings in this time: on a slow link a reader who stops early, or a
small request, has to wait for it."""

RATE_SECONDS = 0.02
"""Shortest span a rate is taken over; one wake-up may deliver many replies at once."""


class LinkEstimate:
    """Bytes that must be under way to keep the link full: round trip times rate, both observed.

    As the window grows the rate seen grows with it until the link is full; twice the
    product leaves room for that growth and stops once it no longer helps.
    """

    __slots__ = ("_arrived", "_floor", "_floor_at", "_quickest", "_rate", "_since")

    def __init__(self) -> None:
        self._floor = 0.0
        self._floor_at = 0.0
        self._quickest = math.inf
        self._rate = 0.0
        self._arrived = 0
        self._since = 0.0

    def arrived(self, size: int, sent: float, now: float) -> None:
        """``size`` bytes asked for at ``sent`` are here at ``now`` (seconds, any steady clock)."""
        latency = now - sent
        if latency < self._quickest:
            self._quickest = latency
        if not self._floor or latency <= self._floor or now - self._floor_at > ESTIMATE_SECONDS:
            self._floor = latency
            self._floor_at = now
        if sent > self._since and not self._arrived:
            self._since = sent  # idle before: do not count that time
        self._arrived += size
        span = now - self._since
        if span >= RATE_SECONDS and span >= self._floor:
            self._rate = max(self._arrived / span, self._rate * 0.9)
            self._arrived = 0
            self._since = now

    @property
    def window(self) -> int:
        """Bytes worth having under way for one reader; of a slow link less than a chunk."""
        least = NEAR_LINK_BYTES if self._quickest < NEAR else MIN_LINK_BYTES
        window = max(least, int(2 * self._rate * self._floor))
        return min(window, int(AHEAD_SECONDS * self._rate)) if self._rate else window


class ReadAheadWindow:
    """Recognises one sequential reader and says how far ahead of it to ask.

    INVARIANT: ``size`` is 0 exactly while access is not known to be sequential.
    """

    __slots__ = ("_holes", "_largest", "_pressure", "_start", "front", "requested", "size")

    def __init__(self) -> None:
        self.front = 0
        """End of the furthest read of the stream."""
        self.requested = 0
        """What is asked for ahead, or was, ends here."""
        self.size = 0
        self._start = 0
        self._holes = 0
        self._largest = 0
        self._pressure = 0

    @property
    def target(self) -> int:
        """Offset up to which data should be asked for: ``size`` ahead, in proportion to what was read."""
        return self.front + min(self.size, CONSUMED_FACTOR * (self.front - self._start))

    def observe(self, offset: int, size: int) -> bool:
        """Notes a read of ``size`` bytes at ``offset``. True if it is of a sequential stream."""
        if offset == self.front:
            self._advance(offset, size)
            return True
        if self.size:
            if size > self._largest:
                self._largest = size
            reach = REORDER_READS * self._largest
            if self.front < offset <= self.front + reach:
                self._holes += offset - self.front
                if self._holes <= reach:
                    self.front = offset + size
                    return True
            elif self.front - reach <= offset < self.front and offset >= self._start:
                self._holes = max(0, self._holes - size)
                self.front = max(self.front, offset + size)
                return True
        self._restart(offset, size)
        return False

    def _advance(self, offset: int, size: int) -> None:
        self.front = offset + size
        if size > self._largest:
            self._largest = size
        if not self.size:
            # From the first byte on, or the second of two adjoining reads.
            self.size = CHUNK_BYTES
            self._start = offset
            self._holes = 0
            self.requested = self.front

    def _restart(self, offset: int, size: int) -> None:
        self.size = 0
        self.front = offset + size
        self._start = offset
        self._largest = size
        self._holes = 0

    def waited(self, limit: int) -> None:
        """A sequential reader caught up with us: reads twice as far ahead, up to ``limit``."""
        if self.size:
            read = CONSUMED_FACTOR * (self.front - self._start)
            self.size = max(CHUNK_BYTES, min(2 * self.size, limit, read))

    def pressed(self, pressure: int) -> None:
        """Halves the window if memory became short since the last call (``pressure`` is the budget's
        count)."""
        if pressure != self._pressure:
            self._pressure = pressure
            if self.size:
                self.size = max(CHUNK_BYTES, self.size // 2)
