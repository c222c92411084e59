"""The connections of one mount: one for metadata and small requests, others for bulk.

Owns which sessions exist, and the metadata connection, for which a request waits no longer than the deadline.
``remote.client`` asks it for that one; ``remote.pool.bulk_connections`` has the others.

INVARIANT: at most one task (``remote.pool.reconnect``) brings the metadata connection back.
"""

from __future__ import annotations

import errno
import logging
import math
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from sftpfs import clock, operation
from sftpfs.config import PoolConfig
from sftpfs.errors import MountError, SessionLostError
from sftpfs.histogram import Histogram
from sftpfs.remote.api import AWAY_AFTER
from sftpfs.remote.pool.bulk_connections import BulkConnections
from sftpfs.remote.pool.connection import (
    Connection,
    Role,
    begin_anew,
    look_at_process,
    open_connection,
)
from sftpfs.remote.pool.hedging import RequestHedger
from sftpfs.remote.pool.reconnect import Reconnector
from sftpfs.remote.pool.server_identity import at_one_address
from sftpfs.remote.pool.silence_deadline import OWING, Silence
from sftpfs.remote.pool.stall_policy import StallPolicy
from sftpfs.remote.request_sizes import RequestSizes
from sftpfs.remote.requests.time_trust import TIMES
from sftpfs.server_clock import ServerClock
from sftpfs.server_traits import LACKS, ServerTraits
from sftpfs.sftp import extensions
from sftpfs.sftp.link_rate import Link
from sftpfs.sftp.table.request import SessionStatistics
from sftpfs.transport.api import Connector, Transport
from sftpfs.types import UNKNOWN_ID, Attributes, Bandwidth, ServerCapabilities

logger = logging.getLogger(__name__)

REUSE_PAUSES = (0.1, 0.4, 0.0)
"""Seconds after each refusal of a channel on a transport that outlived its session. A server that grants one
session counts the old one until it has collected the process."""

CLOSE_TIMEOUT = 2.0
"""Seconds the sessions have to end at unmount."""


