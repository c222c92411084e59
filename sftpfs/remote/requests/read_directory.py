"""Listing a directory: many READDIR in flight, everything the server says checked.

Used by ``remote.operations.list_directory``. A ``DirectoryReading`` has the directory open on one session,
and is read by one task; what it has brought can be taken before it ends.
"""

from __future__ import annotations

import errno
import logging
import math
from collections import deque
from collections.abc import Callable

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StalledError, error
from sftpfs.remote.slots import handle_or_close
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

log = logging.getLogger("sftpfs.remote")


class _Names:
    """What a listing has brought so far."""

    __slots__ = ("_barren", "_bytes", "_taken", "_traits", "count", "entries")

    def __init__(self, traits: ServerTraits) -> None:
        self.entries: dict[bytes, DirectoryEntry] = {}
        """Those that were not taken yet."""
        self.count = 0
        """Of all names, also those that were taken."""
        self._taken: set[bytes] | None = None
        self._traits = traits
        self._barren = self._bytes = 0

    def add(self, reply: list[DirectoryEntry]) -> None:
        """Take the names of a reply; a name that comes again is the same file. Raises EIO."""
        before = len(self.entries)
        came = {entry[0]: entry for entry in reply}
        longest = max(map(len, came), default=0)
        if longest > NAME_MAX:
            self._traits.contradict("keeps_names_short", f"a name of {longest} bytes")
        if self._taken is not None:
            for name in self._taken.intersection(came):
                del came[name]
        self.entries.update(came)
        self._bytes += ENTRY_BYTES * len(reply) + sum(map(len, came))
        new = len(self.entries) - before
        self.count += new
        self._barren = 0 if new else self._barren + 1
        if self._barren > MOST_BARREN_REPLIES:
            self._give_up(f"{MOST_BARREN_REPLIES} replies had no new name")
        if self._bytes > MOST_BYTES:
            self._give_up(f"there is no memory for more than {MOST_BYTES >> 20} MiB of names")

    def take(self, *, last: bool) -> list[DirectoryEntry]:
        """Those that were not taken yet, which are only known by name from now on; if these are the ``last``,
        not even so."""
        entries = list(self.entries.values())
        if last:
            self._taken = None
        elif self._taken is None:
            self._taken = set(self.entries)
        else:
            self._taken.update(self.entries)
        self.entries = {}
        return entries

    def _give_up(self, why: str) -> None:
        self.entries.clear()  # the error's traceback holds them until the garbage collector comes
        raise error(errno.EIO, f"the server's listing does not end: after {self.count} names {why}")


class DirectoryReading:
    """See the module. Its OPENDIR is sent at once, with the first READDIRs if its handle can be predicted.

    INVARIANT: the handle is closed, or goes with its session, once ``read`` has raised or returned True, and
    after ``close``.
    """

    __slots__ = (
        "_ended",
        "_expected",
        "_flying",
        "_forecast",
        "_handle",
        "_names",
        "_opening",
        "_path",
        "_window",
        "asked",
        "session",
    )

    def __init__(self, session: Session, path: bytes) -> None:
        self.session = session
        self.asked = 0.0
        """When the first of the entries that were not taken yet was asked for (``clock.now``)."""
        self._path = path
        self._handle = b""
        self._names = _Names(session.traits)
        self._window = FIRST_WINDOW
        self._flying: deque[tuple[Slot[list[DirectoryEntry] | None], float]] = deque()
        self._expected = not session.handles.broken
        self._ended = False
        self._forecast = session.handles.predict()
        self._opening: Slot[bytes] | None = session.start_opendir(path)
        if self._forecast is not None:
            self._ask(self._forecast)

    async def read(self, enough: Callable[[], float]) -> bool:
        """Reads until there are as many names to take as is ``enough``, or until the end: then True. Raises
        StatusError, SessionLostError, EIO."""
        try:
            if await self._read(enough):
                self._ended = True
                self.close()
            return self._ended
        except SessionLostError as failure:
            if isinstance(failure, StalledError):
                self.close()
            self._handle = b""
            raise
        except BaseException as problem:
            self.close()
            if isinstance(problem, OSError) and problem.errno == errno.EIO and self._names.count:
                log.warning("listing %r was given up: %s", self._path, problem.strerror)
            raise

    async def _read(self, enough: Callable[[], float]) -> bool:
        flying, names = self._flying, self._names
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._handle = await handle_or_close(self.session, opening)
            if self._handle != self._forecast:
                flying.clear()
        while True:
            self._ask(self._handle)
            if len(names.entries) >= enough():
                return False
            waited = clock.awake()
            await flying[0][0].wait()
            prompt = clock.awake() - waited < PROMPT
            # Everything that came is looked at before more is asked for, because it may be the end.
            while flying and flying[0][0].done:
                slot, asked = flying.popleft()
                reply = slot.result()
                if reply is None:
                    return True
                if not names.entries:
                    self.asked = asked
                names.add(reply)
                self._window = min(self._window + 1, LARGEST_WINDOW) if prompt else SLOW_WINDOW

    def _ask(self, handle: bytes) -> None:
        flying, missing = self._flying, self._window - len(self._flying)
        if missing > 0:
            now, start = clock.now(), self.session.start_readdir
            flying.extend([(start(handle), now) for _ in range(missing)])

    def take(self) -> list[DirectoryEntry]:
        """The entries that were read since the last time."""
        return self._names.take(last=self._ended)

    @property
    def misled(self) -> bool:
        """Whether READDIRs meant for others may have taken some of the names: the server was meanwhile found
        to give other handles than predicted."""
        return self._expected and self.session.handles.broken

    def close(self) -> None:
        """Ends it, between two calls of ``read``; does nothing if it has ended."""
        if self._handle:
            self.session.start_close(self._handle)
            self._handle = b""


def _nothing() -> None:
    pass


async def begin_reading(
    session: Session, path: bytes, enough: Callable[[], float], before: Callable[[], None] = _nothing
) -> tuple[list[DirectoryEntry], DirectoryReading | None]:
    """The first entries of a directory except ``.`` and ``..``, at least as many as is ``enough``, and what
    reads on; or all of them, and None. Raises StatusError, SessionLostError, EIO.

    It begins again if it was misled. ``before`` is called just before each OPENDIR is sent.
    """
    while True:
        before()
        reading = DirectoryReading(session, path)
        ended = await reading.read(enough)
        if reading.misled:
            reading.close()
            continue
        return reading.take(), None if ended else reading


async def list_entries(session: Session, path: bytes) -> list[DirectoryEntry]:
    """All entries of a directory, as ``begin_reading``."""
    entries, _ = await begin_reading(session, path, lambda: math.inf)
    return entries


async def list_some(
    session: Session, path: bytes, most: int, before: Callable[[], None]
) -> tuple[list[DirectoryEntry], bool]:
    """As ``list_entries``, but no further than ``most`` of them and what was here by then; and whether these
    are all. ``before`` is called just before each OPENDIR is sent."""
    entries, reading = await begin_reading(session, path, lambda: most, before)
    if reading is not None:
        reading.close()
    return entries, reading is None
