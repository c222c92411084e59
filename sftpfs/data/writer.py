"""Writing one file: absorb, send, count what failed, settle.

Owns the dirty extents and when they travel. Everything but the waiting is
synchronous: between two awaits nobody else runs, and replies come as callbacks.
"""

from __future__ import annotations

import errno
import logging
import time

from sftpfs.aio import Slot
from sftpfs.data.extents import EXTENT_BYTES, Batch, DirtyExtents, Extent
from sftpfs.data.reader import ContentReader
from sftpfs.data.state import ContentState, HandleState, MountContent
from sftpfs.types import Attributes

logger = logging.getLogger(__name__)

UNSENT_BYTES = 4 * EXTENT_BYTES
"""Scattered small writes are held back up to this, then all are sent: enough to gather
neighbours, little enough that close does not find everything still to do."""

LINGER_SECONDS = 1.0
"""Dirty data nobody flushes is sent after this, and local attributes give way to the server's."""


class Outgoing:
    """One extent under way."""

    __slots__ = ("extent", "slot", "writer")

    def __init__(self, writer: ContentWriter, extent: Extent[HandleState]) -> None:
        self.writer = writer
        self.extent = extent
        self.slot: Slot[None] = extent.owner.remote.start_write(extent.offset, extent.data)

    def completed(self, _: Slot[None]) -> None:
        """Slot callback."""
        self.writer.acknowledged(self)


class Settlement:
    """The FSTAT that ends a stretch of writing, valid where nothing was written since it left."""

    __slots__ = ("epoch", "slot", "writer")

    def __init__(self, writer: ContentWriter, handle: HandleState, epoch: int) -> None:
        self.writer = writer
        self.epoch = epoch
        self.slot: Slot[Attributes] = handle.remote.start_fstat()

    def completed(self, _: Slot[Attributes]) -> None:
        """Slot callback."""
        self.writer.told(self)

    async def wait(self) -> None:
        """Until the answer was taken in, whatever it was."""
        try:
            await self.slot.wait()
        except OSError:
            pass  # the file stays dirty: our size and time go on to rule


