"""One read or write of any length, carried through in pieces the server takes.

Works in callbacks of the session's slots, without tasks. Used by ``remote.file``
only, which says on which handle each piece travels. A piece whose session is lost
is sent again on another handle of the file, or waits until there is one, unless it is
past its deadline: reading twice, or writing the same bytes to the same place twice,
does no harm. A piece that is to be appended waits in any case, for the file's size to
tell whether it was.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from time import monotonic
from typing import Any, Protocol

from sftpfs.aio import Slot
from sftpfs.errors import IncompleteWriteError, SessionLostError, Status, StatusError, error
from sftpfs.remote import diagnose
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.connection import Connection, Handle
from sftpfs.remote.paths import parent_of
from sftpfs.remote.sizes import SAFE, RequestSizes
from sftpfs.remote.waiting import when_done
from sftpfs.types import Buffer, FilesystemStatistics

PAGE = 4096
"""Pieces begin at multiples of it, so that no page of the server's is read or written twice."""

STATVFS = "statvfs@openssh.com"

SIZE_REFUSALS = (Status.FAILURE, Status.BAD_MESSAGE)
"""What servers say to a request that is too large for them."""


class Handles(Protocol):
    """What a transfer needs of the open file."""

    flags: OpenFlags
    closed: bool
    patience: float
    read_sizes: RequestSizes
    write_sizes: RequestSizes
    held: deque[WritePiece] | None
    backlog: deque[WritePiece]
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

    def wait(self, request: Repeatable) -> None:
        """No handle is left: ``request`` is sent, or given up, once it is known whether there will be one."""

    def write_sent(self, offset: int, length: int) -> None:
        """A piece of a write is on its way."""

    def queues(self, handle: Handle) -> bool:
        """Must a write wait until ``handle`` has room?"""

    def send_backlog(self) -> None:
        """Send writes that waited for room."""

    def write_ended(self, offset: int, length: int, done: bool) -> None:
        """A piece of a write was answered; ``done``: the server has it."""

    def beside(self, connection: Connection, target: Connection) -> Handle | None:
        """A handle on another connection than ``connection``, alive and not stalled; where there is
        none one is opened on ``target``, for later."""


class OfFile:
    """Who waits for a reply to a look through a handle, where another handle of the file does as well."""

    __slots__ = ()

    @property
    def file(self) -> Handles:
        """The file."""
        raise NotImplementedError

    def ask_again(self, handle: Handle) -> Slot[Any]:
        """What is under way, asked by ``handle`` as well; the caller takes the first answer."""
        raise NotImplementedError


class Repeatable(Protocol):
    """A request on an open file that is sent again where its session is lost."""

    started: float
    """When it was made, on the monotonic clock."""
    deadline: float
    """When it is given up, infinite until its session was first lost."""

    def send(self) -> None:
        """Send it, for the first time or again."""

    def give_up(self, failure: OSError) -> None:
        """It will not be sent again."""


def lost(file: Handles, request: Repeatable, handle: Handle, failure: SessionLostError) -> bool:
    """The session of ``handle`` took ``request`` with it. False where that is past its deadline: given up.

    The deadline counts from the last sign of life, as it does while a session lives, and
    is not counted anew where the next session is lost too. A server that breaks the protocol
    as it is sent again most likely does so at this very request: given up at once.
    """
    file.drop(handle)
    breach_again = failure.errno == errno.EPROTO and request.deadline != math.inf
    if request.deadline == math.inf:
        request.deadline = max(request.started, handle.session.last_reply) + file.patience
    if monotonic() < request.deadline and not breach_again:
        return True
    request.give_up(failure)
    return False


def may_be_too_large(failure: BaseException) -> bool:
    """Whether a server may have refused a request for its size."""
    return isinstance(failure, StatusError) and failure.status in SIZE_REFUSALS and not failure.explicit


