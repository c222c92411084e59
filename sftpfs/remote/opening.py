"""Opening a file on one connection: OPEN and LSTAT together, or OPEN, FSTAT and READ of a small one.

Used by ``remote.server`` only.
"""

from __future__ import annotations

import errno
import stat
from functools import partial
from typing import NamedTuple

from sftpfs.aio import Slot
from sftpfs.errors import StatusError, error
from sftpfs.remote import explain
from sftpfs.remote.api import CurrentPath, OpenFlags
from sftpfs.remote.connection import Connection
from sftpfs.remote.file import File
from sftpfs.remote.flags import protocol_flags
from sftpfs.remote.in_order import check_one_writer
from sftpfs.remote.open_files import OpenFiles, OpenInode
from sftpfs.remote.open_request import (
    Wanted,
    as_new,
    as_taken,
    granted,
    in_plainer_words,
    keeps_what_is_there,
    learn_exclusive,
    look_first,
    opens_none_that_is_there,
    shown_by,
    size_before,
    size_told,
)
from sftpfs.remote.pool import Pool
from sftpfs.remote.telling import start_telling
from sftpfs.remote.waiting import opened, value_or_none
from sftpfs.remote.whole import WholeRead
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes, WholeFile

PERMISSIONS = 0o7777


async def open_file(
    pool: Pool,
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
) -> tuple[File, Attributes, WholeFile | None]:
    """``path`` opened on ``connection``, and what it is; see ``Remote.open``, with a ``size`` of more than
    0 ``Remote.open_whole``. ``new``: we make it, and no other can be known by its path. ``follow``: what a
    link leads to is meant by it. Raises OSError."""
    if new:
        return await _open(pool, open_files, connection, path, flags, mode, current_path, size, None, True)
    inode = open_files.opening(current_path)
    try:
        return await _open(pool, open_files, connection, path, flags, mode, current_path, size, inode, follow)
    finally:
        open_files.opened(current_path, inode)


async def _open(
    pool: Pool,
    open_files: OpenFiles,
    connection: Connection,
    path: bytes,
    flags: OpenFlags,
    mode: int,
    current_path: CurrentPath,
    size: int,
    inode: OpenInode | None,
    follow: bool,
) -> tuple[File, Attributes, WholeFile | None]:
    room, session = open_files.room, connection.session
    most = pool.read_sizes.limit
    known = None if inode is None else inode.version
    if OpenFlags.WRITE in flags:
        check_one_writer(session.traits.known, inode)
    emptied = None
    if inode is not None and OpenFlags.TRUNCATE in flags:
        inode.changes += 1
        if known is not None:
            emptied = known.setting(connection, AttributeChange(size=0), open_files.clock.at_least())
    changes = 0 if inode is None else inode.changes
    question = None if known is None else known.asked(connection)
    done = False
    try:
        asked = await room.use(connection, partial(_ask, session, path, flags, mode, size, most))
        done = True
    finally:
        if known is not None and emptied is not None:
            known.ended(emptied, done)
    room.unsettled += 1
    appends = bool(flags & OpenFlags.APPEND)
    file = File(pool, connection, asked.identifier, asked.flags, path, current_path, open_files, appends)
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
            attributes = await start_telling(session, asked.identifier, path).wait()
    except BaseException:
        file.close()
        raise
    finally:
        room.unsettled -= 1
    file.known_as(attributes, question, inode is None)
    return file, attributes, whole


async def _new(
    session: Session,
    file: File,
    asked: _Asked,
    path: bytes,
    flags: OpenFlags,
    mode: int,
    attributes: Attributes,
) -> None:
    """``file`` was to be made, and is ``attributes``. Raises EEXIST where it came between the look and the
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
    whole: WholeRead | None
    flags: OpenFlags
    """What the server took."""
    before: int = 0
    """Bytes the file had before it was opened to be written in part, where that was looked at."""


async def _ask(session: Session, path: bytes, flags: OpenFlags, mode: int, size: int, most: int) -> _Asked:
    """The handle, and the LSTAT that went with it, or the reading of all where its handle could be told.

    Raises OSError with what was wrong; what the failure does not tell, as where there are too many
    handles, stays the server's StatusError. One wait more for a new file where the server is not known to
    make it only where the name is free.
    """
    known = session.traits.known
    wanted = as_taken(known, Wanted(flags, mode & PERMISSIONS if OpenFlags.CREATE in flags else None))
    if OpenFlags.EXCLUSIVE in flags and not known.honours_exclusive:
        await look_first(session, path)
    before = await size_before(session, path, flags)
    wanted = await as_new(session, path, wanted)
    forecast = session.handles.next() if size else None
    slot = session.start_open(path, protocol_flags(wanted.flags), wanted.mode)
    whole = None if forecast is None else WholeRead(session, forecast, path, size, most)
    new = OpenFlags.EXCLUSIVE in flags
    look = session.start_lstat_of_new if new else session.start_lstat
    seen = look(path) if whole is None else whole.told
    try:
        identifier = await opened(session, slot)
    except StatusError as failed:
        there = seen if whole is None else session.start_lstat(path)
        if await opens_none_that_is_there(session, path, wanted, failed):
            return await _ask(session, path, flags, mode, size, most)
        problem = await explain.opening(session, failed, path, flags, there)
        told = failed if problem.errno == failed.errno else problem
        asked = wanted.flags
        identifier, wanted = await in_plainer_words(session, path, wanted, told)
        if asked != wanted.flags and not before:
            before = await size_told(there)  # it may have been kept for what was left out
        return _Asked(
            identifier, session.start_lstat(path), None, granted(known, wanted.flags, flags), before
        )
    session.traits.seen(shown_by(wanted))
    if OpenFlags.WRITE in wanted.flags and not wanted.flags & (OpenFlags.CREATE | OpenFlags.APPEND):
        session.traits.seen(["opens_what_is_there"])
    if identifier != forecast and whole is not None:
        seen, whole = start_telling(session, identifier, path), None
    return _Asked(identifier, seen, whole, granted(known, wanted.flags, flags), before)


async def _no_name(session: Session, path: bytes) -> bool:
    """Whether what was made at ``path`` is not there: the first look may have come too early."""
    return await value_or_none(session.start_lstat(path)) is None


async def _opened(session: Session, asked: _Asked, path: bytes, follow: bool) -> Attributes:
    """The attributes of what was opened. ELOOP, as with O_NOFOLLOW, where the server followed a link that
    was not to be followed."""
    attributes = await value_or_none(asked.seen)
    if attributes is None or stat.S_ISLNK(attributes.mode):
        if attributes is not None and not follow:
            raise error(errno.ELOOP)
        # Gone already, or OPEN followed a link: the handle knows.
        attributes = await start_telling(session, asked.identifier, path).wait()
    if stat.S_ISDIR(attributes.mode):
        raise error(errno.EISDIR)
    return attributes


async def _answer(whole: WholeRead) -> WholeFile | None:
    """What came with the OPEN; who reads is told why where nothing did."""
    try:
        return await whole.answer()
    except StatusError:
        return None
