"""Listing a directory: many READDIR in flight, everything the server says checked.

Used by ``remote.client``.
"""

from __future__ import annotations

import errno
from collections import deque
from functools import partial

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StalledError, error
from sftpfs.remote.slots import handle_or_close, retry_after_misprediction
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.session import Session
from sftpfs.types import NAME_MAX, DirectoryEntry

FIRST_WINDOW = 4
"""READDIR requests sent at first: three replies of OpenSSH (100 names each) and the end."""

LARGEST_WINDOW = 64
"""READDIR requests in flight for a long listing: 6,400 names of OpenSSH a round trip, 700 KB."""

SLOW_WINDOW = 2
"""READDIR requests in flight if replies come slowly, so that other requests do not wait for many."""

PROMPT = 0.5
"""Seconds a reply may take for more to be asked for at once."""

ENTRY_BYTES = 640
"""Memory a name takes here until its directory was told to the kernel, in bytes, without the name itself."""

MOST_BYTES = 1 << 30
"""Memory one listing may take, in bytes: 1.6 million names as long as they mostly are."""

MOST_BARREN_REPLIES = 64
"""A server that goes on past these limits, with more names than there is memory for or many replies without a
new one, will not come to an end: EIO."""


class _Names:
    """What a listing has brought so far."""

    def __init__(self, traits: ServerTraits) -> None:
        self.entries: dict[bytes, DirectoryEntry] = {}
        self._traits = traits
        self._barren = self._bytes = 0

    def add(self, reply: list[DirectoryEntry]) -> None:
        """Take the names of a reply; a name that comes again is the same file."""
        before = len(self.entries)
        came = {entry[0]: entry for entry in reply}
        longest = max(map(len, came), default=0)
        if longest > NAME_MAX:
            self._traits.contradict("keeps_names_short", f"a name of {longest} bytes")
        self.entries.update(came)
        self._bytes += ENTRY_BYTES * len(reply) + sum(map(len, came))
        self._barren = 0 if len(self.entries) > before else self._barren + 1
        if self._barren > MOST_BARREN_REPLIES or self._bytes > MOST_BYTES:
            self.entries.clear()  # the error's traceback holds them until the garbage collector comes
            raise error(errno.EIO, "the server's listing does not end")


async def list_entries(session: Session, path: bytes) -> list[DirectoryEntry]:
    """All entries of a directory except ``.`` and ``..``. Raises StatusError, SessionLostError, EIO.

    The first READDIRs go with the OPENDIR if its handle can be predicted.
    """
    return await retry_after_misprediction(session, partial(_list, session, path))


async def _list(session: Session, path: bytes) -> list[DirectoryEntry]:
    forecast = session.handles.predict()
    opening = session.start_opendir(path)
    window = FIRST_WINDOW
    flying: deque[Slot[list[DirectoryEntry] | None]] = deque()
    if forecast is not None:
        flying.extend([session.start_readdir(forecast) for _ in range(window)])
    handle = await handle_or_close(session, opening)
    if handle != forecast:
        flying.clear()
    names = _Names(session.traits)
    try:
        while True:
            while len(flying) < window:
                flying.append(session.start_readdir(handle))
            waited = clock.awake()
            await flying[0].wait()
            prompt = clock.awake() - waited < PROMPT
            # Everything that came is looked at before more is asked for, because it may be the end.
            while flying and flying[0].done:
                reply = flying.popleft().result()
                if reply is None:
                    return list(names.entries.values())
                names.add(reply)
                window = min(window + 1, LARGEST_WINDOW) if prompt else SLOW_WINDOW
    except SessionLostError as failure:
        if not isinstance(failure, StalledError):
            handle = b""
        raise
    finally:
        if handle:
            session.start_close(handle)
