"""Copying between two files on the server: handles of one session, and copy-data in pieces.

Owns both handles of one copy. It lives and ends with its session: whoever copies begins again on another
where that is lost. Used by ``remote.server`` only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.connection import Connection
from sftpfs.remote.flags import protocol_flags
from sftpfs.remote.open_files import OpenFiles, noted
from sftpfs.remote.telling import start_telling
from sftpfs.remote.version import KnownVersion, Question
from sftpfs.remote.waiting import opened, when_done
from sftpfs.remote.writes import explain_write
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

COPY_DATA = "copy-data"

PIECE = 8 << 20
"""Bytes of one copy-data. A server does nothing else for the session meanwhile: this takes a disk of
50 MB/s a sixth of a second, far less than any deadline, and what else is asked there waits no longer."""

PIECES_TOGETHER = 2
"""Pieces under way: the server has the next one when it is done with the last."""


class Copy:
    """See the module. Implements ``remote.api.ServerCopy``; made by ``open_copy``."""

    __slots__ = (
        "_connection",
        "_destination",
        "_open_files",
        "_path",
        "_session",
        "_source",
        "_source_path",
        "destination",
        "source",
    )

    def __init__(
        self,
        connection: Connection,
        handles: tuple[bytes, bytes],
        source: bytes,
        path: bytes,
        open_files: OpenFiles,
    ) -> None:
        self._source_path = source
        self._connection = connection
        self._session = connection.session
        self._source, self._destination = handles
        self._path = path
        self._open_files = open_files
        self.source: Attributes
        self.destination: Attributes

    async def look(self) -> None:
        """What both files are: before anything else."""
        self.source, self.destination = await self._attributes()

    async def run(
        self, start: int, end: int, reached: Callable[[int], None]
    ) -> tuple[Attributes, Attributes]:
        """As ``ServerCopy.run``."""
        under_way: deque[tuple[int, int, Slot[None]]] = deque()
        inode = self._open_files.found_at(self._path)
        version = None if inode is None else inode.version
        told = None
        while start < end or under_way:
            while start < end and len(under_way) < PIECES_TOGETHER:
                length = min(PIECE, end - start)
                slot = self._start_piece(version, start, length)
                start += length
                under_way.append((start, length, slot))
            if start == end and told is None:
                told = self._start_telling(version)
            done, length, slot = under_way.popleft()
            try:
                await slot.wait()
            except StatusError as failed:
                if failed.status == Status.EOF:
                    break  # the source has become shorter: all there is was copied
                explained: Slot[None] = Slot()
                explain_write(self._session, self._path, length, failed, explained)
                await explained.wait()
            reached(done)
        source, destination, question = told or self._start_telling(version)
        self.source, self.destination = await source.wait(), await destination.wait()
        if version is not None and question is not None:
            version.told(self.destination, question)
        return self.source, self.destination

    def _start_piece(self, version: KnownVersion | None, start: int, length: int) -> Slot[None]:
        slot = self._session.start_copy_data(self._source, start, length, self._destination, start)
        if version is not None:
            now = self._open_files.clock.at_least()
            noted(version, version.writing(self._connection, start + length, now), slot)
        return slot

    def _start_telling(
        self, version: KnownVersion | None
    ) -> tuple[Slot[Attributes], Slot[Attributes], Question | None]:
        """Ask for the attributes of both; ``version`` is what is known of the destination."""
        question = None if version is None else version.asked(self._connection)
        return *self._start_attributes(), question

    def close(self) -> None:
        """As ``ServerCopy.close``."""
        self._session.start_close(self._source)
        self._session.start_close(self._destination)

    def _start_attributes(self) -> tuple[Slot[Attributes], Slot[Attributes]]:
        return (
            start_telling(self._session, self._source, self._source_path),
            start_telling(self._session, self._destination, self._path),
        )

    async def _attributes(self) -> tuple[Attributes, Attributes]:
        source, destination = self._start_attributes()
        return await source.wait(), await destination.wait()


async def open_copy(connection: Connection, open_files: OpenFiles, source: bytes, destination: bytes) -> Copy:
    """Both files opened on ``connection``: OPEN of both together, FSTAT of both together. Raises OSError."""
    room = open_files.room
    session = connection.session
    handles = await room.use(connection, partial(_open_both, session, source, destination))
    copy = Copy(connection, handles, source, destination, open_files)
    room.unsettled += 1
    try:
        await copy.look()
    except BaseException:
        copy.close()
        raise
    finally:
        room.unsettled -= 1
    return copy


async def _open_both(session: Session, source: bytes, destination: bytes) -> tuple[bytes, bytes]:
    """Handles to read ``source`` and to write ``destination``, which must exist."""
    first = session.start_open(source, protocol_flags(OpenFlags.READ))
    second = session.start_open(destination, protocol_flags(OpenFlags.WRITE))
    try:
        reading = await opened(session, first)
    except BaseException:
        when_done(second, partial(_close_late, session))
        raise
    try:
        return reading, await opened(session, second)
    except BaseException:
        session.start_close(reading)
        raise


def _close_late(session: Session, slot: Slot[bytes]) -> None:
    """A handle nobody wants any more."""
    if slot.error is None:
        session.start_close(slot.result())
