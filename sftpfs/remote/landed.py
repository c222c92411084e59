"""Appends whose answers were lost: which of them the server carried out.

SFTP cannot be asked; the file can. Its size tells how much was appended since the last answer,
what is there whether that was ours: another client may have appended just as much. Used by
``remote.reopening`` only.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
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


def without_landed(waiting: Sequence[Queued], landed: int, tail: bytes | None) -> deque[Queued]:
    """``waiting`` without what was appended though its answer was lost.

    The file is ``landed`` bytes longer than what was acknowledged, ``tail`` is what these are. One
    session's requests are carried out in order, so these bytes are the first of what was sent; where
    they are not, or do not end with one of them, somebody else appended as well and it cannot be told:
    EIO rather than the same bytes twice, or not at all.
    """
    sent = sent_of(waiting)
    done: list[WritePiece] = []
    left = landed
    for piece in sent:
        if left < piece.length:
            break
        left -= piece.length
        done.append(piece)
    rest = deque(request for request in waiting if request not in sent)
    if left or (done and b"".join(piece.data for piece in done) != tail):
        for piece in sent:
            piece.give_up(error(errno.EIO, "it cannot be told whether bytes were appended before the loss"))
        return rest
    for piece in done:
        piece.landed()
    return deque(request for request in waiting if request not in done)
