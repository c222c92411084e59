"""Makes symbolic links on a server that may take the arguments of SYMLINK in the draft's order, or store
another target than it was given.

OpenSSH has the target first, draft-ietf-secsh-filexfer-02 (§6.10) the path of the link, and no announcement
says which. The first link that is made shows it; a link that a server made the wrong way round is removed.
Some servers make a relative target absolute, as a path of their own: such a link is removed, and refused.
Used by ``remote.client`` only.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError, error
from sftpfs.remote.outcome import errno_probe
from sftpfs.remote.requests.stat_request import as_a_link
from sftpfs.remote.slots import new_seen, value_or_none
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

ORDER = "takes_symlink_target_first"
TARGETS = "keeps_link_targets"


async def make_symlink(session: Session, target: bytes, path: bytes) -> Attributes:
    """SYMLINK and LSTAT together. Raises OSError.

    Two waits for the first link if the order is not known, a few more if it is found to be the draft's; a
    READLINK beside the LSTAT until a relative target was seen to be kept.
    """
    made, seen = session.start_symlink(target, path), session.start_lstat_of_new(path)
    read = _read_where_doubtful(session, path)
    doubtful = session.traits.doubtful(ORDER)
    try:
        await made.wait()
    except StatusError as failed:
        problem = await errno_probe.creation(session, failed, path, seen)
        there = await value_or_none(seen)
        if not doubtful or there is not None or failed.status == Status.OP_UNSUPPORTED:
            raise problem from None
        if not await _turned_round(session, target, path):
            raise problem from None
        return await _as_link(session, target, path, session.start_lstat(path), target)
    if not doubtful:
        leads_to = await value_or_none(read)
        await _compare(session, target, path, leads_to)
        return await _as_link(session, target, path, seen, leads_to)
    there = await value_or_none(seen)
    assert read is not None
    stray = session.start_readlink(target)
    leads_to, comes_from = await value_or_none(read), await value_or_none(stray)
    ours = leads_to is not None and _same(leads_to, target, path)
    if ours:
        session.traits.seen([ORDER])
    if ours or comes_from != path:
        await _compare(session, target, path, leads_to)
        return await _as_link(session, target, path, seen, leads_to)
    await session.start_remove(target).wait()
    session.traits.contradict(ORDER, "a link was made at what it was to lead to")
    if there is not None:
        raise error(errno.EEXIST)
    return await make_symlink(session, target, path)


def _read_where_doubtful(session: Session, path: bytes) -> Slot[bytes] | None:
    """What the link at ``path`` leads to, asked where that may be another target than it was given, or LSTAT
    does not show a link."""
    traits = session.traits
    certain = traits.sure(TARGETS) and not traits.doubtful(ORDER) and traits.known.answers_lstat
    return None if certain else session.start_readlink(path)


def _same(leads_to: bytes, target: bytes, path: bytes) -> bool:
    """Whether a link at ``path``, reported to lead to ``leads_to``, leads to ``target``: for a relative
    target ProFTPD reports where it ends up."""
    return leads_to in (target, os.path.normpath(os.path.join(os.path.dirname(path), target)))


async def _compare(session: Session, target: bytes, path: bytes, leads_to: bytes | None) -> None:
    """The link at ``path`` must lead to ``target``. One that leads elsewhere is removed, and that is
    EPERM."""
    if leads_to is None:  # it does not tell
        return
    if _same(leads_to, target, path):
        if leads_to == target and not target.startswith(b"/"):
            session.traits.seen([TARGETS])
        return
    await session.start_remove(path).wait()
    session.traits.contradict(TARGETS, "a link was made to another target than it was to lead to")
    raise error(errno.EPERM, "the server makes no link to this target")


async def _as_link(
    session: Session, target: bytes, path: bytes, seen: Slot[Attributes], leads_to: bytes | None
) -> Attributes:
    """What LSTAT reported of the new link; the attributes of a link if LSTAT followed it and READLINK shows
    that it exists."""
    found: Attributes | None = None
    with suppress(StatusError):  # it leads nowhere, for LSTAT that follows it
        found = await new_seen(session, path, seen)
    if found is not None and stat.S_ISLNK(found.mode):
        return found
    if leads_to is None:
        leads_to = await value_or_none(session.start_readlink(path))
    if leads_to is None or not _same(leads_to, target, path):
        return await seen.wait()
    if found is not None and session.traits.known.answers_lstat:
        for trait in ("answers_lstat", "renames_links"):  # as ProFTPD's RENAME
            session.traits.contradict(trait, "LSTAT told what a link leads to")
    return as_a_link(target)


async def _turned_round(session: Session, target: bytes, path: bytes) -> bool:
    """SYMLINK the draft's way, after it failed OpenSSH's: whether that made the link. As ``_compare``."""
    made = session.start_symlink(path, target)
    ours, stray = session.start_readlink(path), session.start_readlink(target)
    try:
        await made.wait()
    except StatusError:
        return False
    leads_to, comes_from = await value_or_none(ours), await value_or_none(stray)
    if comes_from == path and not (leads_to is not None and _same(leads_to, target, path)):
        await session.start_remove(target).wait()
        return False
    if leads_to is None:
        return False
    session.traits.contradict(ORDER, "a link was made only with its path first")
    await _compare(session, target, path, leads_to)
    return True
