"""Changes of names: mkdir, symlink, link, remove, rmdir, rename. Each is sent once.

Owns how each travels over a loss: before a change that may not be done twice is repeated, the server is
looked at (``remote.outcome.lost_reply_probe``). This is the part of ``remote.client`` that is about names,
and is used by that alone.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable

from sftpfs import clock, operation
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StatusError, UnsentError, error
from sftpfs.remote.api import Known, LinkTarget, Over, Renamed, nothing_known
from sftpfs.remote.handles.open_files import OpenFiles
from sftpfs.remote.handles.replaced_names import look_after
from sftpfs.remote.operations.name_bytes import check_name
from sftpfs.remote.operations.open_file import PERMISSIONS
from sftpfs.remote.operations.rename import Move
from sftpfs.remote.operations.retry import retry_idempotent, retry_resolved
from sftpfs.remote.operations.setattr_by_path import change_attributes
from sftpfs.remote.outcome import errno_probe, lost_reply_probe
from sftpfs.remote.paths import check_link_target, check_path
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests import time_trust
from sftpfs.remote.requests.setattr_request import may_set
from sftpfs.remote.requests.symlink_request import make_symlink
from sftpfs.remote.slots import new_seen, value_or_none
from sftpfs.server_clock import ServerClock
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes


class NameChanges:
    """See the module; ``SftpRemote`` is one."""

    def __init__(self, pool: ConnectionPool) -> None:
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
        """Runs ``opening``, of what must be open before a change, for as long as the operation may wait."""
        try:
            await self._pool.silence.within(operation.begun(), opening)
        except SessionLostError as lost:
            raise UnsentError.of(lost) from None

    async def _hold_name(self, path: bytes) -> None:
        """As ``OpenFiles.hold``, for as long as the operation may wait. Mostly nothing is open there: then no
        wait has to be watched."""
        if self._open_files.found_at(path) is not None:
            await self._before_changing(self._open_files.hold(path))

    async def mkdir(self, path: bytes, mode: int) -> Attributes:
        """As ``Remote.mkdir``; a second wait where the server's umask altered ``mode``."""
        check_path(path)
        await check_name(self._pool, path)
        asked = clock.now()

        async def work(connection: Connection) -> Attributes:
            session, sent = connection.session, clock.now()
            made = session.start_mkdir(path, mode & PERMISSIONS)
            return await self._created(session, path, made, session.start_lstat_of_new(path), sent)

        attributes = await retry_resolved(
            self._pool,
            work,
            lambda connection: lost_reply_probe.mkdir(connection.session, path, asked, self.clock),
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
            return await retry_idempotent(self._pool, correct)
        except UnsentError as lost:  # what is not sent is the correction
            raise SessionLostError.of(lost) from None

    async def symlink(self, target: bytes, path: bytes) -> Attributes:
        """As ``Remote.symlink``."""
        check_path(path)
        check_link_target(target)
        await check_name(self._pool, path)

        async def work(connection: Connection) -> Attributes:
            session, sent = connection.session, clock.now()
            attributes = await make_symlink(session, target, path)
            if attributes.mtime:  # else LSTAT does not tell of links
                time_trust.of_now(self._pool.traits, self.clock, attributes.mtime)
                self.clock.made(attributes.mtime, sent, clock.now())
            return attributes

        return await retry_resolved(
            self._pool, work, lambda connection: lost_reply_probe.symlink(connection.session, target, path)
        )

    async def _created(
        self, session: Session, path: bytes, made: Slot[None], seen: Slot[Attributes], sent: float
    ) -> Attributes:
        try:
            await made.wait()
        except StatusError as failed:
            raise await errno_probe.creation(session, failed, path, seen) from None
        attributes = await new_seen(session, path, seen)
        time_trust.of_now(self._pool.traits, self.clock, attributes.mtime)
        self.clock.made(attributes.mtime, sent, clock.now())
        return attributes

    async def link(self, existing: bytes, path: bytes) -> Attributes:
        """As ``Remote.link``."""
        check_path(existing)
        check_path(path)
        await check_name(self._pool, path)

        async def work(connection: Connection) -> Attributes:
            session = connection.session
            if not session.capabilities.has(extensions.HARDLINK):
                raise error(errno.EOPNOTSUPP)
            made = session.start_hardlink(existing, path)
            seen = session.start_lstat_of_new(path)
            try:
                await made.wait()
            except StatusError as failed:
                raise await errno_probe.linking(session, failed, existing, path) from None
            return await new_seen(session, path, seen)

        return await retry_resolved(
            self._pool, work, lambda connection: lost_reply_probe.link(connection.session, existing, path)
        )

    async def remove(
        self, path: bytes, known: Known = nothing_known, *, look: bool = False
    ) -> Attributes | None:
        """As ``Remote.remove``."""
        check_path(path)
        await self._hold_name(path)

        async def work(connection: Connection) -> Attributes | None:
            seen = connection.session.start_lstat(path) if look else None
            try:
                await connection.session.start_remove(path).wait()
            except StatusError as failed:
                raise await errno_probe.removal(connection.session, failed, path) from None
            return await value_or_none(seen)

        return await retry_resolved(
            self._pool, work, lambda connection: lost_reply_probe.remove(connection.session, path, known)
        )

    async def rmdir(self, path: bytes) -> None:
        """As ``Remote.rmdir``."""
        check_path(path)

        async def work(connection: Connection) -> None:
            try:
                await connection.session.start_rmdir(path).wait()
            except StatusError as failed:
                problem = await errno_probe.directory_removal(connection.session, failed, path)
                full = problem.errno == errno.EEXIST  # rmdir(2) of POSIX knows both
                raise (error(errno.ENOTEMPTY) if full else problem) from None

        await retry_resolved(
            self._pool, work, lambda connection: lost_reply_probe.rmdir(connection.session, path)
        )

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
        await self._hold_name(new)
        replaced = self._open_files.found_at(new)
        self._open_files.renames += 1
        try:
            renamed = await retry_resolved(
                self._pool, move.make, lambda connection: move.resolved(connection, known, over)
            )
        finally:
            self._open_files.renames -= 1
        if replaced is not None:
            await look_after(self._pool.traits, replaced)
        return renamed
