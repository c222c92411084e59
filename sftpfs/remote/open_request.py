"""How an OPEN is worded for a server that may not take all it can say, or does not do what it says.

Used by ``remote.opening`` only. What the server is known not to take is left out (``as_taken``). Where it
is not known, an OPEN it refused without a reason that can be seen is tried in plainer words, and what was
refused with them is contradicted (``sftpfs.server_traits``); what it took once is not doubted again.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from typing import NamedTuple

from sftpfs.errors import StatusError, error
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.flags import protocol_flags
from sftpfs.remote.waiting import opened, value_or_none
from sftpfs.server_traits import Traits
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

UNEXPLAINED = frozenset({errno.EIO, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP})
"""Errnos that may be for the words of a request. All others were seen to be for the file."""


EXCLUSIVE = "honours_exclusive"


class Wanted(NamedTuple):
    """What is asked of the server."""

    flags: OpenFlags
    mode: int | None
    """The permission bits of a file that is made; None: the server's own choice, corrected later."""


def as_taken(known: Traits, wanted: Wanted) -> Wanted:
    """``wanted`` without what the server is known not to take. The caller makes up for it: a name that is
    to be new is looked at first, appends are put at the end that is told, reads go by a handle of their own.
    """
    flags, mode = wanted
    if not known.takes_exclusive:
        flags &= ~OpenFlags.EXCLUSIVE
    if not known.appends:
        flags &= ~OpenFlags.APPEND
    if not known.reads_and_writes and OpenFlags.WRITE in flags:
        flags &= ~OpenFlags.READ
    return Wanted(flags, mode if known.creates_with_a_mode else None)


def relied_on(wanted: Wanted) -> list[str]:
    """The traits a server has that takes ``wanted``."""
    used = {
        "takes_exclusive": OpenFlags.EXCLUSIVE in wanted.flags,
        "creates_with_a_mode": wanted.mode is not None,
        "appends": OpenFlags.APPEND in wanted.flags,
    }
    return [trait for trait, in_use in used.items() if in_use]


def shown_by(wanted: Wanted) -> list[str]:
    """The traits a server has shown that took ``wanted``. To append to a new file shows nothing: ProFTPD
    takes that, and refuses it for a file that is there."""
    new = OpenFlags.EXCLUSIVE in wanted.flags
    return [trait for trait in relied_on(wanted) if not (new and trait == "appends")]


def plainer(wanted: Wanted, doubted: list[str]) -> Iterator[tuple[list[str], Wanted]]:
    """What may be taken in place of ``wanted``: without what one of the traits ``doubted`` stands for, each
    alone, then without all."""
    alone = [[trait] for trait in doubted]
    for missing in [*alone, doubted] if len(doubted) > 1 else alone:
        lacking = Traits(reads_and_writes=True, **dict.fromkeys(missing, False))
        yield missing, as_taken(lacking, wanted)


async def look_first(session: Session, path: bytes) -> None:
    """Nothing has the name yet. Raises EEXIST where something has."""
    try:
        await session.start_lstat(path).wait()
    except StatusError as refused:
        if refused.errno == errno.ENOENT:
            return
        raise
    raise error(errno.EEXIST)


async def learn_exclusive(session: Session, path: bytes, mode: int) -> None:
    """Whether EXCL is honoured, found out by what was just made at ``path``, has that name, is empty and is
    open: once in the life of a mount, and three waits. To make it anew with EXCL must be refused, and to open
    it without must not be: then the refusal was not for there being a handle already."""
    traits = session.traits
    if not traits.may_be_tried(EXCLUSIVE) or traits.known.one_at_a_time or not traits.known.writes_anywhere:
        return
    new = protocol_flags(OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE)
    try:
        handle = await opened(session, session.start_open(path, new, mode))
    except StatusError:
        again = protocol_flags(OpenFlags.WRITE)
        try:
            handle = await opened(session, session.start_open(path, again))
        except StatusError:
            return
        traits.prove(EXCLUSIVE)
    else:
        traits.contradict(EXCLUSIVE, "a file that had just been made was made once more")
    await session.start_close(handle).wait()


async def size_before(session: Session, path: bytes, flags: OpenFlags) -> int:
    """The bytes of a file that is to be opened to write in what it has, where the server is not known to
    keep them; else 0. Raises EOPNOTSUPP where it is known not to. One wait until it was seen to keep them."""
    traits = session.traits
    in_part = OpenFlags.WRITE in flags and not flags & (OpenFlags.TRUNCATE | OpenFlags.EXCLUSIVE)
    if not in_part or (traits.known.writes_anywhere and not traits.doubtful("writes_anywhere")):
        return 0
    there = await value_or_none(session.start_lstat(path))
    if there is None or not there.size or not stat.S_ISREG(there.mode):
        return 0
    if not traits.known.writes_anywhere:
        raise error(errno.EOPNOTSUPP, "this server takes whole new files only")
    return there.size


def keeps_what_is_there(session: Session, before: int, now: Attributes) -> None:
    """A file of ``before`` bytes was opened to write in what it has, and is ``now`` as that. Raises EIO where
    the OPEN has emptied it. (Others do so as they close it: ``remote.file`` hears of that.)"""
    if before and not now.size:
        told = f"a file of {before:,} bytes was opened to be written in part, and the server emptied it"
        session.traits.contradict("writes_anywhere", told)
        raise error(errno.EIO, told)


async def in_plainer_words(
    session: Session, path: bytes, wanted: Wanted, problem: OSError
) -> tuple[bytes, Wanted]:
    """The handle, and what was taken, where ``wanted`` was refused. Raises ``problem``, which that is told
    as, where it was not for its words."""
    traits = session.traits
    doubted = [trait for trait in relied_on(wanted) if traits.doubtful(trait)]
    if not doubted or problem.errno not in UNEXPLAINED:
        raise problem
    if OpenFlags.EXCLUSIVE in wanted.flags:
        await look_first(session, path)
    for missing, words in plainer(wanted, doubted):
        try:
            handle = await opened(session, session.start_open(path, protocol_flags(words.flags), words.mode))
        except StatusError:
            continue
        for trait in missing:
            traits.contradict(trait, f"an OPEN was refused ({problem.strerror}) and taken without it")
        traits.seen(shown_by(words))
        return handle, words
    raise problem
