"""How fast content passes to and from the server, as far as it matters: whether the link is slow.

Pure; time is a parameter. One object a mount, for all its sessions share the link: each session tells
it what READ and WRITE it sends and when they are answered (``sftp.table``), and those who could ask for
less or later heed it (``remote``, ``vfs.ahead``). On a link that is not slow it bounds nothing.

What is under way stands in queues on the way, ours and routers', and a small request behind it. So on a
slow link no more is under way than it brings in a moment, whatever asks for it.

The rate follows from the bytes that stood in the queue and from how much longer than a round trip the answer
took. A route that became longer on the same connection makes every answer take longer, and would be taken
for a low rate for ever, since the less is under way the lower it looks. So now and then one request goes
alone: by what more bytes take beyond that the rate is known however long the route.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

SLOW_RATE = 1e6
"""Bytes per second from which nothing is bounded: what all else asks for at most, some MiB, is there in
seconds then, and a round trip rather than the rate is what programs wait for."""

SLOW_REPLY = 1.0
"""Seconds beyond the round trip that a reply must take for it to be the first that shows a slow link: a
busy processor or disk is behind most shorter waits."""

SLOW_REPLY_IN_DOUBT = 0.3
"""The same where the login took longer, too: seldom is a processor or disk behind both. ``DOUBTFUL`` bytes
take this at 110 kB/s, about where a link is seen not to be slow (``ENOUGH``)."""

LEAST_SAMPLE = 2048
"""Bytes under way below which an answer tells nothing of the rate."""

MOMENT = 0.3
"""Seconds' worth of bytes under way on a slow link, beside a round trip: two waits in a row, as ``ls`` needs
them, are over within a second."""

LEAST_UNDER_WAY = 6 << 10
LEAST_PIECE = 3 << 10
"""Bytes, however slow the link is: 0.6 s of 10 kB/s. Less would make a disk that takes its time, or a route
that became longer while its link is held for slow, slower by far than they are."""

LOGIN_ROUND_TRIPS = 12
LOGIN_EXCESS = 0.15
"""A login takes so many round trips and, beside them, so many seconds at most unless the link is slow, this
machine busy, or somebody typed: it moves some 8 kB, which is 0.16 s of 50 kB/s."""

DOUBTFUL, DOUBTFUL_PIECE = 1 << 15, 1 << 14
"""Bytes under way, and of a request, before anything else is known of a link over which the login took
longer: 3 s of 10 kB/s. Where it is not slow the first READs or WRITEs of the mount wait a round trip more."""

LEAST_EXCESS = 1e-4
"""Seconds: the round trip is not known any better."""

ANY = 1 << 62
"""Bytes of a request that the link does not bound."""

ALONE_EVERY = 10.0
"""Seconds from one request that goes alone over a slow link to the next: the link is idle for two round trips
around it."""

GROWTH = 2.0
"""How many times the rate known so far one answer may show, where only the comparison with what went alone
says so: that may have met a stall. Then more under way takes longer, and is seen before it is much more."""

ENOUGH = 0.1
"""Of SLOW_RATE, shown by little: what keeps a link from being held for unproven any longer. Should it be
slow all the same, more under way will show it."""

MEMORY = 10.0
"""Seconds after an answer that showed the link to be slow in which silence is put down to that."""

AFFORDABLE = 1.5
"""Seconds' worth of bytes that may be asked for though nobody waits for them yet."""


