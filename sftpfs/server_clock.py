"""The server's clock, as far as it is known: an interval over ``clock.now``.

One object a mount: ``remote`` tells it what it learns, ``vfs`` and ``data`` ask it. What goes by it:
- A version or a listing is proven unchanged by an mtime only where it was fetched in a later second of the
  server's clock: by ``earliest``. Who takes the server to be later than it is takes too much for proven.
- What is found after a lost reply is ours only if it is no older than our request.
- Times shown of what we changed a moment ago, which the server has not told yet: ``estimate``. What has them
  is not kept by the kernel, and who wrote a file is told the server's own (``Operations.getattr``).

What is learned from:
- A name just made by us: the server's clock gave it its mtime, between our request and the answer.
- A file of the server's /proc as a session begins: that machine's clock had got there by then.
Not from any other mtime seen: anybody may set those, also to a time to come.
"""

from __future__ import annotations

import math

from sftpfs import clock

UNKNOWN = 86400.0
"""Seconds the clocks are taken to agree by while nothing was learned: machines that do not keep time are
mostly in another zone's, and what was not changed for a day may be believed."""

DRIFT = 500e-6
"""Seconds a second the two clocks drift apart at most: what clocks are slewed by (adjtime), five times
what one runs wrong by itself."""

GRANULE = 0.05
"""Seconds a file's time may be behind the clock it comes from: a tick of the server's kernel."""

STARTED = 60.0
"""Seconds a session's process may have run, and its files in /proc been there, when we first look at one."""

SETTLED = 3600.0
"""Seconds without a contradiction after which the clock is believed to be one, and steady, again."""


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
        """The times the server tells are absent, or stand still: no file was unchanged by its time."""

    def earliest(self, at: float) -> float:
        """What the server's clock, and each time it gave a file, was at least at ``at`` (``clock.now``)."""
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
        """The server has told its time."""
        return self._least > -math.inf

    def estimate(self, at: float | None = None) -> float:
        """What the server's clock shows at ``at`` (``clock.now``; None: now), most likely: what ours does,
        unless that cannot be."""
        now = clock.now()
        if at is None:
            at = now
        drift = DRIFT * abs(at - self._at)
        return min(max(clock.wall() - (now - at), at + self._least - drift), at + self._most + drift)

    def made(self, mtime: int, sent: float, answered: float) -> None:
        """A name we asked for at ``sent`` has ``mtime`` (whole seconds), as told at ``answered``."""
        self._learn(mtime - answered, mtime + 1 + GRANULE - sent, answered)

    def started(self, time: int, sent: float, answered: float) -> None:
        """A file that came to be with the server's process has ``time``, as asked at ``sent``."""
        self._learn(time - answered, time + 1 + STARTED - sent, answered)

    def _learn(self, least: float, most: float, at: float) -> None:
        drift = DRIFT * abs(at - self._at)
        known_least, known_most = self._least - drift, self._most + drift
        if least > known_most or most < known_least:
            # Somebody set the clock, or files come with that of another machine still (NFS): either holds.
            self._least, self._most = min(least, known_least), max(most, known_most)
            self._unsettled_until = at + SETTLED
        elif at >= self._unsettled_until:
            self._least, self._most = max(least, known_least), min(most, known_most)
        else:
            return
        self._at = at
