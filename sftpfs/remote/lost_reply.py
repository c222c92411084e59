"""The looking behind ``remote.resolution``: what became of a request whose reply was lost.

Each function looks on a new session and gives the verdict, with the attributes seen where
those are the operation's result. Raises SessionLostError where that session is lost too,
StatusError where the server does not let us look. Nothing is changed.
"""

from __future__ import annotations

import errno

from sftpfs.aio import Slot
from sftpfs.errors import StatusError, error
from sftpfs.remote import explain
from sftpfs.remote.api import Known, Over
from sftpfs.remote.diagnose import is_directory
from sftpfs.remote.resolution import (
    ERRNO,
    Operation,
    Sight,
    Verdict,
    directory_sight,
    file_sight,
    known_sight,
    link_sight,
    symlink_sight,
    target_sight,
    verdict,
)
from sftpfs.remote.retry import Again
from sftpfs.remote.waiting import value_or_none
from sftpfs.server_clock import ServerClock
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes


async def _seen(slot: Slot[Attributes]) -> Attributes | None:
    """What LSTAT shows, None where nothing has the name."""
    try:
        return await slot.wait()
    except StatusError as refused:
        if refused.errno == errno.ENOENT:
            return None
        raise


def _made(operation: Operation, sight: Sight, seen: Attributes | None) -> Attributes | Again:
    """The attributes of what was made. Raises OSError."""
    decided = verdict(operation, sight)
    if decided is Verdict.DONE and seen is not None:
        return seen
    return _again(decided)


def _again(decided: Verdict) -> Again:
    """AGAIN. Raises what the verdict is told as."""
    if decided in ERRNO:
        raise error(ERRNO[decided], "the connection was lost, and what became of the request cannot be told")
    return Again.AGAIN


def _gone(decided: Verdict) -> Again | None:
    """None where it was done."""
    return None if decided is Verdict.DONE else _again(decided)


async def mkdir(session: Session, path: bytes, asked: float, server_clock: ServerClock) -> Attributes | Again:
    """MKDIR, asked for at ``asked`` (``clock.now``)."""
    seen = await _seen(session.start_lstat(path))
    empty = await explain.is_empty(session, path) if is_directory(seen) else None
    return _made(Operation.MKDIR, directory_sight(seen, empty, server_clock.earliest(asked)), seen)


async def symlink(session: Session, target: bytes, path: bytes) -> Attributes | Again:
    """SYMLINK."""
    looked, read = session.start_lstat(path), session.start_readlink(path)
    seen, leads_to = await _seen(looked), await value_or_none(read)
    return _made(Operation.SYMLINK, symlink_sight(seen, leads_to, target), seen)


async def link(session: Session, existing: bytes, path: bytes) -> Attributes | Again:
    """hardlink@openssh.com."""
    first, second = session.start_lstat(existing), session.start_lstat(path)
    known, seen = await _seen(first), await _seen(second)
    return _made(Operation.LINK, link_sight(seen, known), seen)


async def create(
    session: Session, path: bytes, mode: int, asked: float, server_clock: ServerClock
) -> Attributes | Again:
    """OPEN that creates exclusively with ``mode``, asked for at ``asked`` (``clock.now``)."""
    seen = await _seen(session.start_lstat(path))
    return _made(Operation.CREATE, file_sight(seen, mode, server_clock.earliest(asked)), seen)


async def remove(session: Session, path: bytes, known: Known) -> Again | None:
    """REMOVE of what is ``known`` to have the name."""
    seen = await _seen(session.start_lstat(path))
    return _gone(verdict(Operation.REMOVE, known_sight(seen, known())))


async def rmdir(session: Session, path: bytes) -> Again | None:
    """RMDIR."""
    seen = await _seen(session.start_lstat(path))
    return _gone(verdict(Operation.RMDIR, known_sight(seen, None)))


async def rename(session: Session, old: bytes, new: bytes, known: Known | None, over: Over) -> Again | None:
    """RENAME and posix-rename of what is ``known`` to have the old name (None: it was known to be missing),
    ``over`` what has the new one."""
    first, second = session.start_lstat(old), session.start_lstat(new)
    source, target = await _seen(first), await _seen(second)
    file = None if known is None else known()
    # Gone, and of unknown size and time, it is taken to have the new name: that may look as it did by chance.
    # Not where there was none.
    before = None if source is None and file is None and known is not None else over()
    return _gone(verdict(Operation.RENAME, known_sight(source, file), target_sight(target, file, before)))
