"""One read of any length, carried through in pieces that the server takes.

Works in callbacks of the session's slots, without tasks. Used by ``remote.files.pooled_file`` only. A piece
whose session is lost is sent again (``remote.transfers.resend``): reading twice does no harm. The read ends
with the operation it was begun in (``remote.pool.silence_deadline``). Another operation that waits for it
then asks again itself (``data.reader``).
"""

from __future__ import annotations

import errno
import math

from sftpfs import operation
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, error
from sftpfs.remote.pool.connection import ServerHandle
from sftpfs.remote.pool.hedging import HedgeableRequest
from sftpfs.remote.request_sizes import SAFE
from sftpfs.remote.slots import on_filled
from sftpfs.remote.transfers.resend import Handles, may_be_too_large, may_resend, piece_size
from sftpfs.types import Attributes, Buffer


class Read:
    """A read, and its pieces in order of offset.

    INVARIANT: ``_pieces`` is empty once the slot is filled: the pieces point back here, and
    what they hold would otherwise be kept until the garbage collector finds the circle.
    """

    __slots__ = ("_pieces", "_slot", "_waiting", "started")

    def __init__(self, file: Handles, offset: int, length: int, limit: int) -> None:
        size = piece_size(length, limit)
        self.started = operation.begun()
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

    @property
    def ended(self) -> bool:
        """As ``Watched.ended``."""
        return self._slot.done

    def give_up(self, failure: OSError) -> None:
        """As ``Watched.give_up``: pieces may be under way, and bring nothing any more."""
        self.piece_failed(failure)

    def piece_done(self) -> None:
        """A piece has everything that it will get."""
        self._waiting -= 1
        if not self._waiting and not self._slot.done:
            content = self._content()
            self._pieces = []
            self._slot.set(content)

    def piece_failed(self, failure: BaseException) -> None:
        """A piece cannot be had, so the whole cannot either."""
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


class ReadPiece(HedgeableRequest):
    """A part of a read that one request can carry; after a short reply the rest is asked for.

    INVARIANT: ``parts`` hold the bytes from the piece's offset on, without gaps; ``missing`` are those not
    there yet, or past the end of the file.
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
        self.started = whole.started
        self.deadline = math.inf
        self._asked = 0
        self._most = length
        """Bytes asked for at once."""
        self._refused = False
        """Refused at a size of which it is not known whether the server takes it."""
        self._short = 0
        """What the first short reply brought."""
        self._handle: ServerHandle | None = None

    def content(self) -> Buffer:
        """All of the piece that is there; the reply itself where it was one."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    @property
    def file(self) -> Handles:
        """As ``HedgeableRequest.file``."""
        return self._file

    def start_on(self, handle: ServerHandle) -> Slot[Buffer | None]:
        """As ``HedgeableRequest.start_on``."""
        return handle.session.start_read(handle.identifier, self._next, self._asked)

    def send(self) -> None:
        """Ask for what is missing, unless the whole has failed."""
        if self._whole.ended:
            return
        file = self._file
        handle = None if file.closed else file.choose()
        if handle is None:
            file.wait(self)
            return
        link = handle.session.link.down
        if link.full:
            link.wait(self.send)
            return
        self._handle = handle
        self._asked = min(self.missing, self._most, self._file.read_sizes.limit, link.piece)
        handle.connection.outstanding += self._asked
        on_filled(handle.session.start_read(handle.identifier, self._next, self._asked), self._answered)

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
            self._ended(handle)
            return
        size = len(data)
        if not 0 < size <= self.missing:  # no progress, or more than was asked for
            self._whole.piece_failed(error(errno.EIO, "the server answered a read with a wrong length"))
            return
        if size != self._asked or self._refused or self._short:
            self._learn(size)
        elif size > self._file.read_sizes.proven:
            self._file.read_sizes.accepted(size)
        self.parts.append(data)
        self._next += size
        self.missing -= size
        if self.missing:
            self.send()
        else:
            self._whole.piece_done()

    def _ended(self, handle: ServerHandle) -> None:
        """The server says that the file ends here. If it does not, another handle is asked."""
        file = self._file
        asked = file.ends_early(self._next)
        if asked is None:
            self._whole.piece_done()
            return

        def answered(slot: Slot[Attributes]) -> None:
            if slot.error is None and slot.result().size > self._next and file.renew(handle):
                self.send()
            else:
                self._whole.piece_done()

        on_filled(asked, answered)

    def _failed(self, handle: ServerHandle, failure: BaseException) -> None:
        """Sends it again if that may help: elsewhere, or in smaller requests."""
        sizes = self._file.read_sizes
        doubtful = sizes.unproven(self._asked)
        if isinstance(failure, SessionLostError):
            if doubtful:
                sizes.session_lost(handle.session.generation)
                self._most = SAFE
            if may_resend(self._file, self, handle, failure):
                self._file.watch(self._whole)
                self.send()
        elif doubtful and may_be_too_large(failure):
            self._refused = True
            self._most = SAFE
            self.send()
        else:
            self._whole.piece_failed(failure)

    def _learn(self, size: int) -> None:
        """Learns, from ``size`` bytes of an answer, how much the server carries."""
        sizes = self._file.read_sizes
        if self._refused:
            self._refused = False
            sizes.rejected()
        if self._short:
            sizes.short_reply(self._short)  # it was not the end of the file
            self._short = 0
        elif size < self._asked:
            self._short = size
