"""Fetching a small file whole, before anybody opened it. Used by ``remote.server`` only."""

from __future__ import annotations

import stat

from sftpfs.errors import StatusError
from sftpfs.remote.waiting import opened
from sftpfs.sftp.session import Session
from sftpfs.types import Buffer, WholeFile

OPEN_READ = 0x01
"""SSH_FXF_READ (draft-ietf-secsh-filexfer-02 §6.3)."""


LARGEST_READ = 128 << 10
"""Bytes of one READ: what readers ask for too, and within the limit of every server that tells one."""


async def fetch_whole(session: Session, path: bytes, size: int, most: int) -> WholeFile | None:
    """``size`` bytes of the file at ``path``, in requests of at most ``most`` bytes; None where FSTAT
    tells another size or type, or a read brought less than it was asked for. Raises StatusError and
    SessionLostError."""
    handle = await opened(session, session.start_open(path, OPEN_READ))
    told = session.start_fstat(handle)
    limit = min(most, LARGEST_READ)
    reads = [
        (start, session.start_read(handle, start, min(limit, size - start)))
        for start in range(0, size, limit)
    ]
    session.start_close(handle)
    pieces: list[Buffer] = []
    problem: StatusError | None = None
    for start, slot in reads:
        try:
            piece = await slot.wait()
        except StatusError as refused:
            problem = refused
            continue
        if piece is not None and len(piece) == min(limit, size - start):
            pieces.append(piece)
    attributes = await told.wait()
    if problem is not None:
        raise problem
    if not stat.S_ISREG(attributes.mode) or attributes.size != size or len(pieces) != len(reads):
        return None
    return WholeFile(attributes, pieces[0] if len(pieces) == 1 else b"".join(pieces))
