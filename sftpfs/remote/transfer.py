"""One read or write of any length, carried through in pieces the server takes.

Works in callbacks of the session's slots, without tasks. Used by ``remote.file``
only, which says on which handle each piece travels. A piece whose session is lost
is sent again on another handle of the file, unless it is past its deadline:
reading twice, or writing the same bytes to the same place twice, does no harm.
"""

from __future__ import annotations

import errno
from collections import deque
from time import monotonic
from typing import Protocol

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError, error
from sftpfs.remote import diagnose
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.connection import Handle
from sftpfs.remote.paths import parent_of
from sftpfs.remote.waiting import when_done
from sftpfs.types import Buffer, FilesystemStatistics

PAGE = 4096
"""Pieces begin at multiples of it, so that no page of the server's is read or written twice."""

STATVFS = "statvfs@openssh.com"


class Handles(Protocol):
    """What a transfer needs of the open file."""

    flags: OpenFlags
    closed: bool
    timeout: float
    held: deque[WritePiece] | None
    writes_under_way: int

    @property
    def path(self) -> bytes:
        """Where the file is, or was last known to be."""

    def choose(self) -> Handle | None:
        """The handle for the next piece, None where none is left."""

    def primary(self) -> Handle | None:
        """The handle for everything but bulk."""

    def drop(self, handle: Handle) -> None:
        """The session of ``handle`` is lost."""

    def write_ended(self) -> None:
        """A piece of a write was answered."""


