"""What lies between the mount and its server: connections in memory, with delays, cuts and refusals.

Owns when a request is carried out and whether its answer arrives. ``MemoryStream`` stands in the place of
``sftpfs.aio.ByteStream``; ``install`` gives ``sftpfs.sftp`` the few functions of ``os`` and ``trio`` that it
calls on one. A channel keeps the order of what is sent over it, as TCP and the server's process do; two do
not.
"""

from __future__ import annotations

import math
import random
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from tests.simulation.disk import Disk, Node
from tests.simulation.packets import MOST_READ
from tests.simulation.server import READDIR_NAMES, CoreSession
from tests.simulation.virtual import EventClock

if TYPE_CHECKING:
    from tests.simulation.transport import MemoryTransport

MOUNT = "mount"
"""Who changes what the mount asked for, in ``Disk.by``."""

WINDOW = 1 << 20
"""Bytes on their way to the server after which a channel takes nothing more for now."""

ORDER = 1e-7
"""Seconds between two messages of one channel at least, so that they stay in order."""

CONNECT_TIMEOUT = 20.0


class Network:
    """``at`` is the clock's: what happens on the way and at the server needs no task."""

    def __init__(
        self, disk: Disk, clock: EventClock, rng: random.Random, one_way: float, jitter: float
    ) -> None:
        self.disk = disk
        self.clock = clock
        self.rng = rng
        self.largest = MOST_READ
        """Bytes of one request, as the server tells."""
        self.listed = READDIR_NAMES
        self.proc = False
        self.one_way = one_way
        self.jitter = jitter
        self.hole_until = -math.inf
        """Nothing passes until then."""
        self.refused_until = -math.inf
        """Nobody is let in until then."""
        self.transports: list[MemoryTransport] = []
        self.traps: list[Trap] = []
        self.refusals: list[Refusal] = []
        self.requests = 0
        self.trace: Callable[..., None] | None = None
        self.on_cut: Callable[[float, float], None] = lambda begin, end: None
        """Told of each cut: when, and until when nobody is let in."""
        self.on_refusal: Callable[[str, int, Node | None], None] = lambda kind, number, node: None
        self.at = clock.at

    def delay(self) -> float:
        """Seconds one message takes."""
        if not self.one_way:
            return 0.0
        return self.one_way * (1.0 + self.jitter * self.rng.random())

    async def run(self) -> None:
        """Raise what something that happened raised."""
        await self.clock.failed.wait()
        assert self.clock.failure is not None
        raise self.clock.failure

    def alive(self) -> list[MemoryTransport]:
        """Connections there are, the first first."""
        self.transports = [one for one in self.transports if not one.closed.is_set()]
        return self.transports

    def trapped(self, kind: str, when: str) -> Trap | None:
        """The trap that a request of ``kind`` springs, which is gone then."""
        for trap in self.traps:
            if trap.when == when and trap.kind in (kind, "any"):
                if trap.skip:
                    trap.skip -= 1
                    continue
                self.traps.remove(trap)
                return trap
        return None

    def refusal(self, kind: str, node: Node | None) -> int | None:
        """The errno a request of ``kind`` is refused with, if it is."""
        for refusal in self.refusals:
            if refusal.kind == kind:
                refusal.count -= 1
                if refusal.count <= 0:
                    self.refusals.remove(refusal)
                self.on_refusal(kind, refusal.number, node)
                return refusal.number
        return None


class Trap:
    """The next request of a kind (after ``skip`` others) costs its connection, before or after it was done.
    ``refused``: seconds nobody is let in after that."""

    def __init__(self, kind: str, when: str, refused: float = 0.0, skip: int = 0) -> None:
        self.kind = kind
        self.when = when
        self.refused = refused
        self.skip = skip


class Refusal:
    """The next ``count`` requests of a kind fail with an errno of the server's."""

    def __init__(self, kind: str, number: int, count: int) -> None:
        self.kind = kind
        self.number = number
        self.count = count


