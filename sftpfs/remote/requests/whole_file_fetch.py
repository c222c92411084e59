"""Fetches a small file whole: before anybody opened it, or as it is opened.

Used by ``remote.client`` and ``remote.operations.open_file`` only.
"""

from __future__ import annotations

import stat

from sftpfs.errors import StatusError
from sftpfs.remote.requests.stat_request import start_stat_open
from sftpfs.remote.slots import handle_or_close
from sftpfs.sftp.session import Session
from sftpfs.types import Buffer, OpenFlags, WholeFile

LARGEST_READ = 128 << 10
"""Bytes of one READ: what readers ask for too, and within the limit of every server that tells one."""


class WholeFileRead:
    """FSTAT and READs of all ``size`` bytes of a file by ``handle``, on their way together."""

    __slots__ = ("_limit", "_reads", "_size", "fstat")

    def __init__(self, session: Session, handle: bytes, path: bytes, size: int, most: int) -> None:
        """In requests of at most ``most`` bytes."""
        self._size = size
        self._limit = min(most, LARGEST_READ)
        self.fstat = start_stat_open(session, handle, path)
        self._reads = [
            (start, session.start_read(handle, start, min(self._limit, size - start)))
            for start in range(0, size, self._limit)
        ]

    async def result(self) -> WholeFile | None:
        """The file; None if FSTAT reports another size or type, or a read brought less than it was asked for.
        Raises StatusError and SessionLostError."""
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
        attributes = await self.fstat.wait()
        if problem is not None:
            raise problem
        whole = len(pieces) == len(self._reads)
        if not stat.S_ISREG(attributes.mode) or attributes.size != self._size or not whole:
            return None
        return WholeFile(attributes, pieces[0] if len(pieces) == 1 else b"".join(pieces))


async def fetch_whole(session: Session, path: bytes, size: int, most: int) -> WholeFile | None:
    """``size`` bytes of the file at ``path``, in requests of at most ``most`` bytes.

    As ``WholeFileRead.result``. One wait if the handle can be predicted, otherwise two.
    """
    forecast = session.handles.predict()
    opening = session.start_open(path, OpenFlags.READ)
    asked = WholeFileRead(session, forecast, path, size, most) if forecast is not None else None
    handle = await handle_or_close(session, opening)
    if asked is None or handle != forecast:
        asked = WholeFileRead(session, handle, path, size, most)
    session.start_close(handle)
    return await asked.result()