class ConnectionPool:
    """See the module. One object a mount; used from the trio thread only.

    Its tasks live in ``nursery``; ``aclose`` before that is cancelled.
    """

    def __init__(self, connector: Connector, config: PoolConfig, nursery: trio.Nursery) -> None:
        self.config = config
        self.closed = False
        """No connection is made any more: the file system is being unmounted."""
        self.capabilities = ServerCapabilities()
        self.clock = ServerClock()
        self.process_ids: tuple[int, int] | None = None
        """As ``Remote.process_ids``."""
        self.traits = ServerTraits()
        self.read_sizes = RequestSizes()
        self.write_sizes = RequestSizes()
        self.link = Link()
        self.limit(config.bandwidth)
        self._connector = connector
        self._nursery = nursery
        self._connections: list[Connection] = []
        self._past = SessionStatistics()  # what connections counted that have ended
        self._metadata: Connection | None = None
        self._generation = 0
        self._scopes: set[trio.CancelScope] = set()
        self._reconnection = Reconnector(
            config, self._attempt, self.spawn, self._install_metadata, lambda: connector.logging_in
        )
        self._hedging = RequestHedger(self, StallPolicy(self._latencies), config.several_handles)
        self.silence = Silence(self, config.patience)
        self.bulk = BulkConnections(self, single=connector.single)

    async def start(self, interactive: bool) -> None:
        """Make the first connection. Raises MountError. ``interactive``: a person may be asked."""
        begun = trio.current_time()
        self._install_metadata(await self.connect(Role.METADATA, interactive))
        self.link.logged_in(trio.current_time() - begun)
        self.bulk.begin()

    def metadata_nowait(self) -> Connection | None:
        """The metadata connection if it is alive."""
        connection = self._metadata
        return connection if connection is not None and connection.live else None

    async def metadata(self, until: float = math.inf) -> Connection:
        """The metadata connection; waits for it if it is dead.

        Waits at most until ``until`` (trio's clock) and until the deadline of the outage, and after that only
        for a moment. Raises SessionLostError with ETIMEDOUT, or with EACCES if the login is refused.
        """
        connection = self.metadata_nowait()
        if connection is not None:
            return connection
        if self.closed:
            raise SessionLostError("the file system is being unmounted")
        return await self._reconnection.wait(until)

    @property
    def away(self) -> bool:
        """As ``Remote.away``. Attempts go on for as long as this is asked."""
        connection = self.metadata_nowait()
        if connection is None:
            return not self.closed and self._reconnection.away()
        if connection.session.silent_for() < AWAY_AFTER:
            return False
        heard = max(one.session.last_reply for one in self._connections if one.live)
        return clock.awake() - heard >= AWAY_AFTER

    @property
    def silent_since(self) -> float | None:
        """As ``Heard.silent_since``."""
        connection = self._metadata
        short = OWING * self.config.timeout
        if connection is None or (connection.live and connection.session.silent_for() < short):
            return None
        return connection.session.silent_since

    @property
    def last_reply(self) -> float:
        """As ``Heard.last_reply``."""
        return 0.0 if self._metadata is None else self._metadata.session.last_reply

    @property
    def shared(self) -> Transport | None:
        """The transport metadata goes over."""
        return self._metadata.transport if self._metadata is not None else None

    def looking(self) -> Connection | None:
        """The connection for requests that only look: as ``metadata_nowait``, or another one while that is
        stalled."""
        connection = self.metadata_nowait()
        if connection is not None and connection.stalled:
            return self.beside(connection) or connection
        return connection

    def beside(self, connection: Connection) -> Connection | None:
        """Another session than that of ``connection``, alive and not stalled, on another transport if
        there is one, the one with the fewest bytes outstanding; None where there is none."""
        others = [
            one
            for one in (self._metadata, *self.bulk.connections)
            if one is not None and one is not connection and one.live and not one.stalled
        ]
        transport = connection.transport
        return min(others, key=lambda one: (one.transport is transport, one.outstanding), default=None)

    @property
    def round_trip(self) -> float:
        """The least latency seen, seconds; 0 without a connection."""
        return min((one.session.statistics.minimum_latency for one in self._connections), default=0.0)

    def _latencies(self, kind: str) -> Histogram:
        """How long requests of ``kind`` took over all connections there have been."""
        known = Histogram()
        for counted in (self._past, *(one.session.statistics for one in self._connections)):
            if kind in counted.latencies:
                known.add(counted.latencies[kind])
        return known

    @property
    def count(self) -> int:
        """Live connections."""
        return len(self._connections)

    def limit(self, bandwidth: Bandwidth) -> None:
        """Content takes ``bandwidth`` at most from now on."""
        self.link.limit(bandwidth, clock.awake(), self._later)

    def _later(self, pause: float, go_on: Callable[[float], None]) -> None:
        async def wait() -> None:
            await trio.sleep(pause)
            go_on(clock.awake())

        self.spawn(wait)

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background until it ends or the pool closes; it must not raise."""
        if not self.closed:
            self._nursery.start_soon(self._background, work)

    async def aclose(self) -> None:
        """End every session and transport, and wait for them a moment. Not the connector."""
        self.closed = True
        for scope in self._scopes:
            scope.cancel()
        self._reconnection.end()
        connections = list(self._connections)
        for connection in connections:
            connection.session.close("the file system is being unmounted")
            connection.transport.close()
        self.limit(Bandwidth())  # nothing waits for a timer that will not come
        if self._metadata is not None:
            self._metadata.transport.close()  # may have outlived its session
        with trio.move_on_after(CLOSE_TIMEOUT):
            for connection in connections:
                await connection.ended.wait()

    def statistics(self) -> dict[str, Any]:
        """A snapshot for people: each live connection, the pool's own counters, and what was counted
        over all connections there ever were."""
        total = SessionStatistics()
        for counted in (self._past, *(connection.session.statistics for connection in self._connections)):
            total.add(counted)
        return {
            "total": {
                "requests": total.requests,
                "replies": total.replies,
                "bytes_sent": total.bytes_sent,
                "bytes_received": total.bytes_received,
                "hostile_names": total.hostile_names,
                "latencies": {kind: histogram.values() for kind, histogram in total.latencies.items()},
            },
            "connections": [connection.statistics() for connection in self._connections],
            "maximum": self.config.max_connections,
            "reconnects": self._reconnection.count,
            "lost_for": self._reconnection.lost_for,
            "further_connections_refused": self.bulk.refused,
            "read_size": self.read_sizes.limit,
            "write_size": self.write_sizes.limit,
            "traits": {LACKS[trait]: seen for trait, seen in self.traits.contradicted.items()},
            "bandwidth": {"up": self.link.up.limited_to, "down": self.link.down.limited_to},
            "link_slow": self.link.slow(clock.awake()),
            "stalls": self._hedging.stalls.statistics(),
        }

    # sessions

    async def _background(self, work: Callable[[], Awaitable[None]]) -> None:
        operation.end()
        with trio.CancelScope() as scope:
            if self.closed:
                scope.cancel()  # nobody waits for ever: what it would have ended ends as it is cancelled
            self._scopes.add(scope)
            try:
                await work()
            finally:
                self._scopes.discard(scope)

    async def connect(self, role: Role, interactive: bool) -> Connection:
        """A session on a transport of its own. Raises MountError, OSError where it is lost at once."""
        begun = trio.current_time()
        beside = self.metadata_nowait() if role is Role.BULK else None
        transport = await self._connector.connect(
            interactive=interactive, beside=beside.transport if beside is not None else None
        )
        if not interactive:
            self._reconnection.longest = max(self._reconnection.longest, trio.current_time() - begun)
        try:
            return await self.open_on(transport, role)
        except BaseException:
            transport.close()
            raise

    async def open_on(self, transport: Transport, role: Role) -> Connection:
        """A session on a further channel of ``transport``. Raises as ``connect``."""
        self._generation += 1
        if not any(one.live for one in self._connections):
            self.link.anew()
        connection = await open_connection(
            transport, role, self._generation, self.config, self.link, self.traits
        )
        judged = self._generation == 1 and self.traits.doubtful(TIMES)
        like_openssh = connection.session.capabilities.has(extensions.LIMITS)
        if role is Role.METADATA and (judged or like_openssh):
            look_at_process(connection.session, self.clock, self._is_process)
        if self.closed:
            connection.session.close("the file system is being unmounted")
            raise SessionLostError("the file system is being unmounted")
        connection.session.watch = partial(self._watch, connection)
        transport.doubted = partial(self._ask_for_life, transport)
        self._connections.append(connection)
        self._nursery.start_soon(self._run, connection)
        logger.info("connection %d is up, for %s", connection.session.generation, role.value)
        return connection

    def _is_process(self, process: Attributes) -> None:
        if stat.S_ISDIR(process.mode) and UNKNOWN_ID not in (process.uid, process.gid):
            self.process_ids = (process.uid, process.gid)

    def _watch(self, connection: Connection) -> None:
        begin_anew(connection.session)
        self._hedging.look(connection, clock.awake())
        if connection is self._metadata:
            self.silence.owed(connection.session)

    def _ask_for_life(self, transport: Transport) -> None:
        """Sends some request on a connection whose SSH server does not itself show that it is alive."""
        for connection in self._connections:
            if connection.transport is transport and connection.live:
                connection.session.start_lstat(b".")
                return

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.session.run()
        finally:
            self._ended(connection)

    def _ended(self, connection: Connection) -> None:
        """Forget a session that ended, whatever ended it."""
        connection.session.close("the session ended")
        self._connections.remove(connection)
        self._past.add(connection.session.statistics)
        connection.ended.set()
        self.bulk.ended(connection)
        transport = connection.transport
        shared = any(one.transport is transport for one in self._connections)
        # A transport that outlived its metadata session is kept for one more channel.
        if not shared and (self.closed or connection is not self._metadata):
            transport.close()
        if not self.closed:
            self._lost(connection)

    def _lost(self, connection: Connection) -> None:
        """Reports the loss, and brings back the connection that requests cannot do without."""
        transport, error = connection.transport, connection.session.closed_error
        reason = transport.reason if transport.closed.is_set() or error is None else error.strerror
        if connection is not self._metadata:
            logger.info("connection %d is lost: %s", connection.session.generation, reason)
            return
        logger.warning("the connection to the server is lost: %s", reason)
        silent = error is not None and error.errno == errno.ETIMEDOUT
        self._reconnection.lost(connection.session.timeout if silent else 0.0)

    # the metadata connection

    def _install_metadata(self, connection: Connection) -> None:
        self.silence.look()
        old, self._metadata = self._metadata, connection
        self.silence.look()
        if old is not None and not any(one.transport is old.transport for one in self._connections):
            old.transport.close()
        for one in self.bulk.connections:
            if not at_one_address(one.transport, connection.transport):
                one.session.close("the server may be another one now")
        self.capabilities = connection.session.capabilities
        self.read_sizes.set_limit(self.capabilities.limits.read_size)
        self.write_sizes.set_limit(self.capabilities.limits.write_size)

    async def _attempt(self, reuse: bool) -> Connection:
        """One attempt: a channel on the old transport if that is alive, else a new transport."""
        old = self._metadata
        if reuse and old is not None:
            connection = await self._reuse(old)
            if connection is not None:
                return connection
        return await self.connect(Role.METADATA, interactive=False)

    async def _reuse(self, old: Connection) -> Connection | None:
        """A channel on ``old``'s transport; spares a server that wants a code from asking for it."""
        transport = old.transport
        error = old.session.closed_error
        if not transport.closed.is_set() and not (error is not None and error.errno == errno.ETIMEDOUT):
            for pause in REUSE_PAUSES:
                try:
                    return await self.open_on(transport, Role.METADATA)
                except (MountError, OSError):
                    if transport.closed.is_set():
                        break
                    await trio.sleep(pause)
        if not any(one.transport is transport and one.live for one in self._connections):
            transport.close()
        return None