class LinkDirection:
    """One way of the link.

    INVARIANT: ``under_way`` is the sum of the bytes of READs (WRITEs) sent and not answered in all
    sessions. INVARIANT: while any wait in ``_waiting``, some are under way: what is empty is not ``full``.
    """

    __slots__ = (
        "_alone",
        "_alone_at",
        "_draining",
        "_route",
        "_shown_at",
        "_waiting",
        "piece",
        "rate",
        "room",
        "under_way",
    )

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._shown_at = -math.inf
        self.under_way = 0
        self.rate = math.inf
        """Bytes per second; infinite where it is not known to be slow."""
        self.room = math.inf
        """Bytes that may be under way."""
        self.piece = ANY
        """Bytes of one request at most."""
        self._route = 0.0
        """Seconds an answer takes without a queue, where that was seen to be more than the round trip."""
        self._draining = False
        """The next request is to go alone."""
        self._alone: tuple[float, int] | None = None
        """What the latest that went alone took, seconds, and its bytes; less, where any took less since."""
        self._alone_at = -math.inf

    def slow(self, now: float) -> bool:
        """It was seen lately to bring less than ``SLOW_RATE``."""
        return now - self._shown_at < MEMORY

    @property
    def full(self) -> bool:
        """Nothing more is to be sent now."""
        return self.under_way >= self.room

    def sent(self, size: int) -> int:
        """A request for ``size`` bytes was sent; what stands in the queue, this one included."""
        self.under_way += size
        return self.under_way

    def lost(self, size: int) -> None:
        """A request for ``size`` bytes will not be answered, or was with fewer: that tells nothing."""
        self.under_way -= size
        self._admit()

    def answered(self, size: int, queued: int, seconds: float, round_trip: float, now: float) -> None:
        """A request for ``size`` bytes, ``queued`` bytes in all as it was sent, took ``seconds``."""
        self.under_way -= size
        if self._draining and queued == size:
            self._draining = False
            self._alone, self._alone_at = (seconds, size), now
            self._bound(round_trip)
        elif queued >= LEAST_SAMPLE:
            self._learn(queued, seconds, round_trip, now)
        if self._waiting:
            self._admit()

    def _learn(self, queued: int, seconds: float, round_trip: float, now: float) -> None:
        excess = seconds - max(round_trip, self._route)
        rate = queued / max(excess, LEAST_EXCESS)
        if self.rate is not math.inf:
            self._adjust(rate, queued, seconds, round_trip, now)
        elif self.room is not math.inf:
            if rate >= SLOW_RATE * ENOUGH:
                self._prove()
            elif excess >= SLOW_REPLY_IN_DOUBT:
                self._show(rate, round_trip, now)
        elif excess >= SLOW_REPLY and rate < SLOW_RATE:
            self._show(rate, round_trip, now)

    def _adjust(self, rate: float, queued: int, seconds: float, round_trip: float, now: float) -> None:
        """It was slow, and brings ``rate`` at least: the route may be longer than the round trip."""
        seen = max(rate, min(self._beyond_alone(queued, seconds), self.rate * GROWTH))
        if rate >= SLOW_RATE:
            self._prove()
        elif (mean := (self.rate + seen) / 2) >= SLOW_RATE:
            assert self._alone is not None
            self._route = self._alone[0]
            self._prove()
        else:
            if queued > LEAST_PIECE and now - self._alone_at >= ALONE_EVERY:
                self._draining = True
            self._show(mean, round_trip, now)

    def _beyond_alone(self, queued: int, seconds: float) -> float:
        """The rate by what ``queued`` bytes took beyond what few took alone; 0 where that tells nothing."""
        if self._alone is None:
            return 0.0
        least, few = self._alone
        if seconds < least:
            self._alone = seconds, few
        return (queued - few) / max(seconds - least, LEAST_EXCESS) if queued >= 2 * few else 0.0

    def _show(self, rate: float, round_trip: float, now: float) -> None:
        """It is slow."""
        self._shown_at = now
        self.rate = rate
        self._bound(round_trip)

    def _bound(self, round_trip: float) -> None:
        """What may be under way at the present rate."""
        self.room = max(LEAST_UNDER_WAY, self.rate * (MOMENT + round_trip))
        self.piece = max(LEAST_PIECE, int(self.room / 2))
        if self._draining:
            self.room, self.piece = 1, LEAST_PIECE

    def _prove(self) -> None:
        """It is not slow."""
        self._shown_at = self._alone_at = -math.inf
        self._alone, self._draining = None, False
        self.rate = self.room = math.inf
        self.piece = ANY

    def anew(self) -> None:
        """No session is left."""
        self._route, self._alone, self._alone_at = 0.0, None, -math.inf

    def wait(self, send: Callable[[], None]) -> None:
        """Have ``send`` called once there is room. Only while ``full``; in the order of asking."""
        self._waiting.append(send)

    def _admit(self) -> None:
        waiting = self._waiting
        while waiting and (self.under_way < self.room or not self.under_way):
            waiting.popleft()()


class Link:
    """Both ways of the link of one mount. See the module."""

    __slots__ = ("down", "round_trip", "up")

    def __init__(self) -> None:
        self.round_trip = math.inf
        """The least time any request took since the server was last reached anew, seconds."""
        self.down = LinkDirection()
        self.up = LinkDirection()

    def anew(self) -> None:
        """No session is left: the next may be reached from another network, farther away."""
        self.round_trip = math.inf
        self.down.anew()
        self.up.anew()

    def logged_in(self, seconds: float) -> None:
        """The first login took ``seconds``, and the first small requests have been answered."""
        if seconds - LOGIN_ROUND_TRIPS * self.round_trip > LOGIN_EXCESS:
            for direction in (self.down, self.up):
                direction.room, direction.piece = DOUBTFUL, DOUBTFUL_PIECE

    def slow(self, now: float) -> bool:
        """Content was seen lately to come or go slowly: nobody logs in and nothing is sent without need."""
        return self.down.slow(now) or self.up.slow(now)

    @property
    def doubtful(self) -> bool:
        """The login took long, and nothing else is known."""
        return self.down.room == self.up.room == DOUBTFUL

    @property
    def affordable(self) -> float:
        """Bytes that may be asked for ahead of need; infinite where the link is not slow."""
        return self.down.rate * AFFORDABLE
