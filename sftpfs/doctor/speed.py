"""Measures one SFTP session: the round trip, and how fast content goes each way."""

from __future__ import annotations

import os
from collections import deque

import trio

from sftpfs.aio import Slot
from sftpfs.sftp.session import Session
from sftpfs.types import OpenFlags

LOOKS = 10
"""Round trips measured. The shortest counts, because the others waited for something else as well."""

DURATION = 2.0
"""Seconds each way at most."""

MOST = 32 << 20
"""Bytes each way at most."""

WINDOW = 4 << 20
"""Bytes asked for ahead: two of OpenSSH's windows."""


async def round_trip(session: Session, path: bytes) -> float:
    """Seconds, the least of some."""
    least = float("inf")
    for _ in range(LOOKS):
        begin = trio.current_time()
        await session.start_lstat(path).wait()
        least = min(least, trio.current_time() - begin)
    return least


async def write(session: Session, handle: bytes) -> float:
    """Bytes a second written to a new file. What is sent cannot be compressed. Raises StatusError."""
    size = session.capabilities.limits.write_size
    block = os.urandom(size)
    begin = trio.current_time()
    under_way: deque[Slot[None]] = deque()
    offset = 0
    while offset < MOST and trio.current_time() - begin < DURATION:
        under_way.append(session.start_write(handle, offset, block))
        offset += size
        while len(under_way) * size >= WINDOW:
            await under_way.popleft().wait()
    while under_way:
        await under_way.popleft().wait()
    return offset / (trio.current_time() - begin)


async def read(session: Session, path: bytes) -> float:
    """Bytes a second read of that file. Raises StatusError."""
    size = session.capabilities.limits.read_size
    handle = await session.start_open(path, OpenFlags.READ).wait()
    begin = trio.current_time()
    try:
        length = (await session.start_fstat(handle).wait()).size
        offsets = iter(range(0, length, size))
        under_way = deque(
            session.start_read(handle, at, size) for at, _ in zip(offsets, range(16), strict=False)
        )
        received = 0
        while under_way:
            data = await under_way.popleft().wait()
            received += len(data) if data is not None else 0
            following = next(offsets, None)
            if following is not None and trio.current_time() - begin < DURATION:
                under_way.append(session.start_read(handle, following, size))
        return received / (trio.current_time() - begin)
    finally:
        session.start_close(handle)
