"""Opening a file on one connection: OPEN and LSTAT together, or OPEN, FSTAT and READ of a small one.

Used by ``remote.client`` only.
"""

from __future__ import annotations

import errno
import stat
from functools import partial
from typing import NamedTuple

from sftpfs.aio import Slot
from sftpfs.errors import StatusError, error
from sftpfs.remote.api import CurrentPath
from sftpfs.remote.files.pooled_file import PooledFile
from sftpfs.remote.handles.open_files import OpenFiles, OpenInode
from sftpfs.remote.handles.sequential_writes import check_one_writer
from sftpfs.remote.outcome import errno_probe
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests.open_request import (
    Wanted,
    as_new,
    as_taken,
    granted,
    in_plainer_words,
    keeps_what_is_there,
    learn_exclusive,
    look_first,
    opens_none_that_is_there,
    reported_size,
    shown_by,
    size_before,
)
from sftpfs.remote.requests.stat_request import start_stat_open
from sftpfs.remote.requests.whole_file_fetch import WholeFileRead
from sftpfs.remote.slots import handle_or_close, value_or_none
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes, OpenFlags, WholeFile

PERMISSIONS = 0o7777


async def open_file(
    pool: ConnectionPool,
    open_files: OpenFiles,
    connection: Connection,
    path: bytes,
    flags: OpenFlags,
    mode: int,
    current_path: CurrentPath,
    size: int = 0,
    new: bool = False,
    *,
    follow: bool = False,
) -> tuple[PooledFile, Attributes, WholeFile | None]:
    """Opens ``path`` on ``connection``, and returns what it is; see ``Remote.open``, and with a ``size`` of
    more than 0 ``Remote.open_whole``. ``new``: we make it, and no other can be known by its path. ``follow``:
    what a link leads to is meant. Raises OSError."""
    if new:
        return await _open(pool, open_files, connection, path, flags, mode, current_path, size, None, True)
    inode = open_files.opening(current_path)
    try:
        return await _open(pool, open_files, connection, path, flags, mode, current_path, size, inode, follow)
    finally:
        open_files.opened(current_path, inode)


async def _open(
    pool: ConnectionPool,
    open_files: OpenFiles,
    connection: Connection,
    path: bytes,
    flags: OpenFlags,
    mode: int,
    current_path: CurrentPath,
    size: int,
    inode: OpenInode | None,
    follow: bool,
) -> tuple[PooledFile, Attributes, WholeFile | None]:
    handle_limit, session = open_files.handle_limit, connection.session
    most = pool.read_sizes.limit
    known = None if inode is None else inode.version
    if OpenFlags.WRITE in flags:
        check_one_writer(session.traits.known, inode)
    emptied = None
    if inode is not None and OpenFlags.TRUNCATE in flags:
        inode.changes += 1
        if known is not None:
            emptied = known.setattr_sent(connection, AttributeChange(size=0), open_files.clock.at_least())
    changes = 0 if inode is None else inode.changes
    question = None if known is None else known.asked(connection)
    done = False
    try:
        asked = await handle_limit.run_with_handle(
            connection, partial(_ask, session, path, flags, mode, size, most)
        )
        done = True
    finally:
        if known is not None and emptied is not None:
            known.ended(emptied, done)
    handle_limit.unowned += 1
    appends = bool(flags & OpenFlags.APPEND)
    file = PooledFile(
        pool, connection, asked.identifier, asked.flags, path, current_path, open_files, appends
    )
    try:
        attributes = await _opened(session, asked, path, follow)
        if OpenFlags.EXCLUSIVE in flags:
            await _new(session, file, asked, path, flags, mode & PERMISSIONS, attributes)
        if OpenFlags.TRUNCATE in flags and not session.traits.known.closes_without_a_word:
            file.hidden = attributes.size > 0  # what the name shows is what was there, until CLOSE
            attributes = attributes._replace(size=0)
        if inode is None or inode.changes == changes:
            keeps_what_is_there(session, asked.before, attributes)
        if asked.before:
            file.opened_in_part()
        whole = await _answer(asked.whole) if asked.whole is not None else None
        while inode is not None and inode.changes != changes:  # by us, meanwhile: before it, or behind it
            changes, whole = inode.changes, None
            question = None if inode.version is None else inode.version.asked(connection)
            attributes = await start_stat_open(session, asked.identifier, path).wait()
    except BaseException:
        file.close()
        raise
    finally:
        handle_limit.unowned -= 1
    file.known_as(attributes, question, inode is None)
    return file, attributes, whole


