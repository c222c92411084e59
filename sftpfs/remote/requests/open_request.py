"""How an OPEN is worded for a server that may not take everything it can say, or does not do what it says.

Used by ``remote.operations.open_file`` only. What the server is known not to take is left out (``as_taken``).
If that is not known, an OPEN that it refused without a visible reason is tried in plainer words, and the
trait of what was refused is contradicted (``sftpfs.server_traits``). What the server took once is not doubted
again.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError, error
from sftpfs.remote.slots import handle_or_close, value_or_none
from sftpfs.server_traits import Traits
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes, OpenFlags

UNEXPLAINED = frozenset({errno.EIO, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP})
"""Errnos that may be caused by the words of a request. All others were seen to be caused by the file."""


EXCLUSIVE = "honours_exclusive"


class Wanted(NamedTuple):
    """What is asked of the server."""

    flags: OpenFlags
    mode: int | None
    """The permission bits of a file that is made; None: the server's own choice, corrected later."""


def in_part(flags: OpenFlags) -> bool:
    """Whether an existing file is to be written within its content."""
    whole = OpenFlags.CREATE | OpenFlags.TRUNCATE | OpenFlags.EXCLUSIVE | OpenFlags.APPEND
    return OpenFlags.WRITE in flags and not flags & whole


def granted(known: Traits, flags: OpenFlags, asked: OpenFlags | None = None) -> OpenFlags:
    """What a handle that was opened with ``flags`` is used for, where it was ``asked`` for."""
    if asked is not None and OpenFlags.CREATE not in asked:
        flags &= ~OpenFlags.CREATE  # it was there
    return flags if known.reads_and_writes or OpenFlags.WRITE not in flags else flags & ~OpenFlags.READ


def as_taken(known: Traits, wanted: Wanted) -> Wanted:
    """``wanted`` without what the server is known not to take. The caller makes up for it: it looks first at
    a name that must be new, puts appends at the reported end, and reads by a separate handle.

    A file that is written in part is also opened to be read, and not read, because some servers empty a file
    that is opened only to be written (Erlang's file:open).
    """
    flags, mode = wanted
    if not known.takes_exclusive:
        flags &= ~OpenFlags.EXCLUSIVE
    if not known.appends:
        flags &= ~OpenFlags.APPEND
    if not known.reads_and_writes and OpenFlags.WRITE in flags:
        flags = flags | OpenFlags.READ if in_part(flags) else flags & ~OpenFlags.READ
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
    """The traits that a server has shown by taking ``wanted``. Appending to a new file shows nothing: ProFTPD
    takes that, and refuses it for an existing file."""
    new = OpenFlags.EXCLUSIVE in wanted.flags
    return [trait for trait in relied_on(wanted) if not (new and trait == "appends")]


def plainer(known: Traits, wanted: Wanted, doubted: list[str]) -> Iterator[tuple[list[str], Wanted]]:
    """What may be taken in place of ``wanted``: without what one of the traits ``doubted`` stands for, each
    alone, then without all."""
    alone = [[trait] for trait in doubted]
    for missing in [*alone, doubted] if len(doubted) > 1 else alone:
        lacking = replace(known, **dict.fromkeys(missing, False))
        yield missing, as_taken(lacking, wanted)


async def look_first(session: Session, path: bytes) -> None:
    """Checks that nothing has the name yet. Raises EEXIST if something has it."""
    try:
        await session.start_lstat(path).wait()
    except StatusError as refused:
        if refused.errno == errno.ENOENT:
            return
        raise
    raise error(errno.EEXIST)


async def learn_exclusive(session: Session, path: bytes, mode: int) -> None:
    """Whether EXCL is honoured, found out with what was just made at ``path``, has that name, is empty and is
    open. Done once in the life of a mount; three waits. Making it anew with EXCL must be refused, and opening
    it without must not be: then the refusal was not caused by the open handle. Not used for a file that was
    made to append to it: if only such files have their name at once, CLOSE would put what was made anew in
    its place.
    """
    traits = session.traits
    if not traits.may_be_tried(EXCLUSIVE) or traits.known.one_at_a_time or not traits.known.writes_anywhere:
        return
    new = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
    try:
        handle = await handle_or_close(session, session.start_open(path, new, mode))
    except StatusError:
        try:
            handle = await handle_or_close(session, session.start_open(path, OpenFlags.WRITE))
        except StatusError:
            return
        traits.prove(EXCLUSIVE)
    else:
        traits.contradict(EXCLUSIVE, "a file that had just been made was made once more")
    await session.start_close(handle).wait()


