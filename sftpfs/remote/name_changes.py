"""Changes of names: mkdir, symlink, link, remove, rmdir, rename, each sent once.

Owns how each travels over a loss: what may not be done twice is looked at first (``remote.lost_reply``). The
part of ``remote.server`` that is about names; used by that alone.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable

from sftpfs import clock, operation
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StatusError, UnsentError, error
from sftpfs.remote import explain, lost_reply, times
from sftpfs.remote.api import Known, LinkTarget, Over, Renamed, nothing_known
from sftpfs.remote.attributes_by_path import change_attributes
from sftpfs.remote.connection import Connection
from sftpfs.remote.name_bytes import check_name
from sftpfs.remote.open_files import OpenFiles
from sftpfs.remote.opening import PERMISSIONS
from sftpfs.remote.outlived import look_after
from sftpfs.remote.paths import check_link_target, check_path
from sftpfs.remote.pool import Pool
from sftpfs.remote.renaming import Move
from sftpfs.remote.retry import repeat, resolve
from sftpfs.remote.setting import may_set
from sftpfs.remote.symlinks import make_symlink
from sftpfs.remote.waiting import new_seen, value_or_none
from sftpfs.server_clock import ServerClock
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes

HARDLINK = "hardlink@openssh.com"


class NameChanges:
    """See the module; ``Server`` is one."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open_files = OpenFiles(pool.clock)

    @property
    def clock(self) -> ServerClock:
        """As ``Remote.clock``."""
        return self._pool.clock

    def sets(self, change: AttributeChange) -> bool:
        """As ``Remote.sets``."""
        return may_set(self._pool.traits, change)

    async def _before_changing(self, opening: Awaitable[None]) -> None:
        """``opening``, of what is to be open before a change, for as long as the operation may wait."""
        try:
            await self._pool.silence.within(operation.begun(), opening)
        except SessionLostError as lost:
            raise UnsentError(lost.strerror or "", lost.errno or errno.EIO) from None

    async def mkdir(self, path: bytes, mode: int) -> Attributes:
        """As ``Remote.mkdir``; a second wait where the server's umask altered ``mode``."""
        check_path(path)
        await check_name(self._pool, path)
        asked = clock.now()

        async def work(connection: Connection) -> Attributes:
            session, sent = connection.session, clock.now()
            made = session.start_mkdir(path, mode & PERMISSIONS)
            return await self._created(session, path, made, session.start_lstat_of_new(path), sent)

        attributes = await resolve(
            self._pool,
            work,
            lambda connection: lost_reply.mkdir(connection.session, path, asked, self.clock),
        )
        # A set-group-ID bit that the new directory inherited stays (mkdir(2)).
        wanted = mode & PERMISSIONS | attributes.mode & stat.S_ISGID
        change = AttributeChange(mode=wanted)
        if attributes.mode & PERMISSIONS == wanted or not stat.S_ISDIR(attributes.mode):
            return attributes
        if not self.sets(change):
            return attributes

        async def correct(connection: Connection) -> Attributes:
            try:
                return await change_attributes(
                    connection, self._open_files, Session.start_lstat, path, change, LinkTarget.TARGET
                )
            except SessionLostError:
                raise
            except OSError:
                return attributes

        try:
            return await repeat(self._pool, correct)
        except UnsentError as lost:  # what is not sent is the correction
            raise SessionLostError(lost.strerror or "", lost.errno or errno.EIO) from None

    async def symlink(self, target: bytes, path: bytes) -> Attributes:
        """As ``Remote.symlink``."""
        check_path(path)
        check_link_target(target)
        await check_name(self._pool, path)

        async def work(connection: Connection) -> Attributes:
            session, sent = connection.session, clock.now()
            attributes = await make_symlink(session, target, path)
            if attributes.mtime:  # else LSTAT does not tell of links
                times.of_now(self._pool.traits, self.clock, attributes.mtime)
                self.clock.made(attributes.mtime, sent, clock.now())
            return attributes

        return await resolve(
            self._pool, work, lambda connection: lost_reply.symlink(connection.session, target, path)
        )

    async def _created(
        self, session: Session, path: bytes, made: Slot[None], seen: Slot[Attributes], sent: float
    ) -> Attributes:
        try:
            await made.wait()
        except StatusError as failed:
            raise await explain.creation(session, failed, path, seen) from None
        attributes = await new_seen(session, path, seen)
        times.of_now(self._pool.traits, self.clock, attributes.mtime)
        self.clock.made(attributes.mtime, sent, clock.now())
        return attributes

    async def link(self, existing: bytes, path: bytes) -> Attributes:
        """As ``Remote.link``."""
        check_path(existing)
        check_path(path)
        await check_name(self._pool, path)

        async def work(connection: Connection) -> Attributes:
            session = connection.session
            if not session.capabilities.has(HARDLINK):
                raise error(errno.EOPNOTSUPP)
            made = session.start_hardlink(existing, path)
            seen = session.start_lstat_of_new(path)
            try:
                await made.wait()
            except StatusError as failed:
                raise await explain.linking(session, failed, existing, path) from None
            return await new_seen(session, path, seen)

        return await resolve(
            self._pool, work, lambda connection: lost_reply.link(connection.session, existing, path)
        )

    async def remove(
        self, path: bytes, known: Known = nothing_known, *, look: bool = False
    ) -> Attributes | None:
        """As ``Remote.remove``."""
        check_path(path)
        await self._before_changing(self._open_files.hold(path))

        async def work(connection: Connection) -> Attributes | None:
            seen = connection.session.start_lstat(path) if look else None
            try:
                await connection.session.start_remove(path).wait()
            except StatusError as failed:
                raise await explain.removal(connection.session, failed, path) from None
            return await value_or_none(seen)

        return await resolve(
            self._pool, work, lambda connection: lost_reply.remove(connection.session, path, known)
        )

    async def rmdir(self, path: bytes) -> None:
        """As ``Remote.rmdir``."""
        check_path(path)

        async def work(connection: Connection) -> None:
            try:
                await connection.session.start_rmdir(path).wait()
            except StatusError as failed:
                problem = await explain.directory_removal(connection.session, failed, path)
                full = problem.errno == errno.EEXIST  # rmdir(2) of POSIX knows both
                raise (error(errno.ENOTEMPTY) if full else problem) from None

        await resolve(self._pool, work, lambda connection: lost_reply.rmdir(connection.session, path))

    async def rename(
        self,
        old: bytes,
        new: bytes,
        replace: bool,
        known: Known | None = nothing_known,
        over: Over = nothing_known,
        *,
        look: bool = False,
        look_over: bool = False,
    ) -> Renamed:
        """As ``Remote.rename``; several waits where the server has no posix-rename and ``new`` exists, one
        more where its RENAME may replace and must not."""
        check_path(old)
        check_path(new)
        await check_name(self._pool, new)
        move = Move(old, new, replace, look, look_over)
        await self._before_changing(self._open_files.hold(new))
        replaced = self._open_files.found_at(new)
        self._open_files.renames += 1
        try:
            renamed = await resolve(
                self._pool, move.make, lambda connection: move.resolved(connection, known, over)
            )
        finally:
            self._open_files.renames -= 1
        if replaced is not None:
            await look_after(self._pool.traits, replaced)
        return renamed
