"""Any request on an open file except reads and writes: sent again if its session is lost.

Used by ``remote.files.pooled_file`` only, like ``remote.transfers.read_request`` and
``remote.transfers.write_request``. A ``HandleRequest`` is a look. A ``Follower`` covers the writes made
before it, and waits with them (``remote.transfers.send_queue``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

from sftpfs import operation
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError
from sftpfs.remote.pool.connection import ServerHandle
from sftpfs.remote.pool.hedging import HedgeableRequest
from sftpfs.remote.pool.silence_deadline import EndsWithOperation
from sftpfs.remote.requests.stat_request import start_stat_open
from sftpfs.remote.slots import on_filled
from sftpfs.remote.transfers.resend import Handles, may_resend

T = TypeVar("T")


class HandleRequest(HedgeableRequest, EndsWithOperation, Generic[T]):
    """Any other request on an open file, by its primary handle, and the slot of its result."""

    __slots__ = ("_done", "_ended", "_file", "_handle", "_start", "deadline", "slot", "started")

    def __init__(
        self,
        file: Handles,
        start: Callable[[ServerHandle], Slot[T]],
        done: Callable[[Slot[T], Slot[T]], None] | None = None,
        ended: Callable[[bool], None] | None = None,
    ) -> None:
        """``start`` sends it. ``done(answer, result)`` fills the result, if more must be done than to pass
        the answer on; it is not called if the session is lost. ``ended`` is called each time when it is no
        longer under way, with whether it was carried out."""
        self.slot: Slot[T] = Slot()
        self.started = operation.begun()
        self.deadline = math.inf
        self._file = file
        self._start = start
        self._done = done
        self._ended = ended
        self._handle: ServerHandle | None = None

    @property
    def file(self) -> Handles:
        """As ``HedgeableRequest.file``."""
        return self._file

    def start_on(self, handle: ServerHandle) -> Slot[Any]:
        """As ``HedgeableRequest.start_on``: of calls, FSTAT alone is a look."""
        return start_stat_open(handle.session, handle.identifier, self._file.path)

    def send(self) -> None:
        """As ``Repeatable.send``."""
        if self.slot.done:
            return
        handle = None if self._file.closed else self._file.primary()
        if handle is None:
            self._file.wait(self)
        else:
            self.send_on(handle)

    def send_on(self, handle: ServerHandle) -> None:
        """Send it by ``handle``, unless its operation has ended."""
        if self.slot.done:
            return
        self._handle = handle
        on_filled(self._start(handle), self._answered)

    @property
    def ended(self) -> bool:
        """As ``Watched.ended``."""
        return self.slot.done

    def give_up(self, failure: OSError) -> None:
        """As ``Repeatable.give_up``, and ``Watched``: it may be under way."""
        if not self.slot.done:
            self.slot.fail(failure)

    def _answered(self, answer: Slot[T]) -> None:
        failure, handle = answer.error, self._handle
        assert handle is not None
        if self._ended is not None:
            self._ended(failure is None)
        if self.slot.done:
            return  # given up with its operation
        if isinstance(failure, SessionLostError):
            if may_resend(self._file, self, handle, failure):
                self._file.watch(self)
                self.send()
        elif self._done is not None:
            self._done(answer, self.slot)
        elif failure is None:
            self.slot.set(answer.result())
        else:
            self.slot.fail(failure)


class Follower(HandleRequest[T]):
    """A request that covers every write of its file made before it."""

    __slots__ = ("_early", "_stretch")

    writes: Literal[False] = False

    def __init__(
        self,
        file: Handles,
        start: Callable[[ServerHandle], Slot[T]],
        done: Callable[[Slot[T], Slot[T]], None] | None = None,
        ended: Callable[[bool], None] | None = None,
    ) -> None:
        super().__init__(file, start, done, ended)
        self._stretch = file.outbox.follow()
        self._early = False

    def send(self) -> None:
        """As ``Repeatable.send``."""
        if not self.slot.done:
            self._file.outbox.put(self)

    @property
    def sent(self) -> bool:
        """It was on its way at least once."""
        return self._handle is not None

    def may_go(self, handle: ServerHandle) -> bool:
        """Whether it may be sent by ``handle`` now."""
        outbox = self._file.outbox
        if self._early:
            return outbox.covered(self._stretch)
        return outbox.in_order(self._stretch, handle.connection)

    def _answered(self, answer: Slot[T]) -> None:
        if answer.error is None and not self.slot.done and not self._file.outbox.covered(self._stretch):
            if self._ended is not None:
                self._ended(True)
            self._early = True
            self.send()
        else:
            super()._answered(answer)
