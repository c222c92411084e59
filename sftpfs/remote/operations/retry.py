"""Operations by path over a lost connection: wait for the next one, then send again or look.

The one place where an operation meets the loss of its session. ``retry_idempotent`` repeats as a whole what
may be done twice. ``retry_resolved`` is for what may not: it looks on the new session, and sends again only
if the look shows that it was not done (``remote.outcome.lost_reply_rules``).

An operation has one deadline, however many requests it makes and sessions they outlive
(``remote.pool.silence_deadline``).
"""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from sftpfs import clock, operation
from sftpfs.errors import SessionLostError, StalledError, UnexplainedError, UnsentError
from sftpfs.remote.outcome.lost_reply_rules import Again
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.pool.silence_deadline import too_long

T = TypeVar("T")

MOST_LOSSES = 10
"""Sessions one operation may lose: more would mean that it is what ends them."""

MOST_BREACHES = 2
"""Sessions that one operation may lose because a server breaks the protocol. Most likely it does so at this
same request, each time with a few lines in the log."""


async def retry_idempotent(
    pool: ConnectionPool,
    work: Callable[[Connection], Awaitable[T]],
    first: Connection | None = None,
    again: Callable[[Connection, SessionLostError], Awaitable[T]] | None = None,
) -> T:
    """Runs ``work`` on the metadata connection (at ``first`` on that one), and again if the session is lost.

    ``again`` is run in its place then, with the loss. Raises what they raise, SessionLostError past the
    deadline, UnsentError if that was before anything was sent.
    """
    begun, losses = operation.begun(), 0
    connection = await _first(pool, first, begun)
    doing = partial(work, connection)
    while True:
        connection.refuge += losses > 0
        try:
            # A request that the session itself gives up in time need not be watched.
            return await (pool.silence.within(begun, doing()) if pool.silence.met(begun) else doing())
        except SessionLostError as failure:
            lost = failure
        finally:
            connection.refuge -= losses > 0
        losses += 1
        connection = await _next(pool, connection, lost, begun, losses)
        doing = partial(work, connection) if again is None else partial(again, connection, lost)


async def _first(pool: ConnectionPool, first: Connection | None, begun: float) -> Connection:
    left = pool.silence.left(begun)
    try:
        if left <= 0:
            raise too_long()
        return first or pool.metadata_nowait() or await pool.metadata(trio.current_time() + left)
    except SessionLostError as lost:
        raise UnsentError.of(lost) from None


async def _next(
    pool: ConnectionPool, lost: Connection, failure: SessionLostError, begun: float, losses: int
) -> Connection:
    """The next connection. Raises ``failure``, or SessionLostError with the reason there is none.

    Where ``lost`` is not the metadata connection, what that one owed counts too.
    """
    owed = lost.session.silent_since
    alone = math.inf if owed is None else max(begun, owed) + pool.config.patience - clock.awake()
    left = min(pool.silence.left(begun), alone)
    most = MOST_BREACHES - 1 if failure.errno == errno.EPROTO else MOST_LOSSES
    if left <= 0 or pool.closed or losses > most:
        raise failure
    stalled = isinstance(failure, StalledError)
    if not (stalled or pool.config.reconnect):
        raise failure
    other = pool.beside(lost) if stalled else None
    return other or await pool.metadata(trio.current_time() + left)


async def retry_resolved(
    pool: ConnectionPool,
    work: Callable[[Connection], Awaitable[T]],
    look: Callable[[Connection], Awaitable[T | Again]],
) -> T:
    """Runs ``work``, which must not be done twice. If its session is lost, ``look`` finds out what it has
    done.

    ``look`` returns the result, or NOT_DONE, or raises the error. Raises as ``retry_idempotent``.
    """

    async def again(connection: Connection, lost: SessionLostError) -> T:
        # A refused request was not done: it did not make whatever is there now.
        refused = isinstance(lost, UnexplainedError)
        found = Again.NOT_DONE if refused else await look(connection)
        return await work(connection) if isinstance(found, Again) else found

    return await retry_idempotent(pool, work, again=again)
