"""A byte stream through a worker, or past it while the worker lends its connection. No byte is lost or
overtakes.

Made by ``transport.worker_transport``, one for each channel. The session that reads it does not know where
its bytes pass. Towards the server: the front stops writing (``borrow``), the worker sends all that was
written, and then lends; what goes back with a ``return`` is written before anything else. From the server:
the worker writes nothing into the data socket after it has lent, and what it wrote before is read first."""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import termios
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import trio

from sftpfs.aio import ByteStream, Slot, readiness
from sftpfs.transport.loan.state import Loan
from sftpfs.transport.messages import Message
from sftpfs.types import Buffer

if TYPE_CHECKING:
    from sftpfs.transport.loan.lent_connection import LentConnection

log = logging.getLogger(__name__)


class LendableStream(ByteStream):
    """See the module. ``read_fd`` and ``write_fd`` are the data socket, the worker's other end.

    INVARIANT: at most one of ``_asked`` and ``_loan`` holds; while either does, nothing is written into the
    data socket. ``_first`` are bytes that go into it before all others.
    INVARIANT: the borrowed socket is registered with the poller exactly while there is a ``_loan``.
    """

    __slots__ = ("_asked", "_first", "_loan", "_offered", "_room", "_say", "_start")

    def __init__(
        self,
        fd: int,
        say: Callable[[Message], bool],
        start: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        """``say`` sends a message about this channel to the worker, and returns False if it is gone.
        ``start`` starts a task."""
        super().__init__(fd, fd)
        self._say = say
        self._start = start
        self._asked = False
        self._offered = False
        self._loan: LentConnection | None = None
        self._first = b""
        self._room: Slot[None] | None = None

    # --- what a session uses

    def read_into(self, space: memoryview) -> int:
        """As ``ByteStream.read_into``."""
        loan = self._loan
        if loan is None:
            return super().read_into(space)
        count = loan.receive_into(space)
        if loan.over:
            self._give_back(loan)
        else:
            self._after(loan)
        if not count:
            raise BlockingIOError
        return count

    def write(self, buffers: Sequence[Buffer]) -> int:
        """As ``ByteStream.write``."""
        loan = self._loan
        if loan is None:
            if self._asked or self._first:
                raise BlockingIOError
            return super().write(buffers)
        count = loan.send(buffers)
        if loan.over:
            self._give_back(loan)
        elif loan.unsent:
            self._after(loan)
        if not count:
            raise BlockingIOError
        return count

    async def writable(self) -> None:
        """As ``ByteStream.writable``."""
        loan = self._loan
        if self._asked or self._first or (loan is not None and not loan.room):
            if self._room is None:
                self._room = Slot()
            await self._room.wait()
        elif loan is None:
            await super().writable()
        else:
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """As ``ByteStream.close``. What is lent goes back first, so that the worker can say goodbye."""
        if not self.closed and self._loan is not None:
            self._give_back(self._loan)
        super().close()
        if self._room is not None:
            room, self._room = self._room, None
            room.fail(trio.ClosedResourceError())

    # --- what the worker says

    def offer(self) -> None:
        """The worker would lend. Borrow now, or once somebody reads."""
        poller = readiness.poller()
        if poller is None or self.closed:
            return
        if self._serving is None or self._first:
            self._offered = True
        elif not self._asked and self._loan is None:
            self._offered = False
            self._asked = self._say({"type": "borrow"})

    def keep(self) -> None:
        """The worker does not lend after all."""
        self._asked = False
        self._make_room()

    def lend(self, message: Message, fd: int | None) -> None:
        """The worker lends; ``fd`` is owned from now on. None if there was no descriptor free for it, and it
        stays the worker's."""
        from sftpfs.transport.loan.lent_connection import LentConnection

        asked = self._asked
        try:
            loan = Loan.of(message)
            while asked and self._serving is not None and _waiting(self.read_fd):
                ByteStream._turn(self)
            self._asked = False  # not before: what is read may have something written at once
            if not asked or fd is None or self._serving is None:
                self._say({"type": "return", "used": False})
                self._make_room()
                return
            self._loan = LentConnection(fd, loan)
            fd = None
        finally:
            if fd is not None:
                os.close(fd)
        poller = readiness.poller()
        assert poller is not None
        try:
            poller.add(self._loan.fd, super()._turn)
        except OSError as failure:  # the kernel has no memory, or watches too much
            self._loan.over = f"it cannot be watched: {failure.strerror}"
            self._give_back(self._loan)
            return
        log.debug("a connection is lent")
        super()._turn()  # what was received in part; it may be a whole packet by now
        self._make_room()

    def recall(self) -> None:
        """The worker wants its connection back."""
        if self._loan is not None:
            self._loan.over = self._loan.over or "recalled"
            self._give_back(self._loan)

    # --- inside

    def _watch(self, poller: readiness.Poller) -> None:
        super()._watch(poller)
        if self._offered:
            self.offer()

    def _turn(self) -> None:
        """The data socket can be read. During a loan that is its end: the worker is gone, or gave up."""
        if self._loan is not None:
            log.debug("a lent connection is given up: its worker has closed the channel")
            self._drop(self._loan)
            self._loan.forget()
            self._loan = None
            self._make_room()
        super()._turn()

    def _stop_serving(self, reason: BaseException) -> None:
        if self._loan is not None:
            self._give_back(self._loan)  # nobody would read what comes
        super()._stop_serving(reason)

    def _after(self, loan: LentConnection) -> None:
        """A step with the loan is done."""
        if loan.unsent and not loan.flushing:
            loan.flushing = True
            self._start(self._flush)
        if self._room is not None and loan.room:
            self._make_room()

    async def _flush(self) -> None:
        """Sends what waits for the borrowed socket, in a task of its own."""
        loan = self._loan
        if loan is None:
            return
        try:
            while loan is self._loan and loan.unsent and not loan.over:
                await trio.lowlevel.wait_writable(loan.fd)
                if loan is self._loan:
                    loan.flush()
        except trio.ClosedResourceError:
            pass  # given back meanwhile
        except OSError as problem:
            loan.over = loan.over or f"its socket cannot be waited for: {problem.strerror}"
        finally:
            loan.flushing = False
        if loan is self._loan:
            if loan.over:
                self._give_back(loan)
            else:
                self._after(loan)

    def _give_back(self, loan: LentConnection) -> None:
        """Return the connection, with what was received and not opened, and what was not sent."""
        log.debug("a lent connection is returned: %s", loan.over or "closed")
        self._drop(loan)
        self._loan = None
        state, carried = loan.end()
        self._first = carried
        self._write_first()  # before the message, so that the worker need not wait for it
        self._say({"type": "return", "used": True, **state.message()})
        if self._first and not self.closed:
            self._start(self._finish_first)
        if not self._first:
            self._make_room()

    def _drop(self, loan: LentConnection) -> None:
        poller = readiness.poller()
        assert poller is not None
        poller.remove(loan.fd)
        trio.lowlevel.notify_closing(loan.fd)
        os.close(loan.fd)

    def _write_first(self) -> None:
        try:
            while self._first:
                self._first = self._first[os.write(self.write_fd, self._first) :]
        except BlockingIOError:
            pass
        except OSError:
            self._first = b""  # the worker is gone: the session reads the end of the stream

    async def _finish_first(self) -> None:
        """Writes what the data socket did not take at once of what goes back, in a task of its own."""
        try:
            while self._first and not self.closed:
                await trio.lowlevel.wait_writable(self.write_fd)
                if not self.closed:
                    self._write_first()
        except (trio.ClosedResourceError, OSError):
            self._first = b""
        self._make_room()
        if self._offered and not self._first:
            self.offer()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set(None)


def _waiting(fd: int) -> int:
    """Bytes that can be read of a socket."""
    answer = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    return int(struct.unpack("i", answer)[0])