async def open_in_part(session: Session, path: bytes, flags: OpenFlags) -> bytes:
    """A handle of a file that is there, to be written in part or emptied. Raises StatusError."""
    words, mode = as_taken(session.traits.known, await as_new(session, path, Wanted(flags, None)))
    try:
        return await handle_or_close(session, session.start_open(path, words, mode))
    except StatusError as refused:
        alone = granted(session.traits.known, words)
        if alone == words or refused.errno not in UNEXPLAINED:
            raise
    return await handle_or_close(session, session.start_open(path, alone))


async def as_new(session: Session, path: bytes, wanted: Wanted) -> Wanted:
    """``wanted`` of a file that is there, has no bytes to be kept, and is opened only by being created."""
    made = OpenFlags.CREATE | OpenFlags.EXCLUSIVE | OpenFlags.APPEND
    opens = session.traits.known.opens_what_is_there
    if opens or OpenFlags.WRITE not in wanted.flags or wanted.flags & made:
        return wanted
    there = await value_or_none(session.start_lstat(path))
    if there is None or not stat.S_ISREG(there.mode):
        return wanted
    return Wanted(wanted.flags | OpenFlags.CREATE | OpenFlags.TRUNCATE, stat.S_IMODE(there.mode))


async def opens_none_that_is_there(
    session: Session, path: bytes, wanted: Wanted, failed: StatusError
) -> bool:
    """Whether ``wanted`` ``failed`` because CREAT was missing: nothing was found twice, and LSTAT finds a
    file."""
    made = OpenFlags.CREATE | OpenFlags.EXCLUSIVE | OpenFlags.APPEND
    doubtful = session.traits.doubtful("opens_what_is_there") and failed.status == Status.NO_SUCH_FILE
    if not doubtful or OpenFlags.WRITE not in wanted.flags or wanted.flags & made:
        return False
    looks = [session.start_lstat(path)]
    try:
        handle = await handle_or_close(session, session.start_open(path, wanted.flags))
    except StatusError as again:
        if again.status != Status.NO_SUCH_FILE:
            return False
    else:
        session.start_close(handle)
        return False
    looks.append(session.start_lstat(path))
    for look in looks:
        there = await value_or_none(look)
        if there is None or not stat.S_ISREG(there.mode):
            return False
    session.traits.contradict("opens_what_is_there", "an OPEN to write found no file where LSTAT does")
    return True


async def size_before(session: Session, path: bytes, flags: OpenFlags) -> int:
    """The bytes of a file that will be opened to write within its content, if the server is not known to keep
    them; otherwise 0. Raises EOPNOTSUPP if it is known not to. One wait until it was seen to keep them."""
    traits = session.traits
    kept, known = in_part(flags & ~OpenFlags.APPEND), traits.known
    whole = not known.writes_anywhere or (in_part(flags) and not known.opens_what_is_there)
    if not kept or not (whole or traits.doubtful("writes_anywhere")):
        return 0
    before = await reported_size(session.start_lstat(path))
    if before and whole:
        raise error(errno.EOPNOTSUPP, "this server takes whole new files only")
    return before


async def reported_size(there: Slot[Attributes]) -> int:
    """The bytes of what is there; 0 where that is no file."""
    seen = await value_or_none(there)
    return seen.size if seen is not None and stat.S_ISREG(seen.mode) else 0


def keeps_what_is_there(session: Session, before: int, now: Attributes) -> None:
    """A file of ``before`` bytes was opened to write within its content, and is ``now`` this. Raises EIO if
    the OPEN has emptied it. (Others do so as they close it: ``remote.files.pooled_file`` sees that.)"""
    if before and not now.size:
        seen = f"a file of {before:,} bytes was opened to be written in part, and the server emptied it"
        session.traits.contradict("writes_anywhere", seen)
        raise error(errno.EIO, seen)


async def in_plainer_words(
    session: Session, path: bytes, wanted: Wanted, problem: OSError
) -> tuple[bytes, Wanted]:
    """The handle, and what was taken, if ``wanted`` was refused. Raises ``problem``, the error of that
    refusal, if its words were not the reason."""
    traits = session.traits
    doubted = [trait for trait in relied_on(wanted) if traits.doubtful(trait)]
    alone = granted(traits.known, wanted.flags)
    if not (doubted or alone != wanted.flags) or problem.errno not in UNEXPLAINED:
        raise problem
    if OpenFlags.EXCLUSIVE in wanted.flags:
        await look_first(session, path)
    choices = plainer(traits.known, wanted, doubted) if doubted else iter([([], Wanted(alone, wanted.mode))])
    for missing, words in choices:
        try:
            handle = await handle_or_close(session, session.start_open(path, words.flags, words.mode))
        except StatusError:
            continue
        for trait in missing:
            traits.contradict(trait, f"an OPEN was refused ({problem.strerror}) and taken without it")
        traits.seen(shown_by(words))
        return handle, words
    raise problem
