"""Rename over an existing name on a server that cannot do it (no posix-rename@openssh.com).

The name is moved aside, the rename is done, and what was moved aside is removed. If the rename fails, it is
moved back. This is not atomic: for two round trips the name is missing.
"""

from __future__ import annotations

import logging
import secrets

import trio

from sftpfs.errors import StatusError, error, said
from sftpfs.remote.outcome import errno_probe, errno_rules
from sftpfs.remote.outcome.errno_rules import RenameSeen
from sftpfs.remote.paths import name_of, parent_of
from sftpfs.remote.slots import value_or_none
from sftpfs.sftp.session import Session

logger = logging.getLogger(__name__)


def temporary_name(path: bytes) -> bytes:
    """A name beside ``path`` that nobody else has: hidden, and 128 random bits."""
    return parent_of(path).rstrip(b"/") + b"/.sftpfs-" + secrets.token_hex(16).encode()


def can_replace(seen: RenameSeen) -> bool:
    """Whether rename(2) would replace what has the name: like by like, directories only if empty."""
    if seen.old is None or seen.new is None:
        return False
    if errno_rules.is_directory(seen.old) != errno_rules.is_directory(seen.new):
        return False
    return not errno_rules.is_directory(seen.new) or seen.new_empty is True


async def rename_replacing(
    session: Session, failed: StatusError, old: bytes, new: bytes, aside: bytes, *, directories: bool
) -> None:
    """Finishes a rename that ``failed``, if the reason is that ``new`` exists; with ``directories`` only if
    it is a directory.

    It must not be left half done, so it is shielded from cancellation; the session's deadline bounds every
    step. ``aside`` is where ``new`` is moved for the time. Raises OSError. After a
    SessionLostError ``finish_interrupted`` must follow on the next session.
    """
    seen = await errno_probe.see_rename(session, old, new)
    if not can_replace(seen) or (directories and not errno_rules.is_directory(seen.new)):
        raise error(errno_rules.renaming(errno_probe.code(failed), seen, True, name_of(new)))
    with trio.CancelScope(shield=True):
        try:
            await session.start_rename(new, aside).wait()
        except StatusError as refused:
            raise await errno_probe.renaming(session, refused, new, aside, False) from None
        try:
            await session.start_rename(old, new).wait()
        except StatusError as refused:
            await _move_back(session, aside, new)
            raise await errno_probe.renaming(session, refused, old, new, True) from None
        await _remove_aside(session, aside, errno_rules.is_directory(seen.new))


async def finish_interrupted(session: Session, old: bytes, new: bytes, aside: bytes) -> None:
    """After a session was lost in the middle of it: the names are then either as before the rename, or as
    after it."""
    slots = [session.start_lstat(path) for path in (old, new, aside)]
    there_old = await value_or_none(slots[0])
    there_new, there_aside = await value_or_none(slots[1]), await value_or_none(slots[2])
    if there_aside is None:
        return
    with trio.CancelScope(shield=True):
        if there_new is None:
            await _move_back(session, aside, new)
        elif there_old is None:
            await _remove_aside(session, aside, errno_rules.is_directory(there_aside))


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