class ContentWriter:
    """Everything written to one file.

    INVARIANT: the gate holds exactly the bytes of all dirty extents of all files.
    INVARIANT: dirty data is all of one appending handle, or all of handles that write
    at offsets; of the former the local offsets are a guess until settled.
    """

    __slots__ = (
        "_appender",
        "_mount",
        "_reader",
        "_settlement",
        "_since_ns",
        "_state",
        "_under_way",
        "_untold",
        "_waiting",
        "extents",
        "failure",
        "handles",
    )

    def __init__(
        self,
        state: ContentState,
        mount: MountContent,
        extents: DirtyExtents[HandleState],
        reader: ContentReader,
        handles: list[HandleState],
    ) -> None:
        self.extents = extents
        self.handles = handles
        """The open handles of the file, shared with its owner; read only."""
        self.failure: OSError | None = None
        """The first failed write since the file was last clean."""
        self._state = state
        self._mount = mount
        self._reader = reader
        self._appender: HandleState | None = None
        self._settlement: Settlement | None = None
        self._untold: OSError | None = None  # why the last FSTAT told nothing
        self._since_ns = 0  # when the oldest unsent byte was written, wall clock
        # Closed batches not yet done, oldest first.
        self._waiting: list[Batch] = []
        # Extents under way through each handle, so that the one FSTAT may go along.
        self._under_way: dict[HandleState, int] = {}

    @property
    def number(self) -> int:
        """The inode's number."""
        return self._state.number

    # Absorbing.

    def write_nowait(self, handle: HandleState, offset: int, data: bytes) -> bool:
        """Absorb without waiting; False where the gate is full or other data must go first."""
        if self._hazard(handle) or not self._mount.gate.take_nowait(len(data)):
            return False
        self._absorb(handle, offset, data)
        return True

    async def write(self, handle: HandleState, offset: int, data: bytes) -> None:
        """Absorb, waiting for room or for what must go first."""
        size = len(data)
        gate = self._mount.gate
        while True:
            if self._hazard(handle):
                for batch in self.send_and_close():
                    await batch.slot.wait()
                continue
            if gate.take_nowait(size):
                break
            self._mount.send_all()
            await gate.take(size)
            if not self._hazard(handle):
                break
            gate.release(size)
        self._absorb(handle, offset, data)

    def _hazard(self, handle: HandleState) -> bool:
        """Must what is dirty be acknowledged before ``handle`` may write?"""
        if handle.append:
            return bool(self.extents) and self._appender is not handle
        return self._appender is not None and bool(self.extents)

    def _absorb(self, handle: HandleState, offset: int, data: bytes) -> None:
        state, extents = self._state, self.extents
        if not state.dirty:
            state.touch()
            self._mount.dirty[self] = None
        if handle.append:
            self._appender = handle
            offset = state.shown_size
        else:
            self._appender = None
        end = offset + len(data)
        self._reader.overwritten(offset, end)
        if end > state.shown_size:
            state.size = end
        now = time.time_ns()
        state.mtime_ns = now
        state.epoch += 1
        if not extents.unsent_bytes:
            self._since_ns = now
        replaced = extents.write(offset, data, handle)
        if replaced:
            self._mount.gate.release(replaced)
        full = extents.full(offset)
        if full is not None:
            if handle.append:
                self.send_all()
            else:
                self._send(full)
        elif extents.unsent_bytes > UNSENT_BYTES:
            self.send_all()

    # Sending.

    def send_all(self) -> None:
        """Send every extent; those over one under way follow once it is acknowledged."""
        for extent in self.extents.unsent():
            self._send(extent)

    def _send(self, extent: Extent[HandleState]) -> None:
        if not self.extents.start(extent):
            return
        owner = extent.owner
        self._under_way[owner] = self._under_way.get(owner, 0) + 1
        outgoing = Outgoing(self, extent)
        if outgoing.slot.done:
            self.acknowledged(outgoing)
        else:
            outgoing.slot.callback = outgoing.completed

    def acknowledged(self, outgoing: Outgoing) -> None:
        """The server took the extent, or never will."""
        extent = outgoing.extent
        owner = extent.owner
        left = self._under_way[owner] - 1
        if left:
            self._under_way[owner] = left
        else:
            del self._under_way[owner]
        problem = outgoing.slot.error
        if problem is not None:
            self._failed(extent, problem)
        self.extents.finish(extent)
        self._mount.gate.release(len(extent.data))
        if self.extents.blocked:
            for blocked in list(self.extents.blocked):
                if blocked.blocked:
                    self._send(blocked)
        if not self.extents and not self.handles and self._state.dirty:
            self.abandon()

    def _failed(self, extent: Extent[HandleState], problem: BaseException) -> None:
        failure = problem if isinstance(problem, OSError) else OSError(errno.EIO, str(problem))
        logger.error(
            "inode %d: bytes %d to %d could not be written and are lost: %s",
            self._state.number,
            extent.offset,
            extent.end,
            failure.strerror or failure,
        )
        if extent.batch.error is None:
            extent.batch.error = failure
        if self.failure is None:
            self.failure = failure
        told = False
        for handle in self.handles:
            if handle.writable:
                told = True
                if handle.error is None:
                    handle.error = failure
        if not told:
            self._mount.unreported(self._state.number, failure)

    # Settling.

    def send_and_close(self) -> list[Batch]:
        """Send everything; the batches to wait for until all written so far is acknowledged."""
        self.send_all()
        self._waiting = [batch for batch in self._waiting if not batch.slot.done]
        if self.extents.batch.outstanding:
            self._waiting.append(self.extents.close_batch())
        return list(self._waiting)

    async def push(self, handle: HandleState, *, fsync: bool) -> None:
        """Every write so far is acknowledged, and on the server's disk where ``fsync``; no settling."""
        batches = self.send_and_close()
        synced = handle.remote.start_fsync() if fsync and self._in_order(handle) else None
        for batch in batches:
            await batch.slot.wait()
        if fsync and synced is None:
            synced = handle.remote.start_fsync()
        if synced is not None:
            await synced.wait()

    async def flush(self, handle: HandleState | None, *, fsync: bool = False) -> OSError | None:
        """All written so far is acknowledged or failed; then clean, unless more was written meanwhile.

        One wait where all travels on one connection, since the server keeps the order.
        Returns the first failure among these writes; raises only what FSYNC raises.
        """
        handle = handle or self._any_handle()
        if not self._state.dirty:
            if fsync and handle is not None:
                await handle.remote.start_fsync().wait()
            return None
        batches = self.send_and_close()
        settlement: Settlement | None = None
        synced: Slot[None] | None = None
        if handle is not None and self._in_order(handle):
            synced = handle.remote.start_fsync() if fsync else None
            settlement = self._start_settlement(handle)
        failure: OSError | None = None
        for batch in batches:
            await batch.slot.wait()
            failure = failure or batch.error
        if handle is None:
            return failure  # released meanwhile: nobody to ask, the last reply makes it clean
        if fsync and synced is None:
            synced = handle.remote.start_fsync()
        if settlement is None and self._state.dirty and not self.extents:
            settlement = self._start_settlement(handle)
        if settlement is not None:
            await settlement.wait()
        if synced is not None:
            await synced.wait()
        return failure

    def _in_order(self, handle: HandleState) -> bool:
        """Is everything under way on the one connection of ``handle``, with nothing held back?"""
        return (
            handle.remote.ordered
            and not self.extents.blocked
            and self._under_way.get(handle, 0) == len(self.extents.sent)
        )

    def _any_handle(self) -> HandleState | None:
        """A handle to ask through, one that may have written where there is one."""
        for handle in self.handles:
            if handle.writable:
                return handle
        return self.handles[0] if self.handles else None

    async def settle(self) -> Attributes | None:
        """Everything written is on the server. Raises the first failure since the file was clean."""
        state = self._state
        if not state.dirty:
            return None
        while state.dirty:
            failure = self.failure
            failure = await self.flush(None) or failure
            if failure is not None:
                self.failure = None
                raise OSError(failure.errno, failure.strerror)
            if state.dirty and not self.extents and self._untold is not None:
                raise OSError(self._untold.errno, self._untold.strerror)
        return state.attributes

    def _start_settlement(self, handle: HandleState) -> Settlement:
        settlement = Settlement(self, handle, self._state.epoch)
        self._settlement = settlement
        if settlement.slot.done:
            self.told(settlement)
        else:
            settlement.slot.callback = settlement.completed
        return settlement

    def told(self, settlement: Settlement) -> None:
        """FSTAT is here: clean, where it saw all we wrote."""
        if self._settlement is settlement:
            self._settlement = None
        problem = settlement.slot.error
        self._untold = problem if isinstance(problem, OSError) else None
        if self.extents or not self._state.dirty or self._state.epoch != settlement.epoch:
            return
        if problem is None:
            attributes = settlement.slot.result()
            self._clean(attributes, lost=self.failure is not None)
        elif self.failure is not None:
            self.abandon()  # rather no size than one that counts what was lost

    def _clean(self, attributes: Attributes, lost: bool) -> None:
        state, mount = self._state, self._mount
        foreign = attributes.size != state.size
        self.failure = None
        self._appender = None
        mount.dirty.pop(self, None)
        state.settled(attributes)
        if lost or foreign:
            self._reader.drop()
        mount.observer.content_settled(state.number, attributes)

    def abandon(self) -> None:
        """Nothing is dirty any more, but the server could not be asked what the file is like now.

        Where no write failed that is what we wrote, else what was there before; what
        is read next asks again.
        """
        state = self._state
        assert state.attributes is not None and state.size is not None and state.mtime_ns is not None
        attributes = state.attributes
        if self.failure is None:
            attributes = attributes._replace(size=state.size, mtime=state.mtime_ns // 10**9)
        self._clean(attributes, lost=True)
        state.verify = True

    def tidy(self, now_ns: int) -> None:
        """Send what lingers unsent; ask for the attributes where nothing was written for a while."""
        state = self._state
        lingering = LINGER_SECONDS * 1e9
        if self.extents.unsent_bytes:
            if abs(now_ns - self._since_ns) >= lingering:
                self.send_all()
        elif not self.extents and self._settlement is None and state.mtime_ns is not None:
            handle = self._any_handle()
            if handle is not None and abs(now_ns - state.mtime_ns) >= lingering:
                self._start_settlement(handle)
