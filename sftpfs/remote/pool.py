"""The connections of one mount: one for metadata and small requests, others for bulk.

Owns which sessions exist, when they are made again and when more are opened.
``remote.server`` asks it for the metadata connection, ``remote.file`` for the bulk
ones. A request never waits for a bulk connection, and for the metadata connection
no longer than the deadline.

INVARIANT: at most one task makes the metadata connection and at most one makes a
bulk connection at any time.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from sftpfs.aio import Slot
from sftpfs.config import PoolConfig
from sftpfs.errors import Failure, MountError, SessionLostError
from sftpfs.remote.connection import Connection, Role, open_connection
from sftpfs.remote.growth import Growth
from sftpfs.transport.api import Connector, Transport
from sftpfs.types import ServerCapabilities

logger = logging.getLogger(__name__)

BULK_BYTES_PER_CONNECTION = 1 << 20
"""Outstanding bytes each bulk connection should have before another is opened: less
would not fill a connection, as sshd's window alone is 2 MiB."""

FIRST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 1.0
"""Seconds between attempts to reconnect; short, because requests are waiting."""

GRACE = 0.25
"""Seconds a request gives an attempt to reconnect once the deadline has passed: the attempt
goes on without it, and the kernel makes requests on one directory one after the other, so
that what each of them waits adds up."""

LONGEST_BULK_BACK_OFF = 60.0
"""Seconds between attempts to open a bulk connection; nobody waits for one."""

CLOSE_TIMEOUT = 2.0
"""Seconds the sessions have to end at unmount."""


