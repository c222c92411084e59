"""Finds out which appends the server carried out, if their answers were lost.

SFTP cannot be asked, but the file can be read. Its size shows how much was appended since the last answer.
The bytes there show whether that was ours, because another client may have appended, too. If it did, our own
last bytes identify the file, and each write is found by whether its bytes are among those behind them. Used
by ``remote.files.reopen`` only.
"""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import accumulate

from sftpfs.errors import StatusError, error
from sftpfs.remote.handles.handle_limit import HandleLimit
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.request_sizes import SAFE
from sftpfs.remote.slots import handle_or_close, value_or_none
from sftpfs.remote.transfers.send_queue import Queued, QueuedWrite
from sftpfs.sftp.session import Session
from sftpfs.types import Buffer, OpenFlags

DISTINCT_BYTES = 8
"""Bytes that two clients do not write by chance. Shorter writes cannot be attributed."""

MOST_READ = 1 << 20
"""Bytes searched for what is ours: what others write to a busy log in a long outage is less."""


def sent_appends(waiting: Iterable[Queued]) -> list[QueuedWrite]:
    """The writes among ``waiting`` that were under way when their session was lost."""
    return [piece for piece in waiting if piece.writes and piece.sent]


async def read_tail(
    connection: Connection, handle_limit: HandleLimit, path: bytes, start: int, end: int
) -> bytes | None:
    """The bytes [start, end) of the file at ``path``; None if the server does not give them. The handle to
    append with may not read, so this uses its own handle. Raises SessionLostError."""
    session = connection.session
    if end <= start:
        return b""
    if session.one_at_a_time:
        return None  # the file itself is open
    try:
        handle = await handle_limit.run_with_handle(connection, partial(_open, session, path))
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
    return await handle_or_close(session, session.start_open(path, OpenFlags.READ, None))


def behind_ours(found: bytes, last: bytes) -> bytes | None:
    """The bytes of ``found``, the end of a file, behind the ``last`` bytes that we appended; None if these
    are not there, so that it is another file, or are too few to tell."""
    at = found.rfind(last) if len(last) >= DISTINCT_BYTES else -1
    return None if at < 0 else found[at + len(last) :]


def drop_completed(waiting: Sequence[Queued], behind: bytes | None) -> deque[Queued]:
    """``waiting`` without what was appended although its answer was lost.

    ``behind`` is what the file has behind what was acknowledged, None if that is not known. One session's
    requests are carried out in order, so these bytes are the first of what was sent; if somebody else
    appended as well, they are among them. If it cannot be told: EIO, rather than the same bytes twice, or not
    at all.
    """
    sent = sent_appends(waiting)
    done = None if behind is None else _completed(sent, behind)
    if done is None:
        for piece in sent:
            piece.give_up(error(errno.EIO, "it cannot be told whether bytes were appended before the loss"))
        return deque(request for request in waiting if request not in sent)
    for piece in sent[:done]:
        piece.landed()
    return deque(request for request in waiting if request not in sent[:done])


def _completed(sent: list[QueuedWrite], behind: bytes) -> int | None:
    """How many of ``sent`` are in ``behind``; None if that cannot be told."""
    exact = bisect_left(list(accumulate(piece.length for piece in sent)), len(behind)) + bool(behind)
    if b"".join(piece.data for piece in sent[:exact]) == behind:
        return exact
    if any(piece.length < DISTINCT_BYTES for piece in sent):
        return None
    at = 0
    for count, piece in enumerate(sent):
        at = behind.find(piece.data, at)
        if at < 0:
            return count
        at += piece.length
    return len(sent)
