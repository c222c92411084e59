"""What reads, writes and calls of an open file have in common: they are sent again, elsewhere or later.

Owns when that is so. Works in callbacks of the session's slots, without tasks. Used by
``remote.reads``, ``remote.writes`` and ``remote.call``; ``remote.file`` says on which handle
each request travels. One whose session is lost is sent again on another handle of the
file, or waits until there is one, unless it is past its deadline.
"""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING, Any, Protocol

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.connection import Connection, Handle
from sftpfs.remote.sizes import RequestSizes
from sftpfs.types import Attributes

if TYPE_CHECKING:
    from sftpfs.remote.outbox import Outbox
    from sftpfs.remote.version import Change
    from sftpfs.types import Buffer

PAGE = 4096
"""Pieces begin at multiples of it, so that no page of the server's is read or written twice."""

SIZE_REFUSALS = (Status.FAILURE, Status.BAD_MESSAGE)
"""What servers say to a request that is too large for them."""


class Handles(Protocol):
    """What a transfer needs of the open file."""

    flags: OpenFlags
    closed: bool
    patience: float
    read_sizes: RequestSizes
    write_sizes: RequestSizes
    outbox: Outbox

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

    def watch(self, request: OfOperation) -> None:
        """``request``, sent again, ends with its operation."""

    def write_sent(self, handle: Handle, offset: int, length: int) -> Change | None:
        """A piece of a write is on its way."""

    def write_ended(self, change: Change | None, data: Buffer, failure: BaseException | None) -> None:
        """A piece of a write was answered, or its session is lost; None: the server has it."""

    def ends_early(self, end: int) -> Slot[Attributes] | None:
        """The server says that the file ends at ``end``: asked what it is like where that is less than it
        told, and its handles may not show what was written later."""

    def renew(self, handle: Handle) -> bool:
        """Give up ``handle``, which does not show all of the file; False where another shows no more, or none
        can be had."""

    def beside(self, connection: Connection, target: Connection) -> Handle | None:
        """A handle on another connection than ``connection``, alive and not stalled; where there is
        none one is opened on ``target``, for later."""


class OfOperation(Protocol):
    """What ends with its operation (``remote.silence``)."""

    started: float
    """When that began, by ``clock.awake``."""

    @property
    def ended(self) -> bool:
        """As ``Watched.ended``."""

    def give_up(self, failure: OSError) -> None:
        """As ``Watched.give_up``."""


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
    """When it was made, by ``clock.awake``."""
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
    if clock.awake() < request.deadline and not breach_again:
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
