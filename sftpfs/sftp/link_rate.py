"""How fast content passes to and from the server, as far as it matters: whether the link is slow.

Pure; time is a parameter. A mount has one object, because all its sessions share the link. Each session
reports what READ and WRITE it sends and when they are answered (``sftp.table.request_table``). Those who
could ask for less or later heed it (``remote``, ``vfs.prefetch.prefetcher``). If a link is not slow, nothing
is bounded.

What is under way stands in queues on the way, ours and routers', and a small request waits behind it. So on a
slow link no more is under way than it brings in a moment, whatever asks for it.

The rate follows from the bytes that stood in the queue, and from how much longer than a round trip the answer
took. If the route became longer on the same connection, every answer takes longer. That would be taken for a
low rate for ever, because the rate looks the lower the less is under way. So now and then one request goes
alone: by what more bytes take beyond that, the rate is known however long the route is.

A limit that somebody set (``sftp.rate_limit``) holds requests here, too, before they are sent: no deadline
runs for them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial

from sftpfs.sftp.rate_limit import RateLimit
from sftpfs.types import Bandwidth

SLOW_RATE = 1e6
"""Bytes per second from which nothing is bounded. The most that anything else asks for, some MiB, then
arrives in seconds, and programs wait for a round trip rather than for the rate."""

SLOW_REPLY = 1.0
"""Seconds beyond the round trip that a reply must take to be the first that shows a slow link. Most shorter
waits are caused by a busy processor or disk."""

SLOW_REPLY_IN_DOUBT = 0.3
"""The same if the login took longer, too: a processor or disk seldom causes both. ``DOUBTFUL`` bytes take
this long at 110 kB/s, about where a link is seen not to be slow (``ENOUGH``)."""

LEAST_SAMPLE = 2048
"""Bytes under way below which an answer shows nothing of the rate."""

MOMENT = 0.3
"""Seconds' worth of bytes under way on a slow link, beside a round trip: two waits in a row, which ``ls``
needs, are then over within a second."""

LEAST_UNDER_WAY = 6 << 10
LEAST_PIECE = 3 << 10
"""Bytes, however slow the link is: 0.6 s of 10 kB/s. With less, a slow disk, or a route that became longer
while its link counts as slow, would appear far slower than it is."""

LOGIN_ROUND_TRIPS = 12
LOGIN_EXCESS = 0.15
"""A login takes at most this many round trips and, beside them, this many seconds, unless the link is slow,
this machine is busy, or somebody typed. It moves some 8 kB, which is 0.16 s of 50 kB/s."""

DOUBTFUL, DOUBTFUL_PIECE = 1 << 15, 1 << 14
"""Bytes under way, and of a request, before anything else is known of a link over which the login took
longer: 3 s of 10 kB/s. If it is not slow, the first READs or WRITEs of the mount wait one more round trip."""

LEAST_EXCESS = 1e-4
"""Seconds: the round trip is not known any better."""

ANY = 1 << 62
"""Bytes of a request that the link does not bound."""

ALONE_EVERY = 10.0
"""Seconds from one request that goes alone over a slow link to the next: the link is idle for two round trips
around it."""

GROWTH = 2.0
"""How many times the known rate one answer may show, if only the comparison with the request that went alone
says so: that may have met a stall. More under way then takes longer, which shows before it is much more."""

ENOUGH = 0.1
"""Part of SLOW_RATE. A link that shows this with little under way no longer counts as doubtful. If it is slow
all the same, more under way will show it."""

MEMORY = 10.0
"""Seconds after an answer that showed the link to be slow in which silence is attributed to that."""

AFFORDABLE = 1.5
"""Seconds' worth of bytes that may be asked for although nobody waits for them yet."""


Later = Callable[[float, Callable[[float], None]], None]
"""Calls, after so many seconds, with the time by ``clock.awake``."""


def _no_timer(_pause: float, _go_on: Callable[[float], None]) -> None:
    raise AssertionError("a limit without a timer")


