"""Changes attributes by path on one connection.

Owns what goes with a SETSTAT, and what is tried if the server refuses it. Used by ``remote.client`` only,
which carries it over a loss.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from functools import partial

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError, error
from sftpfs.remote.api import LinkTarget
from sftpfs.remote.handles.open_files import OpenFiles, noted
from sftpfs.remote.handles.resize import Resizing, sure_of_sizes
from sftpfs.remote.outcome import errno_probe
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.requests.open_request import open_in_part
from sftpfs.remote.requests.setattr_request import set_named, shows
from sftpfs.remote.requests.stat_request import as_a_link
from sftpfs.remote.slots import value_or_none
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes, OpenFlags

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
    if target is LinkTarget.LINK and not session.capabilities.has(extensions.LSETSTAT):
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
        noted(version, version.setattr_sent(connection, change, open_files.clock.at_least()), changed)
        question = version.asked(connection)
    if change.size is not None and sizing:
        await _resized(connection, open_files, path, change.size, changed)
    early = change.size is None and not (
        target is LinkTarget.LINK or session.traits.known.carries_out_in_order
    )
    seen = session.start_lstat_of_new(path) if early else look(session, path)
    try:
        await changed.wait()
    except StatusError as failed:  # EIO of a size not set stands for itself
        attributes = await _by_handle(session, failed, path, change, target, seen)
        if attributes is None:
            raise await errno_probe.changing(session, failed, path, change, seen) from None
    else:
        if target is LinkTarget.LINK and not session.traits.known.answers_lstat:
            return as_a_link(await session.start_readlink(path).wait())
        attributes = await (_as_set(session, look, path, change, seen) if early else seen.wait())
    if version is not None and question is not None:
        version.reported(attributes, question)
    return attributes


async def _as_set(
    session: Session, look: Look, path: bytes, change: AttributeChange, early: Slot[Attributes]
) -> Attributes:
    """What is at ``path`` behind ``change``, which was made. ``early`` is a look that went beside it, on a
    server that keeps no order: if it does not show everything that was set, it came too early, or is of a
    link."""
    seen = await value_or_none(early)
    if seen is not None and not stat.S_ISLNK(seen.mode) and shows(change, seen):
        return seen
    return await look(session, path).wait()


async def _resized(
    connection: Connection, open_files: OpenFiles, path: bytes, size: int, changed: Slot[None]
) -> None:
    """Gives the file ``size`` bytes if SETSTAT is not known to do that; ``changed`` is how it ended."""
    plain = partial(set_named, connection.session, path)
    try:
        await Resizing(connection, open_files.handle_limit, path, plain).set(size)
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
    """Makes a ``change`` that ``failed`` because SETSTAT is refused, by a handle. Returns what is there then;
    None if that is not the reason, or is no way either. Two more waits."""
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
    changed, found = session.start_fsetstat(handle, change), session.start_lstat(path)
    session.start_close(handle)
    try:
        await changed.wait()
    except StatusError:
        return None
    return await found.wait()


async def _for_want_of_it(session: Session, failed: StatusError, path: bytes) -> bool:
    """Whether SETSTAT is refused whatever it sets. Nobody else is refused one that sets nothing."""
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
