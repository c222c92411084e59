"""Sends requests that stall again on another connection; the first answer is taken.

Owned by ``remote.pool.pool``, which has it look at each connection about once a second.
``remote.pool.stall_policy`` says when and how many; here is how:
- a look at a path is sent again as it is;
- a read or FSTAT of an open file is sent again by another handle of the file, which is opened on another
  connection if there is none (``PooledFile.beside``);
- a request that makes or belongs to a handle of one operation alone (OPEN to read, OPENDIR, READDIR) is taken
  away, and the operation begins again on another connection.

A change is never sent again while its connection lives. Nor is what was sent behind it on the same session,
because that is meant to see the change.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StalledError
from sftpfs.remote.pool.bulk_connections import BulkConnections
from sftpfs.remote.pool.connection import Connection, ServerHandle
from sftpfs.remote.pool.stall_policy import FLOOR, StallPolicy
from sftpfs.remote.slots import abandon, on_filled
from sftpfs.sftp.table.request import AbandonedRequest, Reach, Request
from sftpfs.sftp.table.request_kinds import FSTAT, OPEN

logger = logging.getLogger(__name__)


class Connections(Protocol):
    """What is needed of the pool."""

    def beside(self, connection: Connection) -> Connection | None:
        """Another connection, alive and not stalled."""

    @property
    def bulk(self) -> BulkConnections:
        """Who opens another connection, if that is permitted."""


class HasHandles(Protocol):
    """What is needed of an open file."""

    def beside(self, connection: Connection, target: Connection) -> ServerHandle | None:
        """A handle on another connection than ``connection``, alive and not stalled. If there is none, one is
        opened on ``target``, for later."""


class HedgeableRequest:
    """Waits for a reply to a look through a handle; another handle of the file would do as well."""

    __slots__ = ()

    @property
    def file(self) -> HasHandles:
        """The file."""
        raise NotImplementedError

    def start_on(self, handle: ServerHandle) -> Slot[Any]:
        """What is under way, asked by ``handle`` as well; the caller takes the first answer."""
        raise NotImplementedError


class RequestHedger:
    """See the module. One object a pool.

    ``opens_again``: a file may be opened once more than it was asked for.

    INVARIANT: ``_again`` are the requests under way a second time.
    """

    __slots__ = ("_again", "_connections", "_opens_again", "stalls")

    def __init__(self, connections: Connections, stalls: StallPolicy, opens_again: bool = True) -> None:
        self.stalls = stalls
        self._opens_again = opens_again
        self._connections = connections
        self._again: set[Request[Any]] = set()

    def look(self, connection: Connection, now: float) -> None:
        """The function that the session of ``connection`` must call as its ``watch``."""
        if connection.session.link.slow(now):
            connection.stalled = False  # it waits for its turn; what is sent twice makes all wait longer
            return
        requests = connection.session.unanswered()
        limit = self.stalls.limit
        oldest = requests[0] if requests else None
        quiet = connection.quiet(now, oldest.sent) if oldest is not None else 0.0
        if oldest is None or quiet < FLOOR or now - oldest.sent < limit(oldest.kind.name):
            connection.stalled = False
            return
        if not connection.stalled:
            connection.stalled = True
            self.stalls.stalled += 1
            logger.info("connection %d has been silent for %.1f s", connection.session.generation, quiet)
        target = self._connections.beside(connection)
        if target is None:
            self._connections.bulk.demand_spare()
            return
        for request in requests:
            if request.changes:
                return
            if (
                request.kind.reach is Reach.APART
                or request in self._again
                or isinstance(request, AbandonedRequest)
            ):
                continue
            if now - request.sent < limit(request.kind.name):
                continue
            self._send_again(connection, request, target)

    def _send_again(self, connection: Connection, request: Request[Any], target: Connection) -> None:
        if request.kind.reach is Reach.PATH:
            if self.stalls.admit():
                self._race(connection, request, target.session.start_again(request))
            return
        owner = getattr(request.callback, "__self__", None)
        if isinstance(owner, HedgeableRequest):
            handle = owner.file.beside(connection, target)
            if handle is not None and self.stalls.admit():
                self._race(connection, request, owner.start_on(handle))
            return
        if request.kind is FSTAT:
            return  # by a file's handle: as the first, looked at for whether the server answers any
        if not connection.refuge and (self._opens_again or request.kind is not OPEN):
            # Elsewhere it begins from the start: once is enough for a request that is slow rather than stuck.
            self._move(connection, request)

    def _race(self, connection: Connection, first: Request[Any], second: Slot[Any]) -> None:
        """Whichever is answered first fills ``first``."""
        self._again.add(first)

        def answered(slot: Slot[Any]) -> None:
            self._again.discard(first)
            won = not first.done and not isinstance(slot.error, SessionLostError)
            self.stalls.ended(won)
            if not won:
                return
            connection.session.detach_request(first)
            if slot.error is None:
                first.set(slot.result())
            else:
                first.fail(slot.error)

        on_filled(second, answered)

    def _move(self, connection: Connection, request: Request[Any]) -> None:
        """Ends the operation's waiting; ``remote.operations.retry`` begins it again elsewhere."""
        failure = StalledError("the connection is silent; asked again on another")
        self.stalls.moved += abandon(connection.session, request, failure)