class LinkDirection:
    """One direction of the link.

    INVARIANT: ``under_way`` is the sum of the bytes of READs (WRITEs) sent and not answered in all sessions.
    INVARIANT: while any wait in ``_waiting``, some are under way, or it is ``held`` with a timer running: a
    direction that is empty and not held is not ``full``.
    """

    __slots__ = (
        "_alone",
        "_alone_at",
        "_draining",
        "_holds",
        "_later",
        "_limit",
        "_piece",
        "_route",
        "_shown_at",
        "_waiting",
        "held",
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
        self.held = False
        """The limit that was set lets nothing more go now."""
        self._limit: RateLimit | None = None
        self._later: Later = _no_timer
        self._holds = 0
        self._piece = ANY
        self._route = 0.0
        """Seconds that an answer takes without a queue, if that was seen to be more than the round trip."""
        self._draining = False
        """The next request must go alone."""
        self._alone: tuple[float, int] | None = None
        """What the latest request that went alone took, in seconds, and its bytes; less, if any took less
        since."""
        self._alone_at = -math.inf

    def slow(self, now: float) -> bool:
        """It was recently seen to bring less than ``SLOW_RATE``."""
        return now - self._shown_at < MEMORY

    @property
    def full(self) -> bool:
        """Nothing more may be sent now."""
        return self.held or self.under_way >= self.room

    @property
    def piece(self) -> int:
        """Bytes of one request at most."""
        return self._piece if self._limit is None else min(self._piece, self._limit.piece)

    def sent(self, size: int, now: float) -> int:
        """A request for ``size`` bytes was sent. Returns the bytes in the queue, including this request."""
        self.under_way += size
        if self._limit is not None:
            self._limit.take(size, now)
            if not self.held:
                self._hold(self._limit, now)
        return self.under_way

    def cut(self, size: int, came: int) -> None:
        """A request for ``size`` bytes was answered with fewer, which shows nothing of the rate."""
        if self._limit is not None:
            self._limit.give_back(size - came)
        self.lost(size)

    def lost(self, size: int) -> None:
        """A request for ``size`` bytes will not be answered."""
        self.under_way -= size
        self._admit()

    def answered(self, size: int, queued: int, seconds: float, round_trip: float, now: float) -> None:
        """A request for ``size`` bytes, with ``queued`` bytes in all when it was sent, took ``seconds``."""
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
        """It was slow, and brings at least ``rate``: the route may be longer than the round trip."""
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
        """The rate, by what ``queued`` bytes took beyond what few took alone; 0 if that shows nothing."""
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
        self._piece = max(LEAST_PIECE, int(self.room / 2))
        if self._draining:
            self.room, self._piece = 1, LEAST_PIECE

    def _prove(self) -> None:
        """It is not slow."""
        self._shown_at = self._alone_at = -math.inf
        self._alone, self._draining = None, False
        self.rate = self.room = math.inf
        self._piece = ANY

    def anew(self) -> None:
        """No session is left."""
        self._route, self._alone, self._alone_at = 0.0, None, -math.inf

    def doubt(self) -> None:
        """It may be slow: the login took long."""
        self.room, self._piece = DOUBTFUL, DOUBTFUL_PIECE

    def wait(self, send: Callable[[], None]) -> None:
        """Calls ``send`` once there is room. Only while ``full``; in the order of asking."""
        self._waiting.append(send)

    def _admit(self) -> None:
        waiting = self._waiting
        while waiting and not self.held and (self.under_way < self.room or not self.under_way):
            waiting.popleft()()

    # the limit that was set

    def limit(self, rate: float, now: float, later: Later) -> None:
        """From now on no more than ``rate`` bytes a second; infinite means no limit."""
        self._limit = None if rate == math.inf else RateLimit(rate)
        self._later = later
        self._holds += 1  # a timer that runs is of the limit before
        self.held = False
        self._admit()

    @property
    def limited_to(self) -> float:
        """Bytes a second."""
        return math.inf if self._limit is None else self._limit.rate

    def spare(self, now: float) -> float:
        """Bytes that may go now without waiting for the limit."""
        return math.inf if self._limit is None else self._limit.spare(now)

    def _hold(self, limit: RateLimit, now: float) -> None:
        """Keeps later requests waiting for as long as ``limit`` says."""
        pause = limit.pause(now)
        self.held = pause > 0
        if self.held:
            self._holds += 1
            self._later(pause, partial(self._go_on, self._holds))

    def _go_on(self, hold: int, now: float) -> None:
        """The pause of ``hold`` is over."""
        if hold != self._holds or self._limit is None:
            return
        self._hold(self._limit, now)  # something may have gone past it meanwhile
        self._admit()


class Link:
    """Both directions of the link of one mount. See the module."""

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
                direction.doubt()

    def limit(self, bandwidth: Bandwidth, now: float, later: Later) -> None:
        """Content takes ``bandwidth`` at most from now on."""
        self.up.limit(bandwidth.up, now, later)
        self.down.limit(bandwidth.down, now, later)

    def slow(self, now: float) -> bool:
        """Content recently came or went slowly: nobody logs in and nothing is sent without need."""
        return self.down.slow(now) or self.up.slow(now)

    @property
    def doubtful(self) -> bool:
        """The login took long, and nothing else is known."""
        return self.down.room == self.up.room == DOUBTFUL

    @property
    def affordable(self) -> float:
        """Bytes that may be asked for ahead of need; infinite where the link is not slow."""
        return self.down.rate * AFFORDABLE
