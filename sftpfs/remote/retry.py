"""Operations by path over a lost connection: wait for the next, then send again or look.

The one place where an operation meets the loss of its session. What may be done twice is
``repeat``ed as a whole; what may not is ``resolve``d: looked at on the new session, and
sent again only where the look shows that it was not done (``remote.resolution``).

An operation has one deadline, however many requests it makes and sessions they outlive (``remote.silence``).
"""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from typing import TypeVar

import trio

from sftpfs import clock, operation
from sftpfs.errors import SessionLostError, StalledError, UnexplainedError, UnsentError
from sftpfs.remote.connection import Connection
from sftpfs.remote.pool import Pool
from sftpfs.remote.silence import too_long

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
    SessionLostError past the deadline, UnsentError where that was before anything was sent.
    """
    begun, losses = operation.begun(), 0
    connection = await _first(pool, first, begun)
    doing = partial(work, connection)
    while True:
        connection.refuge += losses > 0
        try:
            # What the session itself gives up in time need not be watched.
            return await (pool.silence.within(begun, doing()) if pool.silence.met(begun) else doing())
        except SessionLostError as failure:
            lost = failure
        finally:
            connection.refuge -= losses > 0
        losses += 1
        connection = await _next(pool, connection, lost, begun, losses)
        doing = partial(work, connection) if again is None else partial(again, connection, lost)


async def _first(pool: Pool, first: Connection | None, begun: float) -> Connection:
    left = pool.silence.left(begun)
    try:
        if left <= 0:
            raise too_long()
        return first or pool.metadata_nowait() or await pool.metadata(trio.current_time() + left)
    except SessionLostError as lost:
        raise UnsentError(lost.strerror or "", lost.errno or errno.EIO) from None


async def _next(
    pool: Pool, lost: Connection, failure: SessionLostError, begun: float, losses: int
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
