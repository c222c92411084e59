"""What waits to be sent for one file: its writes, and what must not overtake them.

One FIFO a file. A write waits there while no handle is alive, while a stripe is compared, or while its
connection has enough to send. A *follower* (``remote.transfers.handle_request``) covers the writes made
before it: FSYNC, FSETSTAT, the FSTAT that settles. It leaves once each of those was answered for good, or is
under way before it on the same session that it takes, whose requests the server carries out in order. Writes
made after a follower may pass it while it waits, because it says nothing of them. If a write that stood
before a follower has to be sent again (refused for its size, for example), the follower was carried out too
early, and is sent again behind it.

Owned by ``remote.files.pooled_file``, one object a file. Works in callbacks of the session's slots, without
tasks.

INVARIANT: a request in ``queue`` waits for a handle, which ``PooledFile.unreachable`` has made; for ``held``
to end; for the limit of the link, which looks at the queue again (``_limited``); or for an answer to a write
of this file, which does, too.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable
from typing import Literal, Protocol

from sftpfs.aio import Slot
from sftpfs.errors import error, fresh
from sftpfs.remote.pool.connection import Connection, ServerHandle
from sftpfs.types import Buffer, OpenFlags


class Stretch:
    """The writes made between two followers.

    INVARIANT: ``unsent`` and ``under_way`` count its pieces that are neither done nor given up.
    """

    __slots__ = ("number", "under_way", "unsent")

    def __init__(self, number: int) -> None:
        self.number = number
        self.unsent = 0
        self.under_way: dict[Connection, int] = {}

    @property
    def done(self) -> bool:
        """Nothing of it will be sent any more."""
        return not self.unsent and not self.under_way


class QueuedWrite(Protocol):
    """A piece of a write, as the queue and others that look through it see it
    (``remote.transfers.write_request``)."""

    writes: Literal[True]
    place: int | None
    """Where it goes, if that is not at its offset (``remote.transfers.append_offset``)."""
    started: float
    deadline: float

    @property
    def sent(self) -> bool:
        """It was on its way at least once."""

    @property
    def data(self) -> Buffer:
        """What it writes."""

    @property
    def length(self) -> int:
        """Bytes."""

    def send(self) -> None:
        """As ``Repeatable.send``."""

    def send_on(self, handle: ServerHandle) -> None:
        """Send it by ``handle``."""

    def give_up(self, failure: OSError) -> None:
        """As ``Repeatable.give_up``."""

    def landed(self) -> None:
        """It was carried out, though its answer was lost."""


class QueuedFollower(Protocol):
    """A request that covers the writes made before it (``remote.transfers.handle_request``)."""

    writes: Literal[False]
    started: float
    deadline: float

    @property
    def sent(self) -> bool:
        """It was on its way at least once."""

    def may_go(self, handle: ServerHandle) -> bool:
        """Whether it may be sent by ``handle`` now."""

    def send(self) -> None:
        """As ``Repeatable.send``."""

    def send_on(self, handle: ServerHandle) -> None:
        """Send it by ``handle``."""

    def give_up(self, failure: OSError) -> None:
        """As ``Repeatable.give_up``."""


Queued = QueuedWrite | QueuedFollower


class Sender(Protocol):
    """What is needed of the open file."""

    flags: OpenFlags
    closed: bool

    def choose(self) -> ServerHandle | None:
        """The handle for the next piece; None if none is left."""

    def primary(self) -> ServerHandle | None:
        """The handle for everything but bulk."""

    def unreachable(self) -> OSError | None:
        """No handle is left. Returns why there will be none; None if one is being made."""

    def placed(self, piece: QueuedWrite) -> bool:
        """Whether it is known where ``piece`` goes. If not, the queue is pumped once it is."""


class SendQueue:
    """See the module."""

    __slots__ = ("_drained", "_file", "_limited", "_pumping", "_stretches", "held", "queue", "under_way")

    def __init__(self, file: Sender) -> None:
        self.queue: deque[Queued] = deque()
        self.held = False
        """Writes are kept back."""
        self.under_way = 0
        """Pieces of writes sent and not answered."""
        self._file = file
        self._stretches = deque([Stretch(0)])
        self._pumping = False
        self._limited = False
        self._drained: Slot[None] | None = None

    @property
    def stretch(self) -> Stretch:
        """Where the next write belongs."""
        return self._stretches[-1]

    def follow(self) -> Stretch:
        """The last writes that a request made now has to follow."""
        stretches = self._stretches
        last = stretches[-1]
        stretches.append(Stretch(last.number + 1))
        while len(stretches) > 1 and stretches[0].done:
            stretches.popleft()
        return last

    def covered(self, stretch: Stretch) -> bool:
        """Every write up to ``stretch`` is done, or was given up."""
        return all(one.done for one in self._stretches if one.number <= stretch.number)

    def put(self, request: Queued) -> None:
        """Send ``request`` now, or as soon as it may go."""
        if self.queue or not self._sent(request):
            self.queue.append(request)
            self.pump()

    def pump(self) -> None:
        """Send what may go."""
        if self._pumping or not self.queue:
            return
        self._pumping = True
        passed: list[Queued] = []
        while self.queue:
            request = self.queue.popleft()
            if not self._sent(request):
                passed.append(request)
                if request.writes:
                    break
        self.queue.extendleft(reversed(passed))
        self._pumping = False
        if self.queue and (self._file.closed or self._file.primary() is None):
            failure = self._file.unreachable()
            if failure is not None:
                self.give_up(self.take(), failure)

    def _sent(self, request: Queued) -> bool:
        if self._file.closed:
            return False
        if request.writes:
            handle = None if self.held else self._file.choose()
            if handle is None or self._enough(handle) or not self._file.placed(request):
                return False
        else:
            handle = self._file.primary()
            if handle is None or not request.may_go(handle):
                return False
        request.send_on(handle)
        return True

    def _enough(self, handle: ServerHandle) -> bool:
        """Its connection has enough to send, and an answer to this file will come, which looks again. Or the
        limit holds writes back, and will release them."""
        link = handle.session.link.up
        if link.held:
            if not self._limited:
                self._limited = True
                link.wait(self._go_on)
            return True
        return self.under_way > 0 and handle.connection.full and OpenFlags.APPEND not in self._file.flags

    def _go_on(self) -> None:
        self._limited = False
        self.pump()

    def in_order(self, stretch: Stretch, connection: Connection) -> bool:
        """Every write up to ``stretch`` is done, or on its way on ``connection``."""
        for one in self._stretches:
            if one.number > stretch.number:
                break
            if one.unsent or any(other is not connection for other in one.under_way):
                return False
        return True

    def take(self) -> list[Queued]:
        """Everything that waits. The caller sends or gives up each."""
        waiting, self.queue = list(self.queue), deque()
        return waiting

    @staticmethod
    def give_up(requests: Iterable[Queued], failure: OSError) -> None:
        """None of ``requests`` will be sent."""
        for request in requests:
            request.give_up(fresh(failure))

    def flush(self, handle: ServerHandle) -> None:
        """The file is being closed: everything that waits goes by ``handle``, full or not."""
        for request in self.take():
            if request.writes and not self._file.placed(request):
                request.give_up(error(errno.EIO, "the file was closed before its end was told"))
            elif request.writes or request.may_go(handle):
                request.send_on(handle)
            else:
                self.queue.append(request)

    # what pieces tell

    def departed(self, stretch: Stretch, connection: Connection) -> None:
        """A piece of ``stretch`` is on its way."""
        self.under_way += 1
        stretch.unsent -= 1
        stretch.under_way[connection] = stretch.under_way.get(connection, 0) + 1

    def answered(self, stretch: Stretch, connection: Connection, again: int = 0) -> None:
        """A piece of ``stretch`` was answered. ``again``: how many are sent in its place."""
        self.under_way -= 1
        stretch.unsent += again
        left = stretch.under_way[connection] - 1
        if left:
            stretch.under_way[connection] = left
        else:
            del stretch.under_way[connection]
        if not self.under_way and self._drained is not None:
            drained, self._drained = self._drained, None
            drained.set(None)

    # what remote.stripes asks for

    async def hold(self) -> None:
        """Keeps writes back, and waits for those under way, because their size and time would blur the
        comparison."""
        self.held = True
        if self.under_way:
            self._drained = Slot()
            await self._drained.wait()

    def release(self) -> None:
        """Send what was kept back."""
        self.held = False
        self.pump()
