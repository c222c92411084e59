"""Listing a directory: many READDIR in flight, everything the server says checked.

Used by ``remote.server``; ``undisturbed`` by whatever else in ``remote`` reads a directory.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StalledError, error
from sftpfs.remote.paths import valid_name
from sftpfs.remote.waiting import opened
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.session import Session
from sftpfs.types import LONGEST_NAME, NAME_MAX, DirectoryEntry

T = TypeVar("T")

FIRST_WINDOW = 4
"""READDIR requests sent at first: three replies of OpenSSH (100 names each) and the end."""

LARGEST_WINDOW = 64
"""READDIR requests in flight for a long listing: 6,400 names of OpenSSH a round trip, 700 KB."""

SLOW_WINDOW = 2
"""READDIR requests in flight where replies are slow to come: other requests are not to wait for many."""

PROMPT = 0.5
"""Seconds a reply may take for more to be asked for at once."""

ENTRY_BYTES = 640
"""Memory a name takes here until its directory was told to the kernel, in bytes, without the name itself."""

MOST_BYTES = 1 << 30
"""Memory one listing may take, in bytes: 1.6 million names as long as they mostly are."""

MOST_BARREN_REPLIES = 64
"""A server that goes on past these, more names than there is memory for or many replies without a new one,
will not come to an end: EIO."""


class _Names:
    """What a listing has brought so far."""

    def __init__(self, traits: ServerTraits) -> None:
        self.entries: dict[bytes, DirectoryEntry] = {}
        self._traits = traits
        self._barren = self._bytes = 0

    def add(self, reply: list[DirectoryEntry]) -> None:
        """Take the valid names of a reply; a name that comes again is the same file."""
        before = len(self.entries)
        for entry in reply:
            name = entry.name
            if valid_name(name) and len(name) <= LONGEST_NAME:
                if len(name) > NAME_MAX:
                    self._traits.contradict("keeps_names_short", f"a name of {len(name)} bytes")
                self.entries[name] = entry
                self._bytes += ENTRY_BYTES + len(name)
        self._barren = 0 if len(self.entries) > before else self._barren + 1
        if self._barren > MOST_BARREN_REPLIES or self._bytes > MOST_BYTES:
            self.entries.clear()  # the error's traceback holds them until the garbage collector comes
            raise error(errno.EIO, "the server's listing does not end")


async def undisturbed(session: Session, look: Callable[[], Awaitable[T]]) -> T:
    """What ``look``, which opens a directory and reads it, finds. Raises what it raises.

    Again where the server was meanwhile found to give other handles than were told before: READDIRs
    meant for others may have taken some of the names.
    """
    while True:
        expected = not session.handles.broken
        found = await look()
        if not (session.handles.broken and expected):
            return found


async def list_entries(session: Session, path: bytes) -> list[DirectoryEntry]:
    """All entries of a directory but ``.`` and ``..``. Raises StatusError, SessionLostError, EIO.

    The first READDIRs go with the OPENDIR where its handle can be told before.
    """
    return await undisturbed(session, partial(_list, session, path))


async def _list(session: Session, path: bytes) -> list[DirectoryEntry]:
    forecast = session.handles.next()
    opening = session.start_opendir(path)
    window = FIRST_WINDOW
    flying: deque[Slot[list[DirectoryEntry] | None]] = deque()
    if forecast is not None:
        flying.extend([session.start_readdir(forecast) for _ in range(window)])
    handle = await opened(session, opening)
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
            # All that came is looked at before more is asked for: it may be the end.
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
