"""What reads, writes and calls of an open file share: they are sent again, elsewhere or later.

Owns when that is done. Works in callbacks of the session's slots, without tasks. Used by
``remote.transfers.read_request``, ``remote.transfers.write_request`` and ``remote.transfers.handle_request``.
``remote.files.pooled_file`` says on which handle each request travels. A request whose session is lost is
sent again on another handle of the file, or waits until there is one, unless it is past its deadline.
"""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING, Protocol

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError
from sftpfs.remote.pool.connection import Connection, ServerHandle, silent_since
from sftpfs.remote.request_sizes import RequestSizes
from sftpfs.remote.transfers.send_queue import SendQueue
from sftpfs.types import Attributes, OpenFlags

if TYPE_CHECKING:
    from sftpfs.remote.handles.expected_version import Change
    from sftpfs.types import Buffer

PAGE = 4096
"""Pieces begin at multiples of it, so that no page of the server's is read or written twice."""

SIZE_REFUSALS = (Status.FAILURE, Status.BAD_MESSAGE)
"""What servers answer to a request that is too large for them."""


class WriteNotes(Protocol):
    """What notes down the writes of a file."""

    def write_sent(self, handle: ServerHandle, offset: int, length: int) -> Change | None:
        """A piece of a write is on its way."""

    def write_ended(self, change: Change | None, data: Buffer, failure: BaseException | None) -> None:
        """A piece of a write was answered, or its session is lost; None: the server has it."""


class Handles(Protocol):
    """What a transfer needs of the open file."""

    flags: OpenFlags
    closed: bool
    patience: float
    read_sizes: RequestSizes
    write_sizes: RequestSizes
    outbox: SendQueue

    @property
    def tracker(self) -> WriteNotes:
        """What it must be like."""

    @property
    def path(self) -> bytes:
        """Where the file is, or was last known to be."""

    def choose(self) -> ServerHandle | None:
        """The handle for the next piece; None if none is left."""

    def primary(self) -> ServerHandle | None:
        """The handle for everything but bulk."""

    def drop(self, handle: ServerHandle) -> None:
        """The session of ``handle`` is lost."""

    def wait(self, request: Repeatable) -> None:
        """No handle is left: ``request`` is sent, or given up, once it is known whether there will be one."""

    def watch(self, request: OfOperation) -> None:
        """``request``, sent again, ends with its operation."""

    def ends_early(self, end: int) -> Slot[Attributes] | None:
        """The server says that the file ends at ``end``. Asks for its attributes if that is less than it
        reported, and its handles may not show what was written later."""

    def renew(self, handle: ServerHandle) -> bool:
        """Gives up ``handle``, which does not show all of the file. False if another one shows no more, or
        none can be had."""

    def beside(self, connection: Connection, target: Connection) -> ServerHandle | None:
        """A handle on another connection than ``connection``, alive and not stalled. If there is none, one is
        opened on ``target``, for later."""


class OfOperation(Protocol):
    """What ends with its operation (``remote.pool.silence_deadline``)."""

    started: float
    """When that began, by ``clock.awake``."""

    @property
    def ended(self) -> bool:
        """As ``Watched.ended``."""

    def give_up(self, failure: OSError) -> None:
        """As ``Watched.give_up``."""


class Repeatable(Protocol):
    """A request on an open file that is sent again if its session is lost."""

    started: float
    """When it was made, by ``clock.awake``."""
    deadline: float
    """When it is given up, infinite until its session was first lost."""

    def send(self) -> None:
        """Send it, for the first time or again."""

    def give_up(self, failure: OSError) -> None:
        """It will not be sent again."""


def may_resend(file: Handles, request: Repeatable, handle: ServerHandle, failure: SessionLostError) -> bool:
    """The session of ``handle`` took ``request`` with it. False if that is past its deadline: it is then
    given up.

    The deadline counts from when the server fell silent, as it does while a session lives, and does not start
    anew if the next session is lost too. If a server breaks the protocol as the request is sent again, it
    most likely does so at this same request, which is then given up at once.
    """
    file.drop(handle)
    breach_again = failure.errno == errno.EPROTO and request.deadline != math.inf
    if request.deadline == math.inf:
        request.deadline = max(request.started, silent_since(handle.session)) + file.patience
    if clock.awake() < request.deadline and not breach_again:
        return True
    request.give_up(failure)
    return False


def may_be_too_large(failure: BaseException) -> bool:
    """Whether a server may have refused a request for its size."""
    return isinstance(failure, StatusError) and failure.status in SIZE_REFUSALS and not failure.explicit


def piece_size(length: int, limit: int) -> int:
    """The size of the pieces in which ``length`` bytes travel: as few as possible, of even size."""
    if length <= limit:
        return length
    count = -(-length // limit)
    even = -(-length // count)
    return min(-(-even // PAGE) * PAGE, limit)
