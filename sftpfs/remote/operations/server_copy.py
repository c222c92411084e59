"""Copies between two files on the server: handles of one session, and copy-data in pieces.

Owns both handles of one copy. The copy lives and ends with its session; if that is lost, the caller begins
again on another one. Used by ``remote.client`` only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError
from sftpfs.remote.handles.expected_version import ExpectedVersion, Question
from sftpfs.remote.handles.open_files import OpenFiles, noted
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.requests.stat_request import start_stat_open
from sftpfs.remote.slots import handle_or_close, on_filled
from sftpfs.remote.transfers.write_request import explain_write
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes, OpenFlags

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
        stats = None
        while start < end or under_way:
            while start < end and len(under_way) < PIECES_TOGETHER:
                length = min(PIECE, end - start)
                slot = self._start_piece(version, start, length)
                start += length
                under_way.append((start, length, slot))
            if start == end and stats is None:
                stats = self._start_stats(version)
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
        source, destination, question = stats or self._start_stats(version)
        self.source, self.destination = await source.wait(), await destination.wait()
        if version is not None and question is not None:
            version.reported(self.destination, question)
        return self.source, self.destination

    def _start_piece(self, version: ExpectedVersion | None, start: int, length: int) -> Slot[None]:
        slot = self._session.start_copy_data(self._source, start, length, self._destination, start)
        if version is not None:
            now = self._open_files.clock.at_least()
            noted(version, version.write_sent(self._connection, start + length, now), slot)
        return slot

    def _start_stats(
        self, version: ExpectedVersion | None
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
            start_stat_open(self._session, self._source, self._source_path),
            start_stat_open(self._session, self._destination, self._path),
        )

    async def _attributes(self) -> tuple[Attributes, Attributes]:
        source, destination = self._start_attributes()
        return await source.wait(), await destination.wait()


async def open_copy(connection: Connection, open_files: OpenFiles, source: bytes, destination: bytes) -> Copy:
    """Both files opened on ``connection``: OPEN of both together, FSTAT of both together. Raises OSError."""
    handle_limit = open_files.handle_limit
    session = connection.session
    handles = await handle_limit.run_with_handle(
        connection, partial(_open_both, session, source, destination)
    )
    copy = Copy(connection, handles, source, destination, open_files)
    handle_limit.unowned += 1
    try:
        await copy.look()
    except BaseException:
        copy.close()
        raise
    finally:
        handle_limit.unowned -= 1
    return copy


async def _open_both(session: Session, source: bytes, destination: bytes) -> tuple[bytes, bytes]:
    """Handles to read ``source`` and to write ``destination``, which must exist."""
    first = session.start_open(source, OpenFlags.READ)
    second = session.start_open(destination, OpenFlags.WRITE)
    try:
        reading = await handle_or_close(session, first)
    except BaseException:
        on_filled(second, partial(_close_late, session))
        raise
    try:
        return reading, await handle_or_close(session, second)
    except BaseException:
        session.start_close(reading)
        raise


def _close_late(session: Session, slot: Slot[bytes]) -> None:
    """A handle nobody wants any more."""
    if slot.error is None:
        session.start_close(slot.result())
