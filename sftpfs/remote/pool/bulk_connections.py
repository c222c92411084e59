"""The bulk connections of one mount: which exist, and when one more is opened.

Owned by ``remote.pool.pool``, which makes sessions and says when one ended. ``remote.pool.growth_policy``
holds the policy. ``remote.files.pooled_file`` asks for them as it sends, and opens files on them
(``remote.files.striping``). No request ever waits for one.

INVARIANT: ``_growing`` tasks are making bulk connections.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import trio

from sftpfs import clock
from sftpfs.config import PoolConfig
from sftpfs.errors import Failure, MountError, said
from sftpfs.remote.pool.connection import Connection, Role
from sftpfs.remote.pool.growth_policy import GrowthPolicy
from sftpfs.remote.pool.server_identity import same_server
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.link_rate import Link
from sftpfs.transport.api import Transport

logger = logging.getLogger(__name__)

BULK_BYTES_PER_CONNECTION = 1 << 20
"""Outstanding bytes each bulk connection should have before another is opened: less
would not fill a connection, as sshd's window alone is 2 MiB."""

FAR = 0.005
"""Seconds of round trip from which content travels beside metadata from the first byte."""

LONGEST_BULK_BACK_OFF = 60.0
"""Seconds between attempts to open a bulk connection; nobody waits for one."""


