"""The server's clock, as far as it is known: an interval over ``clock.now``.

A mount has one object: ``remote`` reports to it what it learns, ``vfs`` and ``data`` ask it. It is used for
three things:
- An mtime proves a version or a listing unchanged only if that was fetched in a later second of the server's
  clock, by ``earliest``. To take the server to be later than it is would take too much for proven.
- What is found after a lost reply is ours only if it is no older than our request.
- ``estimate`` gives the time of what we changed a moment ago, while the server has not reported it. The
  kernel does not keep such times, and a program that wrote a file gets the server's own
  (``Operations.getattr``).

It learns from two things:
- A name that we just made: the server's clock gave it its mtime, between our request and the answer.
- A file of the server's /proc as a session begins: that machine's clock had got there by then. No other mtime
  counts: anybody may set those, also to a time in the future.
"""

from __future__ import annotations

import math

from sftpfs import clock

UNKNOWN = 86400.0
"""Seconds within which the clocks are assumed to agree while nothing was learned. A machine that does not
keep time usually is off by a time zone, and what was not changed for a day may be believed."""

DRIFT = 500e-6
"""Seconds that the two clocks drift apart in a second, at most: the rate at which clocks are slewed
(adjtime), which is five times what one runs wrong by itself."""

GRANULE = 0.05
"""Seconds a file's time may be behind the clock it comes from: a tick of the server's kernel."""

STARTED = 60.0
"""Seconds that a session's process may have run, and its files in /proc existed, when we first look at
one."""

SETTLED = 3600.0
"""Seconds without a contradiction after which the clock is believed again to be one clock, and steady."""


class ServerClock:
    """See the module.

    INVARIANT: ``_least`` ≤ ``_most``: between them was the server's clock less ``clock.now`` at ``_at``, by
    what was learned last and all that contradicted it within ``SETTLED`` seconds.
    """

    __slots__ = ("_at", "_least", "_most", "_unsettled_until", "proves_nothing")

    def __init__(self) -> None:
        self._least, self._most = -math.inf, math.inf
        self._at = 0.0
        self._unsettled_until = 0.0
        self.proves_nothing = False
        """The server's times are missing, or stand still: no file is proven unchanged by its time."""

    def earliest(self, at: float) -> float:
        """The least that the server's clock, and each time it gave a file, was at ``at`` (``clock.now``)."""
        if self.proves_nothing:
            return 0.0
        if not self.known:
            return clock.wall() - (clock.now() - at) - UNKNOWN
        return at + self._least - GRANULE - DRIFT * abs(at - self._at)

    def at_least(self) -> float:
        """``earliest``, for now."""
        return self.earliest(clock.now())

    @property
    def known(self) -> bool:
        """The server has reported its time."""
        return self._least > -math.inf

    def estimate(self, at: float | None = None) -> float:
        """The server's most likely time at ``at`` (``clock.now``; None: now): ours, unless that is
        impossible."""
        now = clock.now()
        if at is None:
            at = now
        drift = DRIFT * abs(at - self._at)
        return min(max(clock.wall() - (now - at), at + self._least - drift), at + self._most + drift)

    def made(self, mtime: int, sent: float, answered: float) -> None:
        """A name that we asked for at ``sent`` has ``mtime`` (whole seconds), as reported at ``answered``."""
        self._learn(mtime - answered, mtime + 1 + GRANULE - sent, answered)

    def started(self, time: int, sent: float, answered: float) -> None:
        """A file that appeared with the server's process has ``time``, as asked for at ``sent``."""
        self._learn(time - answered, time + 1 + STARTED - sent, answered)

    def _learn(self, least: float, most: float, at: float) -> None:
        drift = DRIFT * abs(at - self._at)
        known_least, known_most = self._least - drift, self._most + drift
        if least > known_most or most < known_least:
            # Somebody set the clock, or files still have another machine's time (NFS): both are possible.
            self._least, self._most = min(least, known_least), max(most, known_most)
            self._unsettled_until = at + SETTLED
        elif at >= self._unsettled_until:
            self._least, self._most = max(least, known_least), min(most, known_most)
        else:
            return
        self._at = at
