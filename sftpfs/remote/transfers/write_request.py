"""One write of any length, carried through in pieces that the server takes.

Works in callbacks of the session's slots, without tasks. Used by ``remote.files.pooled_file`` only. A piece
whose session is lost is sent again (``remote.transfers.resend``): writing the same bytes to the same place
twice does no harm. A piece that was to be appended waits until the file's size shows whether it was. What
waits stands in the file's ``remote.transfers.send_queue``.
"""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING, Any, Literal

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import IncompleteWriteError, SessionLostError, Status, StatusError, error
from sftpfs.remote.handles.sequential_writes import judged
from sftpfs.remote.outcome import errno_rules
from sftpfs.remote.paths import parent_of
from sftpfs.remote.pool.connection import ServerHandle
from sftpfs.remote.request_sizes import SAFE
from sftpfs.remote.slots import on_filled
from sftpfs.remote.transfers.resend import Handles, may_be_too_large, may_resend, piece_size
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.types import Buffer, FilesystemStatistics, OpenFlags

if TYPE_CHECKING:
    from sftpfs.remote.handles.expected_version import Change


class Write:
    """A write, and how many of its pieces are unanswered.

    The slot is filled after the last of them, even if one failed: until then the bytes may be in use.
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
        file.outbox.stretch.unsent += self._waiting

    def start(self) -> Slot[None]:
        """Send every piece, now or in its turn."""
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
            fail_explained(self._file, *self._failure, explained)

    def _explained(self, slot: Slot[None]) -> None:
        failure = slot.error
        assert isinstance(failure, OSError)
        self._slot.fail(IncompleteWriteError(failure, self._missing))


class WritePiece:
    """A part of a write that one request can carry."""

    __slots__ = (
        "_change",
        "_data",
        "_file",
        "_handle",
        "_offset",
        "_refused",
        "_stretch",
        "_whole",
        "deadline",
        "place",
        "started",
    )

    writes: Literal[True] = True

    def __init__(self, whole: Write, file: Handles, offset: int, data: Buffer, refused: bool = False) -> None:
        """``refused``: a larger size was refused, perhaps because it was larger."""
        self._refused = refused
        self._whole = whole
        self._file = file
        self._stretch = file.outbox.stretch
        self._offset = offset
        self._data = data
        self._change: Change | None = None
        self.place: int | None = None
        """Where it was put, if that is not at its offset (``remote.transfers.append_offset``)."""
        self.started = clock.awake()
        self.deadline = math.inf
        self._handle: ServerHandle | None = None

    @property
    def sent(self) -> bool:
        """It was on its way at least once."""
        return self._handle is not None

    @property
    def data(self) -> Buffer:
        """What it writes."""
        return self._data

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self._data)

    def send(self) -> None:
        """Send it, now or in its turn."""
        self._file.outbox.put(self)

    def send_on(self, handle: ServerHandle) -> None:
        """Sends it by ``handle``, in parts if the server was found to take less since it was made."""
        file = self._file
        length = len(self._data)
        most = min(file.write_sizes.limit, handle.session.link.up.piece)
        if length > most and OpenFlags.APPEND not in file.flags:
            self._stretch.unsent -= 1
            self._split(most, refused=False)
            return
        again, self._handle = self.sent, handle
        file.outbox.departed(self._stretch, handle.connection)
        offset = self._offset if self.place is None else self.place
        self._change = file.tracker.write_sent(handle, offset, length)
        if again and self._change is not None:
            self._change.follows = True
        handle.connection.outstanding += length
        slot = handle.session.start_write(handle.identifier, offset, self._data)
        on_filled(slot, self._answered)

    def give_up(self, failure: OSError) -> None:
        """As ``Repeatable.give_up``."""
        self._stretch.unsent -= 1
        self._ended(failure)

    def landed(self) -> None:
        """It was carried out, though its answer was lost."""
        self._stretch.unsent -= 1
        self._ended(None)

    def _ended(self, failure: OSError | None) -> None:
        """It is on the server, or never will be: what followed it may go."""
        self._whole.piece_done(self._offset, len(self._data), failure)
        self._file.outbox.pump()

    def _answered(self, slot: Slot[None]) -> None:
        file, handle = self._file, self._handle
        assert handle is not None
        length = len(self._data)
        handle.connection.outstanding -= length
        failure, change = slot.error, self._change
        if change is not None and not change.follows:
            failure = judged(handle.session.traits, failure)
        file.tracker.write_ended(self._change, self._data, failure)
        if failure is not None:
            self._failed(handle, failure)
            return
        if self._refused:
            file.write_sizes.rejected()
        elif length > file.write_sizes.proven:
            file.write_sizes.accepted(length)
        file.outbox.answered(self._stretch, handle.connection)
        self._ended(None)

    def _failed(self, handle: ServerHandle, failure: BaseException) -> None:
        """Sends it again if that may help: elsewhere, or in smaller requests."""
        file, length = self._file, len(self._data)
        assert isinstance(failure, OSError)
        doubtful = file.write_sizes.unproven(length) and OpenFlags.APPEND not in file.flags
        if isinstance(failure, SessionLostError):
            if file.write_sizes.unproven(length):
                file.write_sizes.session_lost(handle.session.generation)
            file.outbox.answered(self._stretch, handle.connection, again=1)
            if may_resend(file, self, handle, failure):
                if doubtful:
                    self._stretch.unsent -= 1
                    self._split(SAFE, refused=False)
                else:
                    self.send()
        elif doubtful and may_be_too_large(failure):
            file.outbox.answered(self._stretch, handle.connection)
            self._split(SAFE, refused=True)
        else:
            file.outbox.answered(self._stretch, handle.connection)
            self._ended(failure)

    def _split(self, most: int, refused: bool) -> None:
        """Go on as pieces of ``most`` bytes, or what the server takes."""
        view = memoryview(self._data)
        size = min(most, self._file.write_sizes.limit)
        starts = range(0, len(view), size)
        self._whole.add_pieces(len(starts) - 1)
        self._stretch.unsent += len(starts)
        for start in starts:
            piece = WritePiece(
                self._whole, self._file, self._offset + start, view[start : start + size], refused
            )
            piece._stretch = self._stretch  # what is to follow it follows its parts
            piece.started, piece.deadline = self.started, self.deadline
            piece.place = None if self.place is None else self.place + start
            piece.send()


def fail_explained(file: Handles, length: int, failure: OSError, slot: Slot[None]) -> None:
    """Fails ``slot`` with the true reason of ``failure``, of a write of ``length`` bytes, or of fsync (0)."""
    handle = file.primary()
    if handle is None:
        slot.fail(failure)
    else:
        explain_write(handle.session, file.path, length, failure, slot)


def explain_write(session: Session, path: bytes, length: int, failure: OSError, slot: Slot[Any]) -> None:
    """Fails ``slot`` with the true reason of the server's ``failure`` to put ``length`` bytes into the file
    at ``path`` (0: to bring it to its disk). A FAILURE may be a full file system."""
    if isinstance(failure, StatusError) and failure.status == Status.BAD_MESSAGE and length:
        slot.fail(error(errno.EFBIG))  # OpenSSH's word for EINVAL: an offset that no file can have
        return
    vague = isinstance(failure, StatusError) and failure.status == Status.FAILURE and not failure.explicit
    if not vague or not session.capabilities.has(extensions.STATVFS):
        slot.fail(failure)
        return

    def seen(figures: Slot[FilesystemStatistics]) -> None:
        known = figures.result() if figures.error is None else None
        number = errno_rules.writing(Status.FAILURE, max(length, 1), known)
        slot.fail(failure if number == errno.EIO else error(number))

    on_filled(session.start_statvfs(parent_of(path)), seen)
