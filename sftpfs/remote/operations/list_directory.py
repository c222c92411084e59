"""Listing a directory: as a whole, or the first names and a rest that is read while these are shown.

Owns when a listing is shown in parts, and how the rest finds out that it may lack names. Used by
``remote.client``. What is in parts is repeated by whoever reads it (``vfs.readdir``): only that one knows
what was shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import DisturbedListingError, StatusError
from sftpfs.remote.handles.handle_limit import HandleLimit
from sftpfs.remote.operations.retry import retry_idempotent
from sftpfs.remote.outcome import errno_probe
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests.read_directory import DirectoryReading, begin_reading
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes, DirectoryEntry, Listing, ListingPart

SHOWN_TOGETHER = 2000
"""Names: a directory of no more is shown in one piece. They come within three round trips, and parts cost a
look at the directory at the end, a wait."""

LARGE = 128 << 10
"""A directory of more bytes than this, as the server reports its size, is taken to have more names than that.
(2,000 names of 20 bytes take 60 to 90 KiB on ext4, XFS and btrfs.)"""

FIRST_SHOWN = 200
"""Names of a large directory that are shown as soon as they are here, about as many as one reply to the
kernel has: those that come with the first READDIRs, sent together."""

NEXT_SHOWN = 1000
"""Names of a further part. Each part wakes its readers; 100 names at a time, the
size of OpenSSH's replies, cost `ls -f` a fifth more of the processor."""

LONGEST_PART = 0.5
"""Seconds after which names are shown that come slowly, however few."""


class RestOfDirectory:
    """As ``types.RestOfListing``, of ``path`` on one session."""

    __slots__ = ("_before", "_ended", "_limit", "_path", "_reading", "_since")

    def __init__(
        self, reading: DirectoryReading, path: bytes, before: Attributes, limit: HandleLimit
    ) -> None:
        """``before``: what the server said of the directory before it was read. The handle counts as one
        that ``limit`` cannot take back."""
        self._reading = reading
        self._path = path
        self._before = before
        self._ended = False
        self._since = 0.0
        self._limit: HandleLimit | None = limit

    @property
    def steady(self) -> bool:
        """As ``RestOfListing.steady``: readdir(3) of the server's system, as POSIX wants it."""
        return self._reading.session.traits.of_openssh

    async def more(self) -> ListingPart | None:
        """As ``RestOfListing.more``."""
        self._since = clock.awake()
        try:
            if not self._ended:
                self._ended = await self._reading.read(self._enough)
            entries = self._reading.take()
            if entries:
                return ListingPart(entries, self._reading.asked)
            await self._check()
        except StatusError as failed:
            self.close()
            raise await errno_probe.listing(self._reading.session, failed, self._path) from None
        except BaseException:
            self.close()
            raise
        self.close()
        return None

    def _enough(self) -> float:
        return 1 if clock.awake() - self._since > LONGEST_PART else NEXT_SHOWN

    async def _check(self) -> None:
        """OpenSSH's server looks at each entry by its path, and leaves out what it cannot find: all of them,
        once the directory is elsewhere or may not be entered. Raises DisturbedListingError."""
        session, before = self._reading.session, self._before
        if self._reading.misled:
            raise DisturbedListingError("READDIRs meant for other directories took some of the names")
        try:
            now = await session.start_stat(self._path).wait()
        except StatusError as failed:
            raise DisturbedListingError(
                f"the directory cannot be found any more: {failed.strerror}"
            ) from None
        if (now.mode, now.uid, now.gid) != (before.mode, before.uid, before.gid):
            raise DisturbedListingError("the mode or owner of the directory was changed")

    def close(self) -> None:
        """As ``RestOfListing.close``."""
        if self._limit is not None:
            self._limit.unowned -= 1
            self._limit = None
            self._reading.close()


async def list_directory(pool: ConnectionPool, limit: HandleLimit, path: bytes, *, in_parts: bool) -> Listing:
    """As ``Remote.list_directory``."""

    async def work(connection: Connection) -> Listing:
        session = connection.session
        own = session.start_stat(path)
        enough = partial(_enough, own) if in_parts and not session.one_at_a_time else _all
        try:
            entries, reading = await limit.run_with_handle(
                connection, partial(_begin, limit, session, path, enough)
            )
            try:
                attributes = await own.wait()
            except BaseException:
                if reading is not None:
                    limit.unowned -= 1
                    reading.close()
                raise
        except StatusError as failed:
            raise await errno_probe.listing(session, failed, path) from None
        rest = None if reading is None else RestOfDirectory(reading, path, attributes, limit)
        return Listing(attributes, entries, rest)

    return await retry_idempotent(pool, work, pool.looking())


async def _begin(
    limit: HandleLimit, session: Session, path: bytes, enough: Callable[[], float]
) -> tuple[list[DirectoryEntry], DirectoryReading | None]:
    reading = None
    limit.unowned += 1
    try:
        entries, reading = await begin_reading(session, path, enough)
    finally:
        if reading is None:
            limit.unowned -= 1
    return entries, reading


def _enough(own: Slot[Attributes]) -> float:
    """As many names as are shown first of a directory that is as ``own`` says."""
    known = own.done and own.error is None
    return FIRST_SHOWN if known and own.result().size > LARGE else SHOWN_TOGETHER + 1


def _all() -> float:
    return math.inf