async def _new(
    session: Session,
    file: PooledFile,
    asked: _Asked,
    path: bytes,
    flags: OpenFlags,
    mode: int,
    attributes: Attributes,
) -> None:
    """``file`` was to be made, and is ``attributes``. Raises EEXIST if it came between the look and the
    OPEN."""
    known, named = session.traits.known, asked.seen.error is None
    if not known.closes_without_a_word:
        file.unnamed = not named and await _no_name(session, path)
    if attributes.size and not known.honours_exclusive:
        raise error(errno.EEXIST)
    if named and not attributes.size and OpenFlags.APPEND not in flags:
        await learn_exclusive(session, path, mode)


class _Asked(NamedTuple):
    """An OPEN that was answered, and what went with it."""

    identifier: bytes
    seen: Slot[Attributes]
    whole: WholeFileRead | None
    flags: OpenFlags
    """What the server took."""
    before: int = 0
    """Bytes the file had before it was opened to be written in part, where that was looked at."""


async def _ask(session: Session, path: bytes, flags: OpenFlags, mode: int, size: int, most: int) -> _Asked:
    """The handle, and the LSTAT that went with it, or the reading of everything if its handle could be
    predicted.

    Raises OSError with the reason. A failure that does not show it, as when there are too many handles, stays
    the server's StatusError. One more wait for a new file if the server is not known to make it only if the
    name is free.
    """
    known = session.traits.known
    wanted = as_taken(known, Wanted(flags, mode & PERMISSIONS if OpenFlags.CREATE in flags else None))
    if OpenFlags.EXCLUSIVE in flags and not known.honours_exclusive:
        await look_first(session, path)
    before = await size_before(session, path, flags)
    wanted = await as_new(session, path, wanted)
    forecast = session.handles.predict() if size else None
    slot = session.start_open(path, wanted.flags, wanted.mode)
    whole = None if forecast is None else WholeFileRead(session, forecast, path, size, most)
    new = OpenFlags.EXCLUSIVE in flags
    look = session.start_lstat_of_new if new else session.start_lstat
    seen = look(path) if whole is None else whole.fstat
    try:
        identifier = await handle_or_close(session, slot)
    except StatusError as failed:
        there = seen if whole is None else session.start_lstat(path)
        if await opens_none_that_is_there(session, path, wanted, failed):
            return await _ask(session, path, flags, mode, size, most)
        problem = await errno_probe.opening(session, failed, path, flags, there)
        reason = failed if problem.errno == failed.errno else problem
        asked = wanted.flags
        identifier, wanted = await in_plainer_words(session, path, wanted, reason)
        if asked != wanted.flags and not before:
            before = await reported_size(there)  # it may have been kept for what was left out
        return _Asked(
            identifier, session.start_lstat(path), None, granted(known, wanted.flags, flags), before
        )
    session.traits.seen(shown_by(wanted))
    if OpenFlags.WRITE in wanted.flags and not wanted.flags & (OpenFlags.CREATE | OpenFlags.APPEND):
        session.traits.seen(["opens_what_is_there"])
    if identifier != forecast and whole is not None:
        seen, whole = start_stat_open(session, identifier, path), None
    return _Asked(identifier, seen, whole, granted(known, wanted.flags, flags), before)


async def _no_name(session: Session, path: bytes) -> bool:
    """Whether nothing is at ``path``, where a file was made; the first look may have come too early."""
    return await value_or_none(session.start_lstat(path)) is None


async def _opened(session: Session, asked: _Asked, path: bytes, follow: bool) -> Attributes:
    """The attributes of what was opened. ELOOP, as with O_NOFOLLOW, if the server followed a link that must
    not be followed."""
    attributes = await value_or_none(asked.seen)
    if attributes is None or stat.S_ISLNK(attributes.mode):
        if attributes is not None and not follow:
            raise error(errno.ELOOP)
        # Gone already, or OPEN followed a link: the handle knows.
        attributes = await start_stat_open(session, asked.identifier, path).wait()
    if stat.S_ISDIR(attributes.mode):
        raise error(errno.EISDIR)
    return attributes


async def _answer(whole: WholeFileRead) -> WholeFile | None:
    """What came with the OPEN; who reads is told why where nothing did."""
    try:
        return await whole.result()
    except StatusError:
        return None
