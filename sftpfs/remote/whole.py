"""Fetching a small file whole: before anybody opened it, or as it is opened.

Used by ``remote.server`` and ``remote.opening`` only.
"""

from __future__ import annotations

import stat

from sftpfs.errors import StatusError
from sftpfs.remote.telling import start_telling
from sftpfs.remote.waiting import opened
from sftpfs.sftp.session import Session
from sftpfs.types import Buffer, WholeFile

OPEN_READ = 0x01
"""SSH_FXF_READ (draft-ietf-secsh-filexfer-02 §6.3)."""


LARGEST_READ = 128 << 10
"""Bytes of one READ: what readers ask for too, and within the limit of every server that tells one."""


class WholeRead:
    """FSTAT and READs of all ``size`` bytes of a file by ``handle``, on their way together."""

    __slots__ = ("_limit", "_reads", "_size", "told")

    def __init__(self, session: Session, handle: bytes, path: bytes, size: int, most: int) -> None:
        """In requests of at most ``most`` bytes."""
        self._size = size
        self._limit = min(most, LARGEST_READ)
        self.told = start_telling(session, handle, path)
        self._reads = [
            (start, session.start_read(handle, start, min(self._limit, size - start)))
            for start in range(0, size, self._limit)
        ]

    async def answer(self) -> WholeFile | None:
        """The file; None where FSTAT tells another size or type, or a read brought less than it was asked
        for. Raises StatusError and SessionLostError."""
        pieces: list[Buffer] = []
        problem: StatusError | None = None
        for start, slot in self._reads:
            try:
                piece = await slot.wait()
            except StatusError as refused:
                problem = refused
                continue
            if piece is not None and len(piece) == min(self._limit, self._size - start):
                pieces.append(piece)
        attributes = await self.told.wait()
        if problem is not None:
            raise problem
        whole = len(pieces) == len(self._reads)
        if not stat.S_ISREG(attributes.mode) or attributes.size != self._size or not whole:
            return None
        return WholeFile(attributes, pieces[0] if len(pieces) == 1 else b"".join(pieces))


async def fetch_whole(session: Session, path: bytes, size: int, most: int) -> WholeFile | None:
    """``size`` bytes of the file at ``path``, in requests of at most ``most`` bytes; as ``WholeRead.answer``.

    One wait where the handle can be told before, else two.
    """
    forecast = session.handles.next()
    opening = session.start_open(path, OPEN_READ)
    asked = WholeRead(session, forecast, path, size, most) if forecast is not None else None
    handle = await opened(session, opening)
    if asked is None or handle != forecast:
        asked = WholeRead(session, handle, path, size, most)
    session.start_close(handle)
    return await asked.answer()
