"""Changing attributes by path on one connection.

Owns what goes with a SETSTAT and what is tried where the server refuses it. Used by ``remote.server`` only,
which carries it over a loss.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from functools import partial

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError, error
from sftpfs.remote import explain
from sftpfs.remote.api import LinkTarget, OpenFlags
from sftpfs.remote.connection import Connection
from sftpfs.remote.open_files import OpenFiles, noted
from sftpfs.remote.open_request import open_in_part
from sftpfs.remote.resizing import Resizing, sure_of_sizes
from sftpfs.remote.setting import set_named
from sftpfs.remote.telling import as_a_link
from sftpfs.remote.waiting import value_or_none
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes

LSETSTAT = "lsetstat@openssh.com"

Look = Callable[[Session, bytes], Slot[Attributes]]


async def change_attributes(
    connection: Connection,
    open_files: OpenFiles,
    look: Look,
    path: bytes,
    change: AttributeChange,
    target: LinkTarget,
) -> Attributes:
    """As ``Remote.setattr``; ``look`` asks what a name has. EIO where it shows that a size was not set."""
    session = connection.session
    if target is LinkTarget.LINK and not session.capabilities.has(LSETSTAT):
        raise error(errno.EOPNOTSUPP)
    start = set_named if target is LinkTarget.TARGET else Session.start_lsetstat
    matters = change.size is not None or change.mtime is not None
    inode = open_files.found_at(path) if matters else None
    version = question = None
    if inode is not None:
        inode.changes += 1
        version = inode.version
    sizing = change.size is not None and target is LinkTarget.TARGET and not sure_of_sizes(session.traits)
    changed: Slot[None] = Slot() if sizing else start(session, path, change)
    if version is not None:
        noted(version, version.setting(connection, change, open_files.clock.at_least()), changed)
        question = version.asked(connection)
    if change.size is not None and sizing:
        await _resized(connection, open_files, path, change.size, changed)
    seen = look(session, path)
    try:
        await changed.wait()
    except StatusError as failed:  # EIO of a size not set stands for itself
        attributes = await _by_handle(session, failed, path, change, target, seen)
        if attributes is None:
            raise await explain.changing(session, failed, path, change, seen) from None
    else:
        if target is LinkTarget.LINK and not session.traits.known.tells_of_links:
            return as_a_link(await session.start_readlink(path).wait())
        attributes = await seen.wait()
    if version is not None and question is not None:
        version.told(attributes, question)
    return attributes


async def _resized(
    connection: Connection, open_files: OpenFiles, path: bytes, size: int, changed: Slot[None]
) -> None:
    """Give the file ``size`` bytes where SETSTAT is not known to do that; ``changed`` is how it ended."""
    plain = partial(set_named, connection.session, path)
    try:
        await Resizing(connection, open_files.room, path, plain).set(size)
    except OSError as failed:
        changed.fail(failed)
    except BaseException:
        changed.fail(SessionLostError("given up"))
        raise
    else:
        changed.set(None)


async def _by_handle(
    session: Session,
    failed: StatusError,
    path: bytes,
    change: AttributeChange,
    target: LinkTarget,
    seen: Slot[Attributes],
) -> Attributes | None:
    """Make a ``change`` that ``failed`` for want of SETSTAT by a handle: what there is then. None where that
    is not why, or is no way either; two waits more."""
    there = await value_or_none(seen)
    if target is LinkTarget.LINK or there is None or not await _for_want_of_it(session, failed, path):
        return None
    if not session.traits.known.sets_by_handle:
        return None
    if stat.S_IFMT(there.mode) not in (stat.S_IFREG, stat.S_IFDIR):
        return None
    try:
        flags = OpenFlags.READ if change.size is None else OpenFlags.WRITE
        handle = await open_in_part(session, path, flags)
    except StatusError:
        return None
    changed, told = session.start_fsetstat(handle, change), session.start_lstat(path)
    session.start_close(handle)
    try:
        await changed.wait()
    except StatusError:
        return None
    return await told.wait()


async def _for_want_of_it(session: Session, failed: StatusError, path: bytes) -> bool:
    """Whether SETSTAT is refused whatever it sets. Of nothing to set it is refused to nobody else."""
    traits = session.traits
    if not traits.known.sets_by_path:
        return True
    if failed.status == Status.PERMISSION_DENIED and not traits.held("sets_by_path"):
        nothing = session.start_setstat(path, AttributeChange())
        try:
            await nothing.wait()
        except StatusError as refused:
            if refused.status == Status.PERMISSION_DENIED:
                traits.contradict("sets_by_path", f"SETSTAT is refused: {refused.strerror}")
                return True
        else:
            traits.seen(["sets_by_path"])
    return failed.status == Status.OP_UNSUPPORTED