class Sessions(Protocol):
    """What is needed of the pool."""

    config: PoolConfig
    link: Link
    traits: ServerTraits
    closed: bool
    """No connection is made any more."""

    @property
    def round_trip(self) -> float:
        """The least latency seen, seconds."""

    @property
    def shared(self) -> Transport | None:
        """The transport metadata goes over."""

    def metadata_nowait(self) -> Connection | None:
        """The metadata connection if it is alive."""

    def looking(self) -> Connection | None:
        """The same, or another while that is stalled."""

    async def connect(self, role: Role, interactive: bool) -> Connection:
        """A session on a transport of its own."""

    async def open_on(self, transport: Transport, role: Role) -> Connection:
        """A session on a further channel of ``transport``."""

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background."""


class BulkConnections:
    """See the module. One object a pool.

    ``single``: there can be no further transport, channels only.
    """

    def __init__(self, pool: Sessions, single: bool) -> None:
        self.connections: list[Connection] = []
        """Live bulk sessions. Changes only together with ``epoch``."""
        self.epoch = 0
        """Counts the changes of ``connections``, so that files notice them cheaply."""
        self.refused = False
        """The server was found to permit no further connection."""
        self._pool = pool
        self._most = pool.config.max_connections - 1
        self._growth = GrowthPolicy()
        self._growing = 0
        self._channels_only = single
        self._failures = 0
        self._grow_after = 0.0

    def begin(self) -> None:
        """The metadata connection is there. Far from the server the first bulk connection follows at
        once, for it takes many round trips."""
        if self._far and self._pool.config.several_handles:
            self.demand(most=1)

    def ended(self, connection: Connection) -> None:
        """A session of the pool ended; others are opened later where it was one of these."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.epoch += 1
            self._put_off_growth()

    def demand_spare(self) -> None:
        """Nothing but stalled connections: open another, if there may be one more."""
        if self._growing or self.refused or self._pool.closed or self._useless:
            return
        count = sum(1 for one in self.connections if not one.further)
        if count < self._most and trio.current_time() >= self._grow_after:
            self._growing = 1
            self._pool.spawn(self._grow)

    def least_busy(self) -> Connection | None:
        """The bulk connection with the fewest bytes outstanding, the metadata connection if there is none,
        None if that is dead. Asking for this opens a connection."""
        self.demand(most=1)
        best = None
        for connection in self.connections:
            if not connection.live or connection.stalled:
                continue
            if best is None or connection.outstanding < best.outstanding:
                best = connection
        return best or self._pool.looking()

    def demand(self, most: int | None = None) -> None:
        """A bulk request is about to be sent: opens further bulk connections if the present ones are busy, as
        many together as the distance needs, up to ``most`` (None: what is configured). Opens none over a slow
        link, where a login takes seconds of content."""
        count = sum(1 for one in self.connections if not one.further)
        limit = self._most if most is None else min(self._most, most)
        if self._growing or self.refused or self._pool.closed or count >= limit or self._useless:
            return
        busy = BULK_BYTES_PER_CONNECTION * len(self.connections)
        if count and sum(one.outstanding for one in self.connections) < busy:
            return
        now, round_trip = trio.current_time(), self._pool.round_trip
        if now >= self._grow_after and self._growth.wanted(now, count, self._moved, round_trip):
            # Only one at first, because it is not known whether the server lets us in once more.
            self._growing = max(self._growth.needed(round_trip, limit) - count, 1) if count else 1
            for _ in range(self._growing):
                self._pool.spawn(self._grow)

    @property
    def _far(self) -> bool:
        return FAR <= self._pool.round_trip < math.inf

    @property
    def _useless(self) -> bool:
        """The link is slow, or the server has one file open at a time."""
        return self._pool.link.slow(clock.awake()) or self._pool.traits.known.one_at_a_time

    @property
    def _moved(self) -> int:
        """Bytes that went over the bulk connections there are."""
        counted = [one.session.statistics for one in self.connections]
        return sum(one.bytes_sent + one.bytes_received for one in counted)

    def _put_off_growth(self) -> None:
        self._failures = min(self._failures + 1, 10)
        self._grow_after = trio.current_time() + min(2.0 ** (self._failures - 1), LONGEST_BULK_BACK_OFF)

    async def _grow(self) -> None:
        """Open one bulk connection, or learn that there can be none."""
        try:
            connection = await self._open_bulk()
        finally:
            self._growing -= 1
        if connection is None or not connection.live:
            self._put_off_growth()
            return
        self._failures = 0
        first = not self.connections
        self._admit(connection)
        if first and self._far and connection.transport is not self._pool.shared:
            for _ in range(GrowthPolicy.channels(self._pool.round_trip) - 1):
                self._pool.spawn(partial(self._widen, connection.transport))

    def _admit(self, connection: Connection) -> None:
        self.connections.append(connection)
        self.epoch += 1

    async def _widen(self, transport: Transport) -> None:
        """One more channel on a bulk connection; if the server refuses it, goes on without."""
        try:
            connection = await self._pool.open_on(transport, Role.BULK)
        except (MountError, OSError) as failure:
            logger.info("no further channel: %s", said(failure))
            return
        connection.further = True
        self._admit(connection)

    async def _belongs(self, connection: Connection) -> bool:
        """Whether a new connection leads to the same server as metadata; otherwise it is ended."""
        first = self._pool.metadata_nowait()
        belongs = False
        try:
            belongs = first is not None and await same_server(first, connection)
        finally:
            if not belongs:
                connection.session.close("it may lead to another server than the first connection")
        # The other one may have been made again meanwhile, with another server behind it.
        return belongs and self._pool.metadata_nowait() is first

    async def _open_bulk(self) -> Connection | None:
        if not self._channels_only:
            try:
                connection = await self._pool.connect(Role.BULK, interactive=False)
                if await self._belongs(connection):
                    return connection
                self._channels_only = True
                logger.info("a further connection may lead to another server than the first: it is not used")
            except MountError as failure:
                if failure.failure is Failure.AUTHENTICATION:
                    self._channels_only = True
                logger.info("a further connection failed: %s", said(failure))
            except OSError as failure:
                logger.info("a further connection failed: %s", said(failure))
        first = self._pool.metadata_nowait()
        if first is None:
            return None
        try:
            return await self._pool.open_on(first.transport, Role.BULK)
        except (MountError, OSError) as failure:
            if self._channels_only and first.live:
                self.refused = True
                logger.info("only one connection is used: %s", said(failure))
            return None
