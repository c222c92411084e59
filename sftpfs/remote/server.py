"""The server: ``remote.api.Remote`` on the sessions of a pool.

Owns how each operation travels: what goes out together, what is looked at after a
failure. Used by ``vfs`` and ``data`` through ``remote.api``. Operations by path all
take the metadata connection, whose requests the server carries out in order, so
that the LSTAT sent behind a change sees it.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Sequence

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError, error
from sftpfs.remote import explain
from sftpfs.remote.api import LinkTarget, OpenFlags, RemoteFile
from sftpfs.remote.connection import Connection
from sftpfs.remote.file import File, protocol_flags
from sftpfs.remote.late import LateFile
from sftpfs.remote.listing import list_entries
from sftpfs.remote.paths import check_link_target, check_path
from sftpfs.remote.pool import Pool
from sftpfs.remote.replacing import rename_replacing
from sftpfs.remote.waiting import opened, value_or_none
from sftpfs.remote.whole import fetch_whole
from sftpfs.sftp.session import Session
from sftpfs.types import (
    AttributeChange,
    Attributes,
    FilesystemStatistics,
    Listing,
    ServerCapabilities,
    WholeFile,
)

POSIX_RENAME = "posix-rename@openssh.com"
HARDLINK = "hardlink@openssh.com"
LSETSTAT = "lsetstat@openssh.com"
STATVFS = "statvfs@openssh.com"

PERMISSIONS = 0o7777

LSTATS_TOGETHER = 256
"""LSTATs in flight at once: a round trip each time costs little beside so many answers."""


class Server:
    """See the module. One object a mount.

    ``follow_symlinks``: what a path leads to is shown in place of a link.
    """

    def __init__(self, pool: Pool, follow_symlinks: bool = False) -> None:
        self._pool = pool
        self._look = Session.start_stat if follow_symlinks else Session.start_lstat

    @property
    def capabilities(self) -> ServerCapabilities:
        """As ``Remote.capabilities``."""
        return self._pool.capabilities

    async def _session(self) -> Session:
        return (self._pool.metadata_nowait() or await self._pool.metadata()).session

    # names and attributes

    async def lstat(self, path: bytes) -> Attributes:
        """As ``Remote.lstat``."""
        check_path(path)
        return await self._look(await self._session(), path).wait()

    async def stat(self, path: bytes) -> Attributes:
        """As ``Remote.stat``; a name that is missing costs a second wait, to tell a loop of links."""
        check_path(path)
        session = await self._session()
        try:
            return await session.start_stat(path).wait()
        except StatusError as failed:
            raise await explain.following(session, failed, path) from None

    async def readlink(self, path: bytes) -> bytes:
        """As ``Remote.readlink``."""
        check_path(path)
        target = await (await self._session()).start_readlink(path).wait()
        check_link_target(target)
        return target

    async def realpath(self, path: bytes) -> bytes:
        """As ``Remote.realpath``; ``path`` may be relative to where the server starts us."""
        if b"\0" in path:
            raise error(errno.EINVAL)
        canonical = await (await self._session()).start_realpath(path).wait()
        check_path(canonical)
        return canonical

    async def lstat_many(self, paths: Sequence[bytes]) -> list[Attributes | OSError]:
        """As ``Remote.lstat_many``."""
        session = await self._session()
        found: list[Attributes | OSError] = []
        for first in range(0, len(paths), LSTATS_TOGETHER):
            slots = [_checked(self._look, session, path) for path in paths[first : first + LSTATS_TOGETHER]]
            for slot in slots:
                try:
                    found.append(await slot.wait())
                except SessionLostError:
                    raise
                except OSError as failed:
                    found.append(failed)
        return found

    async def list_directory(self, path: bytes) -> Listing:
        """As ``Remote.list_directory``."""
        check_path(path)
        session = await self._session()
        own = session.start_stat(path)
        try:
            entries = await list_entries(session, path)
            return Listing(await own.wait(), entries)
        except StatusError as failed:
            raise await explain.listing(session, failed, path) from None

    async def setattr(
        self, path: bytes, change: AttributeChange, target: LinkTarget = LinkTarget.TARGET
    ) -> Attributes:
        """As ``Remote.setattr``."""
        check_path(path)
        session = await self._session()
        if target is LinkTarget.TARGET:
            changed = session.start_setstat(path, change)
        elif session.capabilities.has(LSETSTAT):
            changed = session.start_lsetstat(path, change)
        else:
            raise error(errno.EOPNOTSUPP)
        seen = self._look(session, path)
        try:
            await changed.wait()
        except StatusError as failed:
            raise await explain.changing(session, failed, path, change, seen) from None
        return await seen.wait()

    async def statvfs(self, path: bytes) -> FilesystemStatistics | None:
        """As ``Remote.statvfs``."""
        check_path(path)
        session = await self._session()
        if not session.capabilities.has(STATVFS):
            return None
        return await value_or_none(session.start_statvfs(path))

    # files

    async def open(
        self, path: bytes, flags: OpenFlags, mode: int, current_path: Callable[[], bytes | None]
    ) -> tuple[RemoteFile, Attributes]:
        """As ``Remote.open``.

        A second wait where LSTAT did not show what was opened.
        """
        check_path(path)
        connection = self._pool.metadata_nowait() or await self._pool.metadata()
        session = connection.session
        create = OpenFlags.CREATE in flags
        slot = session.start_open(path, protocol_flags(flags), mode & PERMISSIONS if create else None)
        seen = session.start_lstat(path)
        try:
            handle = await opened(session, slot)
        except StatusError as failed:
            raise await explain.opening(session, failed, path, flags, seen) from None
        file = File(self._pool, connection, handle, flags, path, current_path)
        try:
            attributes = await self._opened(connection, handle, seen)
        except BaseException:
            file.close()
            raise
        return file, attributes

    async def fetch(self, path: bytes, size: int) -> WholeFile | None:
        """As ``Remote.fetch``; on a bulk connection where there is one."""
        check_path(path)
        connection = self._pool.least_busy() or await self._pool.metadata()
        session = connection.session
        return await fetch_whole(session, path, size)

    def open_later(self, current_path: Callable[[], bytes | None]) -> RemoteFile:
        """As ``Remote.open_later``."""
        return LateFile(self, current_path, self._pool.spawn)

    async def _opened(self, connection: Connection, handle: bytes, seen: Slot[Attributes]) -> Attributes:
        """The attributes of what was opened."""
        session = connection.session
        attributes = await value_or_none(seen)
        if attributes is None or stat.S_ISLNK(attributes.mode):
            # Gone already, or OPEN followed a link: the handle knows.
            attributes = await session.start_fstat(handle).wait()
        if stat.S_ISDIR(attributes.mode):
            raise error(errno.EISDIR)
        return attributes

    # changes of names

    async def mkdir(self, path: bytes, mode: int) -> Attributes:
        """As ``Remote.mkdir``; a second wait where the server's umask altered ``mode``."""
        check_path(path)
        session = await self._session()
        made = session.start_mkdir(path, mode & PERMISSIONS)
        attributes = await self._created(session, path, made, session.start_lstat(path))
        # A set-group-ID bit that the new directory inherited stays (mkdir(2)).
        wanted = mode & PERMISSIONS | attributes.mode & stat.S_ISGID
        if attributes.mode & PERMISSIONS == wanted or not stat.S_ISDIR(attributes.mode):
            return attributes
        changed = session.start_setstat(path, AttributeChange(mode=wanted))
        again = session.start_lstat(path)
        await value_or_none(changed)
        return await value_or_none(again) or attributes

    async def symlink(self, target: bytes, path: bytes) -> Attributes:
        """As ``Remote.symlink``."""
        check_path(path)
        check_link_target(target)
        session = await self._session()
        made = session.start_symlink(target, path)
        return await self._created(session, path, made, session.start_lstat(path))

    async def _created(
        self, session: Session, path: bytes, made: Slot[None], seen: Slot[Attributes]
    ) -> Attributes:
        try:
            await made.wait()
        except StatusError as failed:
            raise await explain.creation(session, failed, path, seen) from None
        return await seen.wait()

    async def link(self, existing: bytes, path: bytes) -> Attributes:
        """As ``Remote.link``."""
        check_path(existing)
        check_path(path)
        session = await self._session()
        if not session.capabilities.has(HARDLINK):
            raise error(errno.EOPNOTSUPP)
        made = session.start_hardlink(existing, path)
        seen = session.start_lstat(path)
        try:
            await made.wait()
        except StatusError as failed:
            raise await explain.linking(session, failed, existing, path) from None
        return await seen.wait()

    async def remove(self, path: bytes) -> None:
        """As ``Remote.remove``."""
        check_path(path)
        session = await self._session()
        try:
            await session.start_remove(path).wait()
        except StatusError as failed:
            raise await explain.removal(session, failed, path) from None

    async def rmdir(self, path: bytes) -> None:
        """As ``Remote.rmdir``."""
        check_path(path)
        session = await self._session()
        try:
            await session.start_rmdir(path).wait()
        except StatusError as failed:
            raise await explain.directory_removal(session, failed, path) from None

    async def rename(self, old: bytes, new: bytes, replace: bool) -> None:
        """As ``Remote.rename``; several waits where the server has no posix-rename and ``new`` exists."""
        check_path(old)
        check_path(new)
        session = await self._session()
        atomic = replace and session.capabilities.has(POSIX_RENAME)
        slot = session.start_posix_rename(old, new) if atomic else session.start_rename(old, new)
        try:
            await slot.wait()
        except StatusError as failed:
            if replace and not atomic and explain.code(failed) == Status.FAILURE:
                await rename_replacing(session, failed, old, new)
                return
            raise await explain.renaming(session, failed, old, new, replace) from None


def _checked(
    look: Callable[[Session, bytes], Slot[Attributes]], session: Session, path: bytes
) -> Slot[Attributes]:
    """``look`` at ``path``; a path no server can take fails as it would have there."""
    try:
        check_path(path)
    except OSError as refused:
        slot: Slot[Attributes] = Slot()
        slot.fail(refused)
        return slot
    return look(session, path)