def piece_size(length: int, limit: int) -> int:
    """The size of the pieces ``length`` bytes travel in: as few as can be, of even size."""
    if length <= limit:
        return length
    count = -(-length // limit)
    even = -(-length // count)
    return min(-(-even // PAGE) * PAGE, limit)


class Read:
    """A read, and its pieces in order of offset.

    INVARIANT: ``_pieces`` is empty once the slot is filled: the pieces point back here, and
    what they hold would otherwise be kept until the garbage collector finds the circle.
    """

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
            content = self._content()
            self._pieces = []
            self._slot.set(content)

    def piece_failed(self, failure: BaseException) -> None:
        """A piece cannot be had, so that the whole cannot."""
        if not self._slot.done:
            self._pieces = []
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


class ReadPiece(OfFile):
    """A part of a read that one request can carry; a short reply is asked on.

    INVARIANT: ``parts`` hold the bytes from the piece's offset on, without gaps;
    ``missing`` are those not there yet, or past the end of the file.
    """

    __slots__ = (
        "_asked",
        "_file",
        "_handle",
        "_most",
        "_next",
        "_refused",
        "_short",
        "_whole",
        "deadline",
        "missing",
        "parts",
        "started",
    )

    def __init__(self, whole: Read, file: Handles, offset: int, length: int) -> None:
        self.parts: list[Buffer] = []
        self.missing = length
        self._whole = whole
        self._file = file
        self._next = offset
        self.started = monotonic()
        self.deadline = math.inf
        self._asked = 0
        self._most = length
        """Bytes asked for at once."""
        self._refused = False
        """At a size of which it is not known whether the server takes it."""
        self._short = 0
        """What the first short reply brought."""
        self._handle: Handle | None = None

    def content(self) -> Buffer:
        """All of the piece that is there; the reply itself where it was one."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    @property
    def file(self) -> Handles:
        """As ``OfFile.file``."""
        return self._file

    def ask_again(self, handle: Handle) -> Slot[Buffer | None]:
        """As ``OfFile.ask_again``."""
        return handle.session.start_read(handle.identifier, self._next, self._asked)

    def send(self) -> None:
        """Ask for what is missing."""
        file = self._file
        handle = None if file.closed else file.choose()
        if handle is None:
            file.wait(self)
            return
        self._handle = handle
        self._asked = min(self.missing, self._most, self._file.read_sizes.limit)
        handle.connection.outstanding += self._asked
        when_done(handle.session.start_read(handle.identifier, self._next, self._asked), self._answered)

    def give_up(self, failure: OSError) -> None:
        """As ``Repeatable.give_up``."""
        self._whole.piece_failed(failure)

    def _answered(self, slot: Slot[Buffer | None]) -> None:
        handle = self._handle
        assert handle is not None
        handle.connection.outstanding -= self._asked
        failure = slot.error
        if failure is not None:
            self._failed(handle, failure)
            return
        data = slot.result()
        if data is None:
            self._whole.piece_done()
            return
        size = len(data)
        if not 0 < size <= self.missing:  # no progress, or more than was asked for
            self._whole.piece_failed(error(errno.EIO, "the server answered a read with a wrong length"))
            return
        if size != self._asked or self._refused or self._short:
            self._learn(size)
        elif size > self._file.read_sizes.proven:
            self._file.read_sizes.taken(size)
        self.parts.append(data)
        self._next += size
        self.missing -= size
        if self.missing:
            self.send()
        else:
            self._whole.piece_done()

    def _failed(self, handle: Handle, failure: BaseException) -> None:
        """Send it again where that may help: elsewhere, or in smaller requests."""
        sizes = self._file.read_sizes
        doubtful = sizes.doubtful(self._asked)
        if isinstance(failure, SessionLostError):
            if doubtful:
                sizes.lost(handle.session.generation)
                self._most = SAFE
            if lost(self._file, self, handle, failure):
                self.send()
        elif doubtful and may_be_too_large(failure):
            self._refused = True
            self._most = SAFE
            self.send()
        else:
            self._whole.piece_failed(failure)

    def _learn(self, size: int) -> None:
        """What ``size`` bytes of an answer tell of what the server carries."""
        sizes = self._file.read_sizes
        if self._refused:
            self._refused = False
            sizes.refused()
        if self._short:
            sizes.cut(self._short)  # it was not the end of the file
            self._short = 0
        elif size < self._asked:
            self._short = size


class Write:
    """A write, and how many of its pieces are unanswered.

    The slot is filled after the last of them, also where one failed: until then
    the bytes may be in use.
    """

    __slots__ = ("_failure", "_file", "_missing", "_pieces", "_slot", "_waiting")

    def __init__(self, file: Handles, offset: int, data: Buffer, limit: int) -> None:
        self._file = file
        self._slot: Slot[None] = Slot()
        self._failure: tuple[int, OSError] | None = None
        self._missing: list[tuple[int, int]] = []
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

    def add_pieces(self, count: int) -> None:
        """A piece became ``count`` more."""
        self._waiting += count

    def piece_done(self, offset: int, length: int, failure: OSError | None) -> None:
        """A piece of ``length`` bytes is on the server, or never will be."""
        if failure is not None:
            self._failure = self._failure or (length, failure)
            self._missing.append((offset, offset + length))
        self._waiting -= 1
        if self._waiting:
            return
        if self._failure is None:
            self._slot.set(None)
        else:
            explained: Slot[None] = Slot(self._explained)
            fail_explained(self._file, self._failure[0], self._failure[1], explained)

    def _explained(self, slot: Slot[None]) -> None:
        failure = slot.error
        assert isinstance(failure, OSError)
        self._slot.fail(IncompleteWriteError(failure, self._missing))


class WritePiece:
    """A part of a write that one request can carry."""

    __slots__ = ("_data", "_file", "_handle", "_offset", "_refused", "_whole", "deadline", "started")

    def __init__(self, whole: Write, file: Handles, offset: int, data: Buffer, refused: bool = False) -> None:
        """``refused``: more at once was, perhaps for being more."""
        self._refused = refused
        self._whole = whole
        self._file = file
        self._offset = offset
        self._data = data
        self.started = monotonic()
        self.deadline = math.inf
        self._handle: Handle | None = None

    @property
    def sent(self) -> bool:
        """It was on its way at least once."""
        return self._handle is not None

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self._data)

    def send(self) -> None:
        """Send it, unless writes are kept back just now."""
        file = self._file
        if file.held is not None:
            file.held.append(self)
            return
        handle = None if file.closed else file.choose()
        if handle is None:
            file.wait(self)
            return
        if file.queues(handle):
            file.backlog.append(self)
            return
        self.send_on(handle)

    def send_on(self, handle: Handle) -> None:
        """Send it by ``handle``, in parts where the server was found to take less since it was made."""
        file = self._file
        length = len(self._data)
        if length > file.write_sizes.limit and OpenFlags.APPEND not in file.flags:
            self._split(refused=False)
            return
        self._handle = handle
        file.writes_under_way += 1
        file.write_sent(self._offset, length)
        handle.connection.outstanding += length
        slot = handle.session.start_write(handle.identifier, self._offset, self._data)
        when_done(slot, self._answered)

    def give_up(self, failure: OSError) -> None:
        """As ``Repeatable.give_up``."""
        self._whole.piece_done(self._offset, len(self._data), failure)

    def landed(self) -> None:
        """It was carried out, though its answer was lost."""
        self._whole.piece_done(self._offset, len(self._data), None)

    def _answered(self, slot: Slot[None]) -> None:
        file, handle = self._file, self._handle
        assert handle is not None
        length = len(self._data)
        handle.connection.outstanding -= length
        failure = slot.error
        file.write_ended(self._offset, length, failure is None)
        file.send_backlog()
        if failure is None:
            if self._refused:
                file.write_sizes.refused()
            elif length > file.write_sizes.proven:
                file.write_sizes.taken(length)
            self._whole.piece_done(self._offset, length, None)
        else:
            self._failed(handle, failure)

    def _failed(self, handle: Handle, failure: BaseException) -> None:
        """Send it again where that may help: elsewhere, or in smaller requests."""
        file, length = self._file, len(self._data)
        doubtful = file.write_sizes.doubtful(length)
        appends = OpenFlags.APPEND in file.flags
        if isinstance(failure, SessionLostError):
            if doubtful:
                file.write_sizes.lost(handle.session.generation)
            if not lost(file, self, handle, failure):
                return
            # Appending twice is not writing the same bytes to the same place.
            if appends:
                file.wait(self)
            elif doubtful:
                self._split(refused=False)
            else:
                self.send()
            return
        assert isinstance(failure, OSError)
        if doubtful and may_be_too_large(failure) and not appends:
            self._split(refused=True)
        else:
            self._whole.piece_done(self._offset, length, failure)

    def _split(self, refused: bool) -> None:
        """Go on as pieces of a size the server takes."""
        view = memoryview(self._data)
        size = min(SAFE, self._file.write_sizes.limit)
        starts = range(0, len(view), size)
        self._whole.add_pieces(len(starts) - 1)
        for start in starts:
            piece = WritePiece(
                self._whole, self._file, self._offset + start, view[start : start + size], refused
            )
            piece.started, piece.deadline = self.started, self.deadline
            piece.send()


def fail_explained(file: Handles, length: int, failure: OSError, slot: Slot[None]) -> None:
    """Fail ``slot`` with what ``failure`` of a write of ``length`` bytes, or of fsync (0), really was:
    a FAILURE may be a full file system."""
    handle = file.primary()
    if isinstance(failure, StatusError) and failure.status == Status.BAD_MESSAGE and length:
        slot.fail(error(errno.EFBIG))  # OpenSSH's word for EINVAL: an offset that no file can have
        return
    vague = isinstance(failure, StatusError) and failure.status == Status.FAILURE and not failure.explicit
    if not vague or handle is None or not handle.session.capabilities.has(STATVFS):
        slot.fail(failure)
        return

    def seen(figures: Slot[FilesystemStatistics]) -> None:
        known = figures.result() if figures.error is None else None
        number = diagnose.writing(Status.FAILURE, max(length, 1), known)
        slot.fail(failure if number == errno.EIO else error(number))

    when_done(handle.session.start_statvfs(parent_of(file.path)), seen)
