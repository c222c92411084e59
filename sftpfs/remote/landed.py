"""Appends whose answers were lost: which of them the server carried out.

SFTP cannot be asked; the file can. Its size tells how much was appended since the last answer,
what is there whether that was ours: another client may have appended, too. Where it did, the file is known
by our own last bytes, and each write by whether its bytes are among those behind them. Used by
``remote.reopening`` only.
"""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from sftpfs.errors import StatusError, error
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.call import Follower
from sftpfs.remote.connection import Connection
from sftpfs.remote.flags import protocol_flags
from sftpfs.remote.room import Room
from sftpfs.remote.sizes import SAFE
from sftpfs.remote.waiting import opened, value_or_none
from sftpfs.remote.writes import WritePiece
from sftpfs.sftp.session import Session
from sftpfs.types import Buffer

LEAST_TELLING = 8
"""Bytes that two clients do not write by chance: shorter ones are taken for nobody's."""

MOST_READ = 1 << 20
"""Bytes looked through for what is ours: what others wrote in a long outage to a busy log is less."""

Queued = WritePiece | Follower[Any]


def sent_of(waiting: Iterable[Queued]) -> list[WritePiece]:
    """The writes among ``waiting`` that were under way as their session was lost."""
    return [piece for piece in waiting if isinstance(piece, WritePiece) and piece.sent]


async def tail_of(connection: Connection, room: Room, path: bytes, start: int, end: int) -> bytes | None:
    """The bytes [start, end) of the file at ``path``; None where the server does not give them. The handle
    to append with may not read, so this takes one of its own. Raises SessionLostError."""
    session = connection.session
    if end <= start:
        return b""
    if session.one_at_a_time:
        return None  # the file itself is open
    try:
        handle = await room.use(connection, partial(_open, session, path))
    except StatusError:
        return None
    reads = [
        (size, session.start_read(handle, at, size))
        for at in range(start, end, SAFE)
        for size in (min(SAFE, end - at),)
    ]
    session.start_close(handle)
    pieces: list[Buffer] = []
    for size, slot in reads:
        piece = await value_or_none(slot)
        if piece is None or len(piece) != size:
            return None
        pieces.append(piece)
    return b"".join(pieces)


async def _open(session: Session, path: bytes) -> bytes:
    return await opened(session, session.start_open(path, protocol_flags(OpenFlags.READ), None))


def behind_ours(found: bytes, last: bytes) -> bytes | None:
    """What stands in ``found``, the end of a file, behind the ``last`` bytes we appended; None where these
    are not there, so that it is another file, or too few to tell."""
    at = found.rfind(last) if len(last) >= LEAST_TELLING else -1
    return None if at < 0 else found[at + len(last) :]


def without_landed(waiting: Sequence[Queued], behind: bytes | None) -> deque[Queued]:
    """``waiting`` without what was appended though its answer was lost.

    ``behind`` is what the file has behind what was acknowledged, None where that is not known. One session's
    requests are carried out in order, so these bytes are the first of what was sent; where somebody else
    appended as well, they are among them. Where it cannot be told: EIO rather than the same bytes twice,
    or not at all.
    """
    sent = sent_of(waiting)
    done = None if behind is None else _landed(sent, behind)
    if done is None:
        for piece in sent:
            piece.give_up(error(errno.EIO, "it cannot be told whether bytes were appended before the loss"))
        return deque(request for request in waiting if request not in sent)
    for piece in sent[:done]:
        piece.landed()
    return deque(request for request in waiting if request not in sent[:done])


def _landed(sent: list[WritePiece], behind: bytes) -> int | None:
    """How many of ``sent`` are in ``behind``, None where that cannot be told."""
    exact = bisect_left(list(accumulate(piece.length for piece in sent)), len(behind)) + bool(behind)
    if b"".join(piece.data for piece in sent[:exact]) == behind:
        return exact
    if any(piece.length < LEAST_TELLING for piece in sent):
        return None
    at = 0
    for count, piece in enumerate(sent):
        at = behind.find(piece.data, at)
        if at < 0:
            return count
        at += piece.length
    return len(sent)
