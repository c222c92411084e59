"""Operations by path over a lost connection: wait for the next, then send again or look.

The one place where an operation meets the loss of its session. What may be done twice is
``repeat``ed as a whole; what may not is ``resolve``d: looked at on the new session, and
sent again only where the look shows that it was not done (``remote.resolution``).

An operation has one deadline, however many sessions it outlives.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeVar

import trio

from sftpfs import clock
from sftpfs.errors import SessionLostError, StalledError, UnexplainedError, UnsentError
from sftpfs.remote.connection import Connection
from sftpfs.remote.pool import Pool

T = TypeVar("T")

MOST_LOSSES = 10
"""Sessions one operation may lose: more would mean that it is what ends them."""

MOST_BREACHES = 2
"""Sessions one operation may lose by a server that breaks the protocol: it most likely does so at
this very request, each time with a few lines in the log."""


class Again(Enum):
    """What a look says where the operation was not done."""

    AGAIN = "again"


async def repeat(
    pool: Pool,
    work: Callable[[Connection], Awaitable[T]],
    first: Connection | None = None,
    again: Callable[[Connection, SessionLostError], Awaitable[T]] | None = None,
) -> T:
    """``work`` on the metadata connection (at ``first`` on that one), again where the session is lost.

    ``again`` is what is done then in its place, told of the loss. Raises what they raise,
    SessionLostError past the deadline, UnsentError where there was no session before it.
    """
    patience = _Patience(pool)
    connection = first or pool.metadata_nowait()
    if connection is None:
        patience.begin(clock.awake())
        connection = await _first(pool)
    try:
        return await work(connection)
    except SessionLostError as failure:
        lost = failure
    while True:
        connection = await patience.next(lost, connection)
        connection.refuge += 1
        try:
            return await (work(connection) if again is None else again(connection, lost))
        except SessionLostError as failure:
            lost = failure
        finally:
            connection.refuge -= 1


async def _first(pool: Pool) -> Connection:
    try:
        return await pool.metadata()
    except SessionLostError as lost:
        raise UnsentError(lost.strerror or "", lost.errno or errno.EIO) from None


async def resolve(
    pool: Pool,
    work: Callable[[Connection], Awaitable[T]],
    look: Callable[[Connection], Awaitable[T | Again]],
) -> T:
    """``work``, which must not be done twice: where its session is lost, what ``look`` finds it has done.

    ``look`` gives the result, or AGAIN, or raises what is to be told. Raises as ``repeat``.
    """

    async def again(connection: Connection, lost: SessionLostError) -> T:
        # What was refused was not done: whatever is there now was not made by it.
        refused = isinstance(lost, UnexplainedError)
        found = Again.AGAIN if refused else await look(connection)
        return await work(connection) if isinstance(found, Again) else found

    return await repeat(pool, work, again=again)


class _Patience:
    """How much longer an operation that has met a loss is tried."""

    __slots__ = ("_begun", "_deadline", "_losses", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._begun = clock.awake()
        self._deadline = math.inf
        self._losses = 0

    def begin(self, since: float) -> None:
        """The deadline counts from ``since``: once, whatever comes later."""
        if self._deadline == math.inf:
            self._deadline = since + self._pool.config.patience

    async def next(self, failure: SessionLostError, lost: Connection) -> Connection:
        """The next connection. Raises ``failure``, or SessionLostError with the reason there is none.

        The deadline counts from the last sign of life, as it does while a session lives; from the beginning
        where there was none to begin with.
        """
        pool = self._pool
        self.begin(max(self._begun, lost.session.last_reply))
        self._losses += 1
        most = MOST_BREACHES - 1 if failure.errno == errno.EPROTO else MOST_LOSSES
        left = self._deadline - clock.awake()
        if left <= 0 or pool.closed or self._losses > most:
            raise failure
        stalled = isinstance(failure, StalledError)
        if not (stalled or pool.config.reconnect):
            raise failure
        other = pool.beside(lost) if stalled else None
        return other or await pool.metadata(trio.current_time() + left)
