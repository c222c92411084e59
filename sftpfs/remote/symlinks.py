"""Making symbolic links on a server that may take the arguments of SYMLINK in the draft's order.

OpenSSH has the target first, draft-ietf-secsh-filexfer-02 (§6.10) the path of the link, and no announcement
tells which. The first link made tells; what a server made the wrong way round is removed. Used by
``remote.server`` only.
"""

from __future__ import annotations

import errno

from sftpfs.errors import Status, StatusError, error
from sftpfs.remote import explain
from sftpfs.remote.waiting import new_seen, value_or_none
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

TRAIT = "takes_symlink_target_first"


async def make_symlink(session: Session, target: bytes, path: bytes) -> Attributes:
    """SYMLINK and LSTAT together. Raises OSError.

    Two waits for the first link where the order is not known, a few more where it is found to be the draft's.
    """
    made, seen = session.start_symlink(target, path), session.start_lstat_of_new(path)
    doubtful = session.traits.doubtful(TRAIT)
    try:
        await made.wait()
    except StatusError as failed:
        problem = await explain.creation(session, failed, path, seen)
        there = await value_or_none(seen)
        if not doubtful or there is not None or failed.status == Status.OP_UNSUPPORTED:
            raise problem from None
        if not await _turned_round(session, target, path):
            raise problem from None
        return await session.start_lstat(path).wait()
    if not doubtful:
        return await new_seen(session, path, seen)
    there = await value_or_none(seen)
    ours, stray = session.start_readlink(path), session.start_readlink(target)
    leads_to, comes_from = await value_or_none(ours), await value_or_none(stray)
    if leads_to == target:
        session.traits.seen([TRAIT])
        return await new_seen(session, path, seen)
    if comes_from != path:
        return await new_seen(session, path, seen)
    await session.start_remove(target).wait()
    session.traits.contradict(TRAIT, "a link was made at what it was to lead to")
    if there is not None:
        raise error(errno.EEXIST)
    return await make_symlink(session, target, path)


async def _turned_round(session: Session, target: bytes, path: bytes) -> bool:
    """SYMLINK the draft's way, after it failed OpenSSH's: whether that made the link."""
    made = session.start_symlink(path, target)
    ours, stray = session.start_readlink(path), session.start_readlink(target)
    try:
        await made.wait()
    except StatusError:
        return False
    leads_to, comes_from = await value_or_none(ours), await value_or_none(stray)
    if leads_to == target:
        session.traits.contradict(TRAIT, "a link was made only with its path first")
        return True
    if comes_from == path:
        await session.start_remove(target).wait()
    return False
