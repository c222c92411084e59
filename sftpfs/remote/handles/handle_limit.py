"""Makes room for one more handle if a server's process has as many as it may have.

A file of ours that was not used lately gives up its handle. It is opened again, as the version that was
known, when it is used next (``remote.files.reopen``). The CLOSE goes just before the OPEN that needs the
room, on the same session, and behind everything that was sent by the handle. So nothing under way is lost,
not even of a file that is busy.

A server that was found to have one handle at a time (``server_traits``) has room for one: each OPEN waits
until what is open gives up its handle, or ends. A server that reports this as PERMISSION_DENIED is found out
here.

Owned by ``remote.handles.open_files.OpenFiles``; everything that makes a handle does so through it. Each
connection has the files with a handle on it in ``files``, those looked at last behind the others.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from sftpfs.errors import Status, StatusError
from sftpfs.remote.pool.connection import Connection, HandleOwner
from sftpfs.types import OpenFlags

T = TypeVar("T")

logger = logging.getLogger(__name__)

SPARE = 4
"""Handles below the server's limit that are left for listings and for files fetched whole."""


LOOKED_AT = 64
"""Files looked at to find one that gives up its handle, as long as one was found: of thousands, the best of
some will do."""

SEVERAL = "opens_several"
"""The trait that is learned here."""

PAUSE = 0.01
"""Seconds between tries while every handle is about to be settled or closed: about a round trip nearby."""


class HandleLimit:
    """See the module.

    INVARIANT: ``unowned`` handles are ours and belong to no file that could let them go: of files
    being opened, of listings, of files fetched whole. Each is gone, or settled, within the deadline.
    """

    __slots__ = ("_turn", "unowned")

    def __init__(self) -> None:
        self.unowned = 0
        self._turn = trio.Lock()

    async def run_with_handle(self, connection: Connection, attempt: Callable[[], Awaitable[T]]) -> T:
        """Runs ``attempt``, which makes a handle on ``connection``; again if it failed for want of room, as
        far as FAILURE shows that. Raises what it raises."""
        session = connection.session
        if session.one_at_a_time:
            return await self._alone(connection, attempt)
        self._leave(connection)
        others = session.handles_open
        try:
            made = await attempt()
        except StatusError as refused:
            if refused.status == Status.PERMISSION_DENIED and others and session.traits.doubtful(SEVERAL):
                return await self._alone_perhaps(connection, attempt, refused)
            if refused.status != Status.FAILURE or refused.explicit:
                raise
            problem = refused
        else:
            if others and session.handles_open > 1:
                session.traits.seen([SEVERAL])
            return made
        return await self._after_others(connection, attempt, problem)

    async def _after_others(
        self, connection: Connection, attempt: Callable[[], Awaitable[T]], problem: StatusError
    ) -> T:
        """Runs ``attempt`` again, which failed with ``problem``, once there is room. Raises what it
        raises."""
        async with self._turn:
            while True:
                made = self._make(connection)
                if not made:
                    if not self.unowned:
                        raise problem
                    await trio.sleep(PAUSE)
                try:
                    return await attempt()
                except StatusError as refused:
                    if made or refused.status != Status.FAILURE:
                        raise

    async def _alone(self, connection: Connection, attempt: Callable[[], Awaitable[T]]) -> T:
        """Runs ``attempt`` once no handle is open: files give up theirs, listings end. Raises what it
        raises."""
        async with self._turn:
            await self._emptied(connection)
            return await attempt()

    async def _alone_perhaps(
        self, connection: Connection, attempt: Callable[[], Awaitable[T]], problem: StatusError
    ) -> T:
        """``attempt`` was refused with ``problem`` while other handles were open: runs it without them, as
        they may be the reason. Raises what it raises."""
        async with self._turn:
            await self._emptied(connection)
            made = await attempt()
        seen = f"an OPEN was refused ({problem.strerror}), and carried out once nothing else was open"
        connection.session.traits.contradict(SEVERAL, seen)
        return made

    async def _emptied(self, connection: Connection) -> None:
        while connection.live and connection.session.handles_open:
            self._make(connection)
            await trio.sleep(PAUSE)

    def _leave(self, connection: Connection) -> None:
        """Makes room beforehand if there is known to be none."""
        most = connection.session.capabilities.limits.open_handles
        if most and len(connection.files) > most - SPARE:
            self._make(connection)

    def _make(self, connection: Connection) -> bool:
        """Closes one file's handles on ``connection``. False if no file has any to spare.

        Of those looked at, takes the first that was not used since it was last looked at; files that were
        only read before files that were written.
        """
        chosen = _chosen(connection)
        if chosen is None:
            return False
        chosen.evict(connection)
        connection.handles_let_go += 1
        if connection.handles_let_go == 1:
            logger.info(
                "connection %d has no handle left: files not in use give up theirs for a while",
                connection.session.generation,
            )
        return True


def _chosen(connection: Connection) -> HandleOwner | None:
    files = connection.files
    best: tuple[bool, bool, HandleOwner] | None = None
    for looked in range(len(files)):
        if best is not None and (best[:2] == (False, False) or looked >= LOOKED_AT):
            break
        file = next(iter(files))
        files.move_to_end(file)
        if not file.can_evict(connection):
            continue
        rank = (file.used, OpenFlags.WRITE in file.flags)
        file.used = False
        if best is None or rank < best[:2]:
            best = (*rank, file)
    return None if best is None else best[2]
