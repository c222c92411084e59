"""What waits to be sent of one file: its writes, and what must not overtake them.

One FIFO a file. A write waits there while no handle is alive, while a stripe is compared, or while its
connection has enough to send. What covers the writes made before it (FSYNC, FSETSTAT, the FSTAT that settles:
a *follower*, ``remote.call``) leaves once each of those was answered for good, or is under way before it on
the very session it takes, whose requests the server carries out in order. Writes made after a follower may
pass it while it waits: nothing is said of them. Where one that stood before it has to be sent again (refused
for its size, say), the follower was carried out too early, and is sent again behind it.

Owned by ``remote.file``, one object a file. Works in callbacks of the session's slots, without tasks.

INVARIANT: a request in ``queue`` waits for a handle, which ``File.unreachable`` has made; for ``held`` to
end; or for an answer to a write of this file, which looks at the queue again.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from sftpfs.aio import Slot
from sftpfs.errors import error
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.connection import Connection, Handle
from sftpfs.remote.waiting import copied

if TYPE_CHECKING:
    from sftpfs.remote.call import Follower
    from sftpfs.remote.writes import WritePiece


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


class Sender(Protocol):
    """What is needed of the open file."""

    flags: OpenFlags
    closed: bool

    def choose(self) -> Handle | None:
        """The handle for the next piece, None where none is left."""

    def primary(self) -> Handle | None:
        """The handle for everything but bulk."""

    def unreachable(self) -> OSError | None:
        """No handle is left: why there will be none; None where one is being made."""

    def placed(self, piece: WritePiece) -> bool:
        """Whether it is known where ``piece`` goes; else the outbox is pumped once it is."""


class Outbox:
    """See the module."""

    __slots__ = ("_drained", "_file", "_pumping", "_stretches", "held", "queue", "under_way")

    def __init__(self, file: Sender) -> None:
        self.queue: deque[WritePiece | Follower[Any]] = deque()
        self.held = False
        """Writes are kept back."""
        self.under_way = 0
        """Pieces of writes sent and not answered."""
        self._file = file
        self._stretches = deque([Stretch(0)])
        self._pumping = False
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

    def put(self, request: WritePiece | Follower[Any]) -> None:
        """Send ``request`` now, or as soon as it may go."""
        if self.queue or not self._sent(request):
            self.queue.append(request)
            self.pump()

    def pump(self) -> None:
        """Send what may go."""
        if self._pumping or not self.queue:
            return
        self._pumping = True
        passed: list[WritePiece | Follower[Any]] = []
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

    def _sent(self, request: WritePiece | Follower[Any]) -> bool:
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

    def _enough(self, handle: Handle) -> bool:
        """Its connection has enough to send, and an answer to this file is to come, which looks again."""
        return self.under_way > 0 and handle.connection.full and OpenFlags.APPEND not in self._file.flags

    def in_order(self, stretch: Stretch, connection: Connection) -> bool:
        """Every write up to ``stretch`` is done, or on its way on ``connection``."""
        for one in self._stretches:
            if one.number > stretch.number:
                break
            if one.unsent or any(other is not connection for other in one.under_way):
                return False
        return True

    def take(self) -> list[WritePiece | Follower[Any]]:
        """All that waits; the caller sends or gives up each."""
        waiting, self.queue = list(self.queue), deque()
        return waiting

    @staticmethod
    def give_up(requests: Iterable[WritePiece | Follower[Any]], failure: OSError) -> None:
        """None of ``requests`` will be sent."""
        for request in requests:
            request.give_up(copied(failure))

    def flush(self, handle: Handle) -> None:
        """The file is being closed: all that waits goes by ``handle``, full or not."""
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
        """A piece of ``stretch`` was answered; ``again``: so many are to be sent in its place."""
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
        """Keep writes back, and wait for those under way: their size and time would blur the comparison."""
        self.held = True
        if self.under_way:
            self._drained = Slot()
            await self._drained.wait()

    def release(self) -> None:
        """Send what was kept back."""
        self.held = False
        self.pump()
