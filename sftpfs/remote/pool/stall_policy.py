"""When a request counts as stalled, and how many may be sent again: pure policy with counts.

Owned by ``remote.pool.hedging``, which looks at each connection once a second. A server answers one session's
requests in order. So a late one means that nothing passes on its connection, or that the server's process
behind it is stuck; another connection has neither fault.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs.histogram import Histogram

FLOOR = 1.0
"""Seconds of silence below which nothing is stalled: a busy link and a busy disk are no stall."""

FACTOR = 4.0
"""A request is stalled if it takes this many times the 99th percentile of its kind. A request sent twice
costs little; one in a hundred would cost something."""

SHARE = 0.99

ENOUGH = 32
"""Replies of a kind after which its percentile means something."""

UNKNOWN = 4.0
"""Seconds for a kind of which too little is known: longer than a disk takes to spin up, or a directory of
many thousand names takes to be read for the first time."""

MOST_AT_ONCE = 8
"""Requests under way twice: a stall of the whole server must not double the load it recovers with."""


class StallPolicy:
    """See the module.

    INVARIANT: ``under_way`` is between 0 and MOST_AT_ONCE, and is what was admitted and has not ended.
    """

    __slots__ = ("_latencies", "moved", "refused", "sent", "stalled", "under_way", "won")

    def __init__(self, latencies: Callable[[str], Histogram]) -> None:
        """``latencies`` gives how long requests of a kind took so far."""
        self._latencies = latencies
        self.under_way = 0
        self.stalled = 0
        """Times a connection was found stalled."""
        self.sent = 0
        """Requests sent again beside the first."""
        self.won = 0
        """Of these, answered before the first was."""
        self.moved = 0
        """Requests taken off a stalled connection, whose operation began again on another."""
        self.refused = 0
        """Requests that were due and not sent, for too many were under way."""

    def limit(self, kind: str) -> float:
        """Seconds after which a request of ``kind`` is stalled, if nothing else came meanwhile."""
        known = self._latencies(kind)
        seconds = known.percentile(SHARE)
        if seconds is None or known.total < ENOUGH:
            return UNKNOWN
        return max(FLOOR, FACTOR * seconds)

    def admit(self) -> bool:
        """Whether one more may be sent again. If so, it counts as under way until ``ended``."""
        if self.under_way >= MOST_AT_ONCE:
            self.refused += 1
            return False
        self.under_way += 1
        self.sent += 1
        return True

    def ended(self, won: bool) -> None:
        """One that was admitted was answered, or its connection lost; ``won``: it was the first answer."""
        self.under_way -= 1
        assert self.under_way >= 0
        self.won += won

    def statistics(self) -> dict[str, int]:
        """The tally, for people."""
        return {
            "connections_stalled": self.stalled,
            "sent_again": self.sent,
            "answered_first": self.won,
            "moved": self.moved,
            "refused": self.refused,
            "under_way": self.under_way,
        }
