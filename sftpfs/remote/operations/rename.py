"""Renames on one connection: by posix-rename, by RENAME, or by moving aside what is in the way.

Owns which request a rename travels as. Used by ``remote.client`` only, which carries it over a loss.
"""

from __future__ import annotations

import errno

from sftpfs.errors import SessionLostError, Status, StatusError, UnexplainedError, error
from sftpfs.remote.api import Known, Over, Renamed
from sftpfs.remote.operations.rename_emulation import finish_interrupted, rename_replacing, temporary_name
from sftpfs.remote.outcome import errno_probe, lost_reply_probe
from sftpfs.remote.outcome.lost_reply_rules import Again
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.slots import value_or_none
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session


class Move:
    """One rename, however many attempts it takes.

    ``replace``, ``look`` and ``look_over`` as ``Remote.rename``.
    """

    def __init__(self, old: bytes, new: bytes, replace: bool, look: bool, look_over: bool) -> None:
        self._old = old
        self._new = new
        self._replace = replace
        self._look = look
        self._look_over = look_over
        self._aside = temporary_name(new)
        self._moving_aside = False
        """Something may have the name ``_aside``."""

    async def make(self, connection: Connection) -> Renamed:
        """Rename. Raises OSError with the reason."""
        session = connection.session
        if not session.traits.known.renames_links:
            await self._no_links(session)
        if not (self._replace or session.traits.known.rename_keeps_what_is_there):
            await self._nothing_there(session)
        atomic = self._replace and session.capabilities.has(extensions.POSIX_RENAME)
        start = session.start_posix_rename if atomic else session.start_rename
        over = session.start_lstat(self._new) if self._look_over else None
        slot = start(self._old, self._new)
        seen = session.start_lstat(self._old) if atomic and self._look else None
        try:
            await slot.wait()
            there, before = await value_or_none(seen), await value_or_none(over)
            return Renamed(there is not None, before)
        except StatusError as failed:
            if self._replace and _in_the_way(session, failed, atomic):
                await self._replacing(session, failed, atomic)
                return Renamed()
            raise await errno_probe.renaming(session, failed, self._old, self._new, self._replace) from None

    async def resolved(self, connection: Connection, known: Known | None, over: Over) -> Again | Renamed:
        """The outcome after the session was lost; as ``lost_reply_probe.rename``."""
        if self._moving_aside:
            await finish_interrupted(connection.session, self._old, self._new, self._aside)
        found = await lost_reply_probe.rename(connection.session, self._old, self._new, known, over)
        return found or Renamed()

    async def _no_links(self, session: Session) -> None:
        """EOPNOTSUPP if either name is a link, because what they lead to might be moved. One more wait."""
        for read in [session.start_readlink(name) for name in (self._old, self._new)]:
            if await value_or_none(read) is not None:
                raise error(errno.EOPNOTSUPP, "this server may rename what the link leads to")

    async def _nothing_there(self, session: Session) -> None:
        """EEXIST if the new name is taken, because the server may replace what has it. One more wait. What
        gets the name between this and the rename is not seen."""
        try:
            await session.start_lstat(self._new).wait()
        except StatusError as missing:
            if missing.errno != errno.ENOENT:
                raise
            if session.traits.known.answers_lstat:
                return
            try:
                await session.start_readlink(self._new).wait()  # a link that leads nowhere
            except StatusError:
                return
        raise error(errno.EEXIST)

    async def _replacing(self, session: Session, failed: StatusError, atomic: bool) -> None:
        self._moving_aside = True
        try:
            await rename_replacing(session, failed, self._old, self._new, self._aside, directories=atomic)
        except UnexplainedError as lost:  # not the end of it: what was moved aside is to be tidied
            raise SessionLostError.of(lost) from None


def _in_the_way(session: Session, failed: StatusError, atomic: bool) -> bool:
    """Whether what has the new name may be why the rename ``failed``. posix-rename replaces; but servers
    written in Go refuse any directory in its place, and say so in words of their own."""
    if atomic and (failed.explicit or session.traits.known.rename_keeps_what_is_there):
        return failed.explicit and failed.errno == errno.EEXIST
    return errno_probe.code(failed) == Status.FAILURE