class Pool:
    """See the module. One object a mount; used from the trio thread only.

    Its tasks live in ``nursery``; ``aclose`` before that is cancelled.
    """

    def __init__(self, connector: Connector, config: PoolConfig, nursery: trio.Nursery) -> None:
        self.config = config
        self.bulk: list[Connection] = []
        """Live bulk connections. Changes only together with ``epoch``."""
        self.epoch = 0
        """Counts the changes of ``bulk``, so that files notice them cheaply."""
        self.capabilities = ServerCapabilities()
        self._connector = connector
        self._nursery = nursery
        self._connections: list[Connection] = []
        self._metadata: Connection | None = None
        self._closed = False
        self._generation = 0
        self._scopes: set[trio.CancelScope] = set()
        # the metadata connection's return
        self._reconnecting: Slot[Connection | None] | None = None
        """Filled with None where the attempts are given up."""
        self._missed_since: float | None = None
        """When a request first missed the connection: from then on attempts are made."""
        self._next_attempt = 0.0
        self._given_up = False
        """Whether the outage was told in the log."""
        self._last_failure = ""
        # growth
        self._growth = Growth()
        self._growing = False
        self._channels_only = connector.single
        self._refused = False
        self._bulk_failures = 0
        self._grow_after = 0.0
        # history
        self._reconnects = 0

    async def start(self, interactive: bool) -> None:
        """Make the first connection. Raises MountError. ``interactive``: a person may be asked."""
        self._install_metadata(await self._connect(Role.METADATA, interactive))

    def metadata_nowait(self) -> Connection | None:
        """The metadata connection if it is alive."""
        connection = self._metadata
        return connection if connection is not None and connection.live else None

    async def metadata(self) -> Connection:
        """The metadata connection, made again if it is dead.

        Waits until the deadline at most (``timeout`` seconds after it was first missed),
        after it for a moment only. Raises SessionLostError with ETIMEDOUT.
        """
        connection = self.metadata_nowait()
        if connection is not None:
            return connection
        if self._closed:
            raise SessionLostError("the file system is being unmounted")
        now, timeout = trio.current_time(), self.config.timeout
        slot = self._reconnecting
        if slot is None:
            if now < self._next_attempt:
                raise self._timed_out()
            if self._missed_since is None or now > self._next_attempt + timeout:
                self._missed_since = now
            slot = self._reconnecting = Slot()
            self.spawn(self._reconnect)
        with trio.move_on_at(max(self._give_up_at, now + min(GRACE, timeout))):
            connection = await slot.wait()
            if connection is not None:
                return connection
        raise self._timed_out()

    def least_busy(self) -> Connection | None:
        """The bulk connection with the fewest bytes outstanding, the metadata connection where
        there is none, None where that is dead. More are opened for those who ask for this."""
        self.demand_bulk()
        best = None
        for connection in self.bulk:
            if connection.live and (best is None or connection.outstanding < best.outstanding):
                best = connection
        return best or self.metadata_nowait()

    def demand_bulk(self) -> None:
        """A bulk request is about to be sent: open another bulk connection if those there are busy."""
        count = len(self.bulk)
        if self._growing or self._refused or self._closed or count + 1 >= self.config.max_connections:
            return
        if count and sum(one.outstanding for one in self.bulk) < BULK_BYTES_PER_CONNECTION * count:
            return
        now = trio.current_time()
        if now >= self._grow_after and self._growth.wanted(now, count, self._moved, self._round_trip):
            self._growing = True
            self.spawn(self._grow)

    @property
    def _moved(self) -> int:
        """Bytes that went over the bulk connections there are."""
        counted = [one.session.statistics for one in self.bulk]
        return sum(one.bytes_sent + one.bytes_received for one in counted)

    @property
    def _round_trip(self) -> float:
        """The least latency seen, seconds."""
        return min((one.session.statistics.minimum_latency for one in self._connections), default=0.0)

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background until it ends or the pool closes; it must not raise."""
        if not self._closed:
            self._nursery.start_soon(self._background, work)

    async def aclose(self) -> None:
        """End every session and transport, and wait for them a moment. Not the connector."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel()
        self._finish_reconnecting(None)
        connections = list(self._connections)
        for connection in connections:
            connection.session.close("the file system is being unmounted")
            connection.transport.close()
        if self._metadata is not None:
            self._metadata.transport.close()  # may have outlived its session
        with trio.move_on_after(CLOSE_TIMEOUT):
            for connection in connections:
                await connection.ended.wait()

    def statistics(self) -> dict[str, Any]:
        """A snapshot for people: each live connection and the pool's own counters."""
        return {
            "connections": [connection.statistics() for connection in self._connections],
            "maximum": self.config.max_connections,
            "reconnects": self._reconnects,
            "further_connections_refused": self._refused,
        }

    # sessions

    async def _background(self, work: Callable[[], Awaitable[None]]) -> None:
        with trio.CancelScope() as scope:
            if self._closed:
                return
            self._scopes.add(scope)
            try:
                await work()
            finally:
                self._scopes.discard(scope)

    async def _connect(self, role: Role, interactive: bool) -> Connection:
        transport = await self._connector.connect(interactive=interactive)
        try:
            return await self._open_on(transport, role)
        except BaseException:
            transport.close()
            raise

    async def _open_on(self, transport: Transport, role: Role) -> Connection:
        self._generation += 1
        connection = await open_connection(transport, role, self._generation, self.config)
        if self._closed:
            connection.session.close("the file system is being unmounted")
            raise SessionLostError("the file system is being unmounted")
        self._connections.append(connection)
        self._nursery.start_soon(self._run, connection)
        logger.info("connection %d is up, for %s", connection.session.generation, role.value)
        return connection

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.session.run()
        finally:
            self._ended(connection)

    def _ended(self, connection: Connection) -> None:
        """Forget a session that ended, whatever ended it."""
        connection.session.close("the session ended")
        self._connections.remove(connection)
        connection.ended.set()
        if connection in self.bulk:
            self.bulk.remove(connection)
            self.epoch += 1
            self._put_off_growth()
        transport = connection.transport
        shared = any(one.transport is transport for one in self._connections)
        # A transport that outlived its metadata session is kept for one more channel.
        if not shared and (self._closed or connection is not self._metadata):
            transport.close()
        if not self._closed:
            reason = transport.reason if transport.closed.is_set() else connection.session.closed_error
            logger.warning("connection %d is lost: %s", connection.session.generation, reason)

    # the metadata connection

    def _install_metadata(self, connection: Connection) -> None:
        self._metadata = connection
        self._missed_since = None
        self._given_up = False
        self.capabilities = connection.session.capabilities

    @property
    def _give_up_at(self) -> float:
        assert self._missed_since is not None
        return self._missed_since + self.config.timeout

    def _timed_out(self) -> SessionLostError:
        reason = self._last_failure or "the connection is being made again"
        return SessionLostError(f"the server cannot be reached: {reason}", errno.ETIMEDOUT)

    async def _reconnect(self) -> None:
        """Make the metadata connection again: attempts until one succeeds or the deadline has passed."""
        back_off = FIRST_BACK_OFF
        while True:
            connection = await self._attempt()
            if connection is not None:
                break
            now = trio.current_time()
            if now >= self._give_up_at:
                self._next_attempt = now + LONGEST_BACK_OFF
                if not self._given_up:
                    self._given_up = True
                    logger.warning("the server cannot be reached: %s", self._last_failure)
                self._finish_reconnecting(None)
                return
            await trio.sleep(back_off)
            back_off = min(back_off * 2, LONGEST_BACK_OFF)
        self._reconnects += 1
        self._install_metadata(connection)
        self._finish_reconnecting(connection)

    def _finish_reconnecting(self, connection: Connection | None) -> None:
        slot, self._reconnecting = self._reconnecting, None
        if slot is not None:
            slot.set(connection)

    async def _attempt(self) -> Connection | None:
        """One attempt: a channel on the old transport if that is alive, else a new transport."""
        try:
            if self._metadata is not None:
                connection = await self._reuse(self._metadata)
                if connection is not None:
                    return connection
                self._metadata = None
            return await self._connect(Role.METADATA, interactive=False)
        except (MountError, OSError) as failure:
            self._last_failure = str(failure)
            return None

    async def _reuse(self, old: Connection) -> Connection | None:
        """A channel on ``old``'s transport; spares a server that wants a code from asking for it."""
        transport = old.transport
        error = old.session.closed_error
        if not transport.closed.is_set() and not (error is not None and error.errno == errno.ETIMEDOUT):
            try:
                return await self._open_on(transport, Role.METADATA)
            except (MountError, OSError):
                pass
        if not any(one.transport is transport and one.live for one in self._connections):
            transport.close()
        return None

    # bulk connections

    def _put_off_growth(self) -> None:
        self._bulk_failures = min(self._bulk_failures + 1, 10)
        self._grow_after = trio.current_time() + min(2.0 ** (self._bulk_failures - 1), LONGEST_BULK_BACK_OFF)

    async def _grow(self) -> None:
        """Open one bulk connection, or learn that there can be none."""
        try:
            connection = await self._open_bulk()
        finally:
            self._growing = False
        if connection is None or not connection.live:
            self._put_off_growth()
        else:
            self._bulk_failures = 0
            self.bulk.append(connection)
            self.epoch += 1

    async def _open_bulk(self) -> Connection | None:
        if not self._channels_only:
            try:
                return await self._connect(Role.BULK, interactive=False)
            except MountError as failure:
                if failure.failure is Failure.AUTHENTICATION:
                    self._channels_only = True
                logger.info("a further connection failed: %s", failure)
            except OSError as failure:
                logger.info("a further connection failed: %s", failure)
        first = self.metadata_nowait()
        if first is None:
            return None
        try:
            return await self._open_on(first.transport, Role.BULK)
        except (MountError, OSError) as failure:
            if self._channels_only and first.live:
                self._refused = True
                logger.info("one connection has to do: %s", failure)
            return None
