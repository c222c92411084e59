"""Looks at the server for ``remote.outcome.lost_reply_rules``: what became of a request whose reply was lost.

Each function looks on a new session and returns the verdict, with the attributes it saw if those are the
operation's result. Raises SessionLostError if that session is lost too, and StatusError if the server does
not let us look. Changes nothing.
"""

from __future__ import annotations

import errno

from sftpfs.aio import Slot
from sftpfs.errors import StatusError, error
from sftpfs.remote.api import Known, Over
from sftpfs.remote.outcome import errno_probe
from sftpfs.remote.outcome.errno_rules import is_directory
from sftpfs.remote.outcome.lost_reply_rules import (
    ERRNO,
    Again,
    Observed,
    Operation,
    Verdict,
    directory_sight,
    file_sight,
    known_sight,
    link_sight,
    symlink_sight,
    target_sight,
    verdict,
)
from sftpfs.remote.slots import value_or_none
from sftpfs.server_clock import ServerClock
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes


async def _seen(slot: Slot[Attributes]) -> Attributes | None:
    """What LSTAT shows; None if nothing has the name."""
    try:
        return await slot.wait()
    except StatusError as refused:
        if refused.errno == errno.ENOENT:
            return None
        raise


def _made(operation: Operation, sight: Observed, seen: Attributes | None) -> Attributes | Again:
    """The attributes of what was made. Raises OSError."""
    decided = verdict(operation, sight)
    if decided is Verdict.DONE and seen is not None:
        return seen
    return _again(decided)


def _again(decided: Verdict) -> Again:
    """NOT_DONE. Raises the error of the verdict."""
    if decided in ERRNO:
        raise error(ERRNO[decided], "the connection was lost, and what became of the request cannot be told")
    return Again.NOT_DONE


def _gone(decided: Verdict) -> Again | None:
    """None if it was done."""
    return None if decided is Verdict.DONE else _again(decided)


async def mkdir(session: Session, path: bytes, asked: float, server_clock: ServerClock) -> Attributes | Again:
    """MKDIR, asked for at ``asked`` (``clock.now``)."""
    seen = await _seen(session.start_lstat(path))
    empty = await errno_probe.is_empty(session, path) if is_directory(seen) else None
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
    # If it is gone, and its size and time are unknown, it is assumed to have the new name, although what is
    # there may look like it by chance. Not if there was no such file.
    before = None if source is None and file is None and known is not None else over()
    return _gone(verdict(Operation.RENAME, known_sight(source, file), target_sight(target, file, before)))