def piece_size(length: int, limit: int) -> int:
    """The size of the pieces ``length`` bytes travel in: as few as can be, of even size."""
    if length <= limit:
        return length
    count = -(-length // limit)
    even = -(-length // count)
    return min(-(-even // PAGE) * PAGE, limit)


def unavailable(file: Handles) -> OSError:
    """Why no handle of ``file`` can be used."""
    return (
        error(errno.EBADF) if file.closed else SessionLostError("the connection the file was open on is lost")
    )


class Read:
    """A read, and its pieces in order of offset."""

    __slots__ = ("_pieces", "_slot", "_waiting")

    def __init__(self, file: Handles, offset: int, length: int, limit: int) -> None:
        size = piece_size(length, limit)
        self._slot: Slot[Buffer] = Slot()
        self._pieces = [
            ReadPiece(self, file, offset + start, min(size, length - start))
            for start in range(0, length, size or 1)
        ]
        self._waiting = len(self._pieces)

    def start(self) -> Slot[Buffer]:
        """Send every piece."""
        if not self._pieces:
            self._slot.set(b"")
        for piece in self._pieces:
            piece.send()
        return self._slot

    def piece_done(self) -> None:
        """A piece has all it will get."""
        self._waiting -= 1
        if not self._waiting and not self._slot.done:
            self._slot.set(self._content())

    def piece_failed(self, failure: BaseException) -> None:
        """A piece cannot be had, so that the whole cannot."""
        if not self._slot.done:
            self._slot.fail(failure)

    def _content(self) -> Buffer:
        """The pieces joined, up to the first end of file: what follows it would leave a hole."""
        if len(self._pieces) == 1:
            return self._pieces[0].content()
        parts: list[Buffer] = []
        for piece in self._pieces:
            parts += piece.parts
            if piece.missing:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)


class ReadPiece:
    """A part of a read that one request can carry; a short reply is asked on.

    INVARIANT: ``parts`` hold the bytes from the piece's offset on, without gaps;
    ``missing`` are those not there yet, or past the end of the file.
    """

    __slots__ = ("_asked", "_file", "_handle", "_next", "_started", "_whole", "missing", "parts")

    def __init__(self, whole: Read, file: Handles, offset: int, length: int) -> None:
        self.parts: list[Buffer] = []
        self.missing = length
        self._whole = whole
        self._file = file
        self._next = offset
        self._started = monotonic()
        self._asked = 0
        self._handle: Handle | None = None

    def content(self) -> Buffer:
        """All of the piece that is there; the reply itself where it was one."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    def send(self) -> None:
        """Ask for what is missing."""
        file = self._file
        handle = None if file.closed else file.choose()
        if handle is None:
            self._whole.piece_failed(unavailable(file))
            return
        self._handle = handle
        self._asked = self.missing
        handle.connection.outstanding += self._asked
        when_done(handle.session.start_read(handle.identifier, self._next, self._asked), self._answered)

    def _answered(self, slot: Slot[Buffer | None]) -> None:
        handle = self._handle
        assert handle is not None
        handle.connection.outstanding -= self._asked
        failure = slot.error
        if failure is not None:
            if isinstance(failure, SessionLostError):
                self._file.drop(handle)
            if isinstance(failure, SessionLostError) and monotonic() < self._started + self._file.timeout:
                self.send()
            else:
                self._whole.piece_failed(failure)
            return
        data = slot.result()
        if data is None:
            self._whole.piece_done()
            return
        size = len(data)
        if not 0 < size <= self.missing:  # no progress, or more than was asked for
            self._whole.piece_failed(error(errno.EIO, "the server answered a read with a wrong length"))
            return
        self.parts.append(data)
        self._next += size
        self.missing -= size
        if self.missing:
            self.send()
        else:
            self._whole.piece_done()


class Write:
    """A write, and how many of its pieces are unanswered.

    The slot is filled after the last of them, also where one failed: until then
    the bytes may be in use.
    """

    __slots__ = ("_failure", "_file", "_pieces", "_slot", "_waiting")

    def __init__(self, file: Handles, offset: int, data: Buffer, limit: int) -> None:
        self._file = file
        self._slot: Slot[None] = Slot()
        self._failure: tuple[int, OSError] | None = None
        length = len(data)
        size = piece_size(length, limit)
        if length == size:
            self._pieces = [WritePiece(self, file, offset, data)] if length else []
        else:
            view = memoryview(data)
            starts = range(0, length, size)
            self._pieces = [WritePiece(self, file, offset + at, view[at : at + size]) for at in starts]
        self._waiting = len(self._pieces)

    def start(self) -> Slot[None]:
        """Send every piece, or put it into the queue of those kept back."""
        pieces, self._pieces = self._pieces, []
        if not pieces:
            self._slot.set(None)
        for piece in pieces:
            piece.send()
        return self._slot

    def piece_done(self, length: int, failure: OSError | None) -> None:
        """A piece of ``length`` bytes is on the server, or never will be."""
        if failure is not None and self._failure is None:
            self._failure = (length, failure)
        self._waiting -= 1
        if self._waiting:
            return
        if self._failure is None:
            self._slot.set(None)
        else:
            fail_explained(self._file, self._failure[0], self._failure[1], self._slot)


class WritePiece:
    """A part of a write that one request can carry."""

    __slots__ = ("_data", "_file", "_handle", "_offset", "_started", "_whole")

    def __init__(self, whole: Write, file: Handles, offset: int, data: Buffer) -> None:
        self._whole = whole
        self._file = file
        self._offset = offset
        self._data = data
        self._started = monotonic()
        self._handle: Handle | None = None

    def send(self) -> None:
        """Send it, unless writes are kept back just now."""
        file = self._file
        if file.held is not None:
            file.held.append(self)
            return
        handle = None if file.closed else file.choose()
        if handle is None:
            self._whole.piece_done(len(self._data), unavailable(file))
            return
        self._handle = handle
        file.writes_under_way += 1
        handle.connection.outstanding += len(self._data)
        slot = handle.session.start_write(handle.identifier, self._offset, self._data)
        when_done(slot, self._answered)

    def _answered(self, slot: Slot[None]) -> None:
        file, handle = self._file, self._handle
        assert handle is not None
        length = len(self._data)
        handle.connection.outstanding -= length
        file.write_ended()
        failure = slot.error
        if isinstance(failure, SessionLostError):
            file.drop(handle)
            # Appending twice is not writing the same bytes to the same place.
            again = OpenFlags.APPEND not in file.flags and monotonic() < self._started + file.timeout
            if again and file.primary() is not None:
                self.send()
                return
        assert failure is None or isinstance(failure, OSError)
        self._whole.piece_done(length, failure)


def fail_explained(file: Handles, length: int, failure: OSError, slot: Slot[None]) -> None:
    """Fail ``slot`` with what ``failure`` really was: a FAILURE may be a full file system."""
    handle = file.primary()
    vague = isinstance(failure, StatusError) and failure.status == Status.FAILURE
    if not vague or handle is None or not handle.session.capabilities.has(STATVFS):
        slot.fail(failure)
        return

    def seen(figures: Slot[FilesystemStatistics]) -> None:
        known = figures.result() if figures.error is None else None
        number = diagnose.writing(Status.FAILURE, length, known)
        slot.fail(failure if number == errno.EIO else error(number))

    when_done(handle.session.start_statvfs(parent_of(file.path)), seen)
