"""Rename over an existing name where the server cannot (no posix-rename@openssh.com).

The name is moved aside, the rename done, and what was aside removed; should the
rename fail, it is moved back. Not atomic: for two round trips the name is missing.
"""

from __future__ import annotations

import logging
import secrets

import trio

from sftpfs.errors import StatusError, error, said
from sftpfs.remote import diagnose, explain
from sftpfs.remote.diagnose import RenameSeen
from sftpfs.remote.paths import name_of, parent_of
from sftpfs.remote.waiting import value_or_none
from sftpfs.sftp.session import Session

logger = logging.getLogger(__name__)


def aside_path(path: bytes) -> bytes:
    """A name beside ``path`` that nobody else has: hidden, and 128 random bits."""
    return parent_of(path).rstrip(b"/") + b"/.sftpfs-" + secrets.token_hex(16).encode()


def can_replace(seen: RenameSeen) -> bool:
    """Whether rename(2) would replace what has the name: like by like, directories only if empty."""
    if seen.old is None or seen.new is None:
        return False
    if diagnose.is_directory(seen.old) != diagnose.is_directory(seen.new):
        return False
    return not diagnose.is_directory(seen.new) or seen.new_empty is True


async def rename_replacing(
    session: Session, failed: StatusError, old: bytes, new: bytes, aside: bytes, *, directories: bool
) -> None:
    """Finish a rename that ``failed``, if because ``new`` exists, or of ``directories`` only, is one.

    Not to be left half done, hence shielded from cancellation; the session's deadline
    bounds every step. ``aside`` is where ``new`` is moved for the time. Raises OSError;
    after a SessionLostError ``tidy`` is to follow on the next session.
    """
    seen = await explain.see_rename(session, old, new)
    if not can_replace(seen) or (directories and not diagnose.is_directory(seen.new)):
        raise error(diagnose.renaming(explain.code(failed), seen, True, name_of(new)))
    with trio.CancelScope(shield=True):
        try:
            await session.start_rename(new, aside).wait()
        except StatusError as refused:
            raise await explain.renaming(session, refused, new, aside, False) from None
        try:
            await session.start_rename(old, new).wait()
        except StatusError as refused:
            await _move_back(session, aside, new)
            raise await explain.renaming(session, refused, old, new, True) from None
        await _remove_aside(session, aside, diagnose.is_directory(seen.new))


async def tidy(session: Session, old: bytes, new: bytes, aside: bytes) -> None:
    """After a session was lost in the midst of it: either as before the rename, or as after it."""
    slots = [session.start_lstat(path) for path in (old, new, aside)]
    there_old = await value_or_none(slots[0])
    there_new, there_aside = await value_or_none(slots[1]), await value_or_none(slots[2])
    if there_aside is None:
        return
    with trio.CancelScope(shield=True):
        if there_new is None:
            await _move_back(session, aside, new)
        elif there_old is None:
            await _remove_aside(session, aside, diagnose.is_directory(there_aside))


async def _move_back(session: Session, aside: bytes, new: bytes) -> None:
    try:
        await session.start_rename(aside, new).wait()
    except StatusError as failure:
        logger.warning("%r was moved aside to %r and could not be moved back: %s", new, aside, said(failure))


async def _remove_aside(session: Session, aside: bytes, directory: bool) -> None:
    try:
        await (session.start_rmdir(aside) if directory else session.start_remove(aside)).wait()
    except StatusError as failure:
        logger.warning("%r is left over from a rename and could not be removed: %s", aside, said(failure))
