"""Opening a file on one connection: OPEN and LSTAT together. Used by ``remote.server`` only."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from functools import partial

from sftpfs.aio import Slot
from sftpfs.errors import StatusError, error
from sftpfs.remote import explain
from sftpfs.remote.api import OpenFlags, RemoteFile
from sftpfs.remote.connection import Connection
from sftpfs.remote.file import File
from sftpfs.remote.flags import protocol_flags
from sftpfs.remote.pool import Pool
from sftpfs.remote.reopening import OpenFiles
from sftpfs.remote.version import KnownVersion
from sftpfs.remote.waiting import opened, value_or_none
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

PERMISSIONS = 0o7777


async def open_file(
    pool: Pool,
    open_files: OpenFiles,
    connection: Connection,
    path: bytes,
    flags: OpenFlags,
    mode: int,
    current_path: Callable[[], bytes | None],
) -> tuple[RemoteFile, Attributes]:
    """``path`` opened on ``connection``, and what it is; see ``Remote.open``. Raises OSError."""
    room = open_files.room
    identifier, seen = await room.use(connection, partial(_ask, connection.session, path, flags, mode))
    room.unsettled += 1
    file = File(pool, connection, identifier, flags, path, current_path, open_files)
    try:
        attributes = await _opened(connection, identifier, seen)
    except BaseException:
        file.close()
        raise
    finally:
        room.unsettled -= 1
    file.version = KnownVersion(attributes)
    if OpenFlags.TRUNCATE in flags:
        file.version.changed = True
        open_files.resized(file, attributes.size, cut=True)
    return file, attributes


async def _ask(session: Session, path: bytes, flags: OpenFlags, mode: int) -> tuple[bytes, Slot[Attributes]]:
    """The handle, and the LSTAT that went with it. Raises OSError with what was wrong; what the failure
    does not tell, as where there are too many handles, stays the server's StatusError."""
    created_mode = mode & PERMISSIONS if OpenFlags.CREATE in flags else None
    slot = session.start_open(path, protocol_flags(flags), created_mode)
    seen = session.start_lstat(path)
    try:
        return await opened(session, slot), seen
    except StatusError as failed:
        problem = await explain.opening(session, failed, path, flags, seen)
        raise (failed if problem.errno == failed.errno else problem) from None


async def _opened(connection: Connection, identifier: bytes, seen: Slot[Attributes]) -> Attributes:
    """The attributes of what was opened."""
    attributes = await value_or_none(seen)
    if attributes is None or stat.S_ISLNK(attributes.mode):
        # Gone already, or OPEN followed a link: the handle knows.
        attributes = await connection.session.start_fstat(identifier).wait()
    if stat.S_ISDIR(attributes.mode):
        raise error(errno.EISDIR)
    return attributes