class Channel:
    """One SFTP stream: a process at the server, and bytes on their way both ways."""

    def __init__(self, network: Network, transport: MemoryTransport, session: CoreSession) -> None:
        self.network = network
        self.transport = transport
        self.session = session
        self.ended = False
        """The client's end is closed."""
        self.eof = False
        self.received: deque[bytes] = deque()
        self._partial = bytearray()
        self._under_way = 0
        self._arrival = 0.0
        self._answer = 0.0
        self._held_up = 0.0
        self._readers: list[trio.lowlevel.Task] = []
        self._writers: list[trio.lowlevel.Task] = []

    # -- the client's end --------------------------------------------------------

    def writev(self, buffers: Any) -> int:
        """As os.writev on a non-blocking socket."""
        if self.ended or self.eof:
            raise BrokenPipeError(32, "Broken pipe")
        if self._under_way >= WINDOW:
            raise BlockingIOError
        data = b"".join(buffers)
        self._partial += data
        start, size = 0, len(self._partial)
        while size - start >= 4:
            (length,) = struct.unpack_from(">I", self._partial, start)
            if size - start < length + 4:
                break
            self._request(bytes(self._partial[start + 4 : start + 4 + length]))
            start += length + 4
        del self._partial[:start]
        return len(data)

    def readv(self, spaces: Any) -> int:
        """As os.readv on a non-blocking socket."""
        if not self.received:
            if self.eof:
                return 0
            raise BlockingIOError
        space = spaces[0]
        count = 0
        while self.received and count < len(space):
            chunk = self.received.popleft()
            taken = min(len(chunk), len(space) - count)
            space[count : count + taken] = chunk[:taken]
            count += taken
            if taken < len(chunk):
                self.received.appendleft(chunk[taken:])
        return count

    async def wait_readable(self) -> None:
        if self.ended:
            raise trio.ClosedResourceError
        if self.received or self.eof:
            await trio.lowlevel.checkpoint()
            return
        await self._wait(self._readers)

    async def wait_writable(self) -> None:
        if self.ended:
            raise trio.ClosedResourceError
        if self.eof or self._under_way < WINDOW:
            await trio.lowlevel.checkpoint()
            return
        await self._wait(self._writers)

    async def _wait(self, waiters: list[trio.lowlevel.Task]) -> None:
        task = trio.lowlevel.current_task()
        waiters.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            waiters.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if self.ended:
            raise trio.ClosedResourceError

    def close(self) -> None:
        """The client closes its end: what it sent and was not done yet is not done any more."""
        if not self.ended:
            self.ended = True
            self.session.close()
            self._wake(self._readers)
            self._wake(self._writers)

    @staticmethod
    def _wake(waiters: list[trio.lowlevel.Task]) -> None:
        for task in waiters:
            trio.lowlevel.reschedule(task)
        waiters.clear()

    # -- the way and the server ----------------------------------------------------

    def _request(self, packet: bytes) -> None:
        self._under_way += len(packet)
        self._arrival = max(self._arrival + ORDER, trio.current_time() + self.network.delay())
        self.network.at(self._arrival, lambda: self._arrived(packet))

    def _gone(self) -> bool:
        return self.ended or self.transport.dead

    def _arrived(self, packet: bytes) -> None:
        if self._gone():
            return
        network = self.network
        until = max(network.hole_until, self.transport.silent_until)
        if until > trio.current_time():
            self._held_up = max(self._held_up + ORDER, until)
            self.network.at(self._held_up, lambda: self._arrived(packet))
            return
        self._under_way -= len(packet)
        if self._writers and self._under_way < WINDOW:
            self._wake(self._writers)
        network.requests += 1
        kind = self.session.kind_of(packet)
        trap = network.trapped(kind, "before") if network.traps else None
        if trap is not None:
            self.transport.cut(trap.refused)
            return
        reply = self.session.handle(packet)
        if network.trace is not None:
            network.trace(self, kind, packet, reply)
        trap = network.trapped(kind, "after") if network.traps else None
        if trap is not None:
            self.transport.cut(trap.refused)
            return
        self._answer = max(self._answer + ORDER, trio.current_time() + network.delay())
        network.at(self._answer, lambda: self._answered(reply))

    def _answered(self, reply: bytes) -> None:
        if self._gone():
            return
        until = max(self.network.hole_until, self.transport.mute_until)
        if until > trio.current_time():
            self._held_up = max(self._held_up + ORDER, until)
            self.network.at(self._held_up, lambda: self._answered(reply))
            return
        self.received.append(reply)
        self._wake(self._readers)

    def hang_up(self) -> None:
        """The stream ends, as the client sees it."""
        self.eof = True
        self._wake(self._readers)
        self._wake(self._writers)
