"""Writing one file: absorb, send, count what failed, settle.

Owns the dirty extents and when they travel. Everything but the waiting is
synchronous: between two awaits nobody else runs, and replies come as callbacks.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.data.extents import EXTENT_BYTES, Batch, DirtyExtents, Extent
from sftpfs.data.lost import Losses
from sftpfs.data.outgoing import Outgoing, all_done
from sftpfs.data.reader import ContentReader
from sftpfs.data.riding import Rider
from sftpfs.data.settling import Settlement, Settling
from sftpfs.data.state import ContentState, HandleState, MountContent
from sftpfs.data.telling import Telling
from sftpfs.data.undecided import Undecided
from sftpfs.types import AttributeChange, Attributes

logger = logging.getLogger(__name__)

UNSENT_BYTES = 4 * EXTENT_BYTES
"""Scattered small writes are held back up to this, then all are sent: enough to gather
neighbours, little enough that close does not find everything still to do."""

LINGER_SECONDS = 1.0
"""Dirty data nobody flushes is sent after this, and local attributes give way to the server's."""


def _never() -> bool:
    return False


class ContentWriter:
    """Everything written to one file.

    INVARIANT: the gate holds exactly the bytes of all dirty extents of all files.
    INVARIANT: dirty data is all of one appending handle, or all of handles that write at offsets; the offsets
    of the former only keep its extents apart (``ContentState.appending``).
    INVARIANT: the FSTAT that settles follows a change of attributes through the same handle.
    """

    __slots__ = (
        "_appender",
        "_ended",
        "_mount",
        "_reader",
        "_since_ns",
        "_state",
        "_under_way",
        "extents",
        "handles",
        "losses",
        "rider",
        "settling",
        "telling",
        "undecided",
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
        self.telling = Telling(state.number, mount, extents, handles)
        self.rider = Rider(state, extents, handles, self._change_failed, self._abandon_if_unused)
        """Mode and times to be set after what was written so far."""
        self._state = state
        self._mount = mount
        self._reader = reader
        self._appender: HandleState | None = None
        self._since_ns = 0  # when the oldest unsent byte was written, wall clock
        self.losses = Losses(state.number, mount)
        self.settling = Settling(state, mount, extents, reader, self.rider, self.losses)
        self.undecided = Undecided(mount)
        # INVARIANT: not empty only while ``acknowledged`` works on what is in it, the first being under work.
        self._ended: deque[Outgoing] = deque()
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
                await self._settle_hazard()
                continue
            if gate.take_nowait(size):
                break
            self._mount.send_all()
            await gate.take(size)
            if not self._hazard(handle):
                break
            gate.release(size)
        self._absorb(handle, offset, data)

    def takes(self, handle: HandleState, offset: int) -> bool:
        """Whether the server takes a write of ``handle`` at ``offset``, as far as that is known."""
        end = self._state.shown_size
        return handle.remote.takes_write(end if handle.append else offset, end)

    def _hazard(self, handle: HandleState) -> bool:
        """Must what is dirty be acknowledged before ``handle`` may write?"""
        if self.rider.holds_writes:
            return True  # a write that overtook them would lose its mtime
        if handle.append:
            return bool(self.extents) and self._appender is not handle
        return self._appender is not None and bool(self.extents)

    async def _settle_hazard(self) -> None:
        await all_done(self.send_and_close())
        if self.rider.deferred.times:
            self.rider.ride()
            await all_done(self.extents.close_batches())

    def _touch(self) -> None:
        self._state.touch()
        self._mount.dirty[self.number] = self
        self.settling.asked_ns = clock.wall_ns()

    def _absorb(self, handle: HandleState, offset: int, data: bytes) -> None:
        state, extents = self._state, self.extents
        if not state.dirty:
            self._touch()
        if handle.append:
            if extents.unsent_bytes + len(data) > handle.remote.write_limit:
                self.send_all()  # requests end where writes do: another client may append between two
            self._appender = handle
            state.appending = True
            offset = max(state.shown_size, extents.end)
            state.size = state.shown_size + len(data)
            self._reader.extended()
        else:
            self._appender = None
            state.appending = False
            end = offset + len(data)
            self._reader.overwritten(offset, end)
            if end > state.shown_size:
                state.size = end
        state.written()
        if not extents.unsent_bytes:
            self._since_ns = clock.wall_ns()
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

    def defer(self, change: AttributeChange, demanded: bool) -> None:
        """Absorb ``change`` of mode or times, to go with the next flush. Only while there is a creator."""
        if not self._state.dirty:
            self._touch()
        self.rider.add(change, demanded)

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
        self.settling.sent += 1
        outgoing = Outgoing(self, extent, self.settling.sent)
        if outgoing.slot.done:
            self.acknowledged(outgoing)
        else:
            outgoing.slot.callback = outgoing.completed

    def acknowledged(self, outgoing: Outgoing) -> None:
        """The server took the extent, or never will; what waited for it is sent.

        A loop and no recursion: what is sent may have failed before ``_send`` returns, and that again.
        """
        self._ended.append(outgoing)
        if len(self._ended) > 1:
            return  # the loop below, further up the stack, comes to it
        while self._ended:
            self._end(self._ended[0])
            self._ended.popleft()
        self._abandon_if_unused()

    def _end(self, outgoing: Outgoing) -> None:
        extent = outgoing.extent
        owner = extent.owner
        left = self._under_way[owner] - 1
        if left:
            self._under_way[owner] = left
        else:
            del self._under_way[owner]
        problem = outgoing.slot.error
        if problem is not None:
            failure = problem if isinstance(problem, OSError) else OSError(errno.EIO, str(problem))
            self.losses.failed(extent, failure)
            self._failed(extent.batch, failure, owner, lost=not owner.reports)
        elif self.losses.incidents and not owner.append:
            self.losses.written(extent.offset, extent.end, synced=owner.fsync_writes)
        self.settling.ended(outgoing)
        freed = self.extents.finish(extent)
        self._mount.gate.release(len(extent.data))
        if isinstance(problem, OSError) and problem.errno == errno.ETIMEDOUT:
            self._fail_with(freed, OSError(problem.errno, problem.strerror))
        else:
            for one in freed:
                self._send(one)

    def _fail_with(self, waited: list[Extent[HandleState]], failure: OSError) -> None:
        """What was to be sent behind a write that missed the deadline has missed it as well: sent now, it
        would be waited for as long once more."""
        for extent in waited:
            self.losses.failed(extent, failure)
            self._failed(extent.batch, failure, extent.owner)
            self.extents.withdraw(extent)
            self._mount.gate.release(len(extent.data))

    def _abandon_if_unused(self) -> None:
        if not self.extents and not self.handles and self._state.dirty:
            self.settling.abandon()

    def _change_failed(self, batch: Batch, problem: BaseException) -> None:
        failure = problem if isinstance(problem, OSError) else OSError(errno.EIO, str(problem))
        reason = failure.strerror or failure
        logger.error("inode %d: mode or times could not be set: %s", self._state.number, reason)
        self._failed(batch, failure, self.rider.handle, lost=False)

    def _failed(
        self, batch: Batch, failure: OSError, owner: HandleState | None, *, lost: bool = True
    ) -> None:
        if batch.error is None:
            batch.error = failure
        if self.settling.failure is None:
            self.settling.failure = failure
        self.telling.failed(batch, failure, owner, lost=lost)

    # Settling.

    def send_and_close(self) -> list[Batch]:
        """Send everything; the batches to wait for until all written so far is acknowledged."""
        self.send_all()
        return self.extents.close_batches()

    async def push(self, handle: HandleState, *, fsync: bool) -> None:
        """Every write so far is acknowledged, and on the server's disk where ``fsync``; no settling."""
        batches = self.send_and_close()
        synced = handle.remote.start_fsync() if fsync and self._in_order(handle) else None
        await all_done(batches)
        if fsync and synced is None:
            synced = handle.remote.start_fsync()
        if synced is not None:
            await synced.wait()

    async def flush(
        self, handle: HandleState | None, *, fsync: bool = False, handed_over: Callable[[], bool] = _never
    ) -> OSError | None:
        """All written so far is acknowledged or failed; then clean, unless more was written meanwhile, or
        ``handed_over``, asked once all is sent: then ``hand_over`` follows, and makes it clean.

        One wait where all travels on one connection, since the server keeps the order.
        Returns the first failure among these writes; raises only what FSYNC raises.
        """
        failure, _ = await self._flush(handle, fsync=fsync, handed_over=handed_over)
        return failure

    async def _flush(
        self,
        handle: HandleState | None,
        *,
        fsync: bool = False,
        told: bool = False,
        handed_over: Callable[[], bool] = _never,
    ) -> tuple[OSError | None, Settlement | None]:
        """As ``flush``, and the FSTAT that followed these writes: always there is one where ``told``."""
        asked = handle or self._any_handle()
        if not self._state.dirty:
            if fsync and asked is not None:
                await asked.remote.start_fsync().wait()
            return None, None
        settlement: Settlement | None = None
        synced: Slot[None] | None = None
        self.send_all()
        decided = handed_over()
        through = self.rider.through(asked)
        in_order = self._in_order(through)
        if in_order:
            self.rider.ride()
        batches = self.extents.close_batches()
        if through is not None and in_order:
            synced = through.remote.start_fsync() if fsync else None
            settlement = None if decided else self.settling.start(through, behind=True)
        failure = await all_done(batches)
        if asked not in self.handles:
            asked = self._any_handle()
        if asked is None:
            return failure, None  # released meanwhile: nobody to ask, the last reply makes it clean
        if not (self.rider.deferred.times and self.extents) and self.rider.ride():
            refused = await all_done(self.extents.close_batches())
            failure = failure or refused
        through = self.rider.through(asked) or asked
        if failure is not None and failure.errno == errno.ETIMEDOUT:
            lost = self._state.dirty and self.settling.failure is not None
            if lost and settlement is None and not self.extents and not self.rider.busy:
                self.settling.abandon()  # asked now, the server would be waited for once more
            return failure, settlement
        if fsync and synced is None:
            synced = through.remote.start_fsync()
        if decided and failure is None:
            return None, None
        if settlement is None and self._state.dirty and (told or not self.extents):
            settlement = self._start_settlement(through)
        if settlement is not None:
            await settlement.wait()
        if synced is not None:
            await synced.wait()
        return failure, settlement

    async def hand_over(self, handle: HandleState) -> None:
        """What ``handle`` wrote, all of it acknowledged, is the server's by its CLOSE, or is lost."""
        state, mount, epoch = self._state, self._mount, self._state.epoch
        try:
            attributes = await handle.remote.start_hand_over().wait()
        except OSError as failure:
            self.refused(handle, failure)
            return
        self.undecided.decided(handle)
        if state.epoch != epoch or self.extents or self.rider.busy:
            return
        if state.dirty:
            self.settling.handed_over(attributes)
        else:
            if attributes.size != state.server_size:
                self._reader.drop()
            state.attributes = attributes
            mount.observer.content_settled(state.number, attributes)

    def refused(self, handle: HandleState, failure: OSError) -> None:
        """The server refused what ``handle`` wrote as it closed the file."""
        state = self._state
        reason = failure.strerror or failure
        logger.error(
            "inode %d: the server refused what was written as the file was closed: %s", state.number, reason
        )
        self.undecided.refused(handle, self.losses, failure)
        self._reader.drop()
        state.verify = True
        if state.dirty and not self.extents and not self.rider.busy:
            self.settling.failure = failure
            self.settling.abandon()
        self._mount.observer.content_unknown(state.number)
        self.telling.failed(self.extents.batch, failure, handle, lost=True)

    def _in_order(self, handle: HandleState | None) -> bool:
        """Is everything under way on the one connection of ``handle``, with nothing held back?"""
        return (
            handle is not None
            and handle.remote.ordered
            and not self.extents.blocked
            and self._under_way.get(handle, 0) == len(self.extents.sent)
        )

    def _any_handle(self) -> HandleState | None:
        """A handle to ask through, one that may have written where there is one: that of the appends under
        way, which the server answers in order."""
        if self._state.appending and self._appender in self.handles:
            return self._appender
        first = self.handles[0] if self.handles else None
        return next((handle for handle in self.handles if handle.writable), first)

    async def settle(self) -> Attributes | None:
        """Everything written before this call is on the server: its attributes after that, None where
        nothing was dirty. What is written meanwhile is not waited for. Raises the first failure since the
        server last told what the file is like."""
        state, settling = self._state, self.settling
        if not state.dirty:
            return None
        earlier = settling.failure
        failure, settlement = await self._flush(None, told=True)
        failure = earlier or failure
        if failure is not None:
            settling.failure = None
            raise OSError(failure.errno, failure.strerror)
        if settlement is None:
            return state.attributes
        return settlement.slot.result()

    async def appended(self) -> None:
        """What was appended before this call is at the end of the file, or failed."""
        await all_done(self.send_and_close())

    def ask(self, *, hurry: bool = False) -> Settlement | None:
        """FSTAT, sent now; None where nobody has the file open. ``hurry``: not behind what is under way,
        unless that is appended: then nothing else tells the size."""
        handle = self.rider.through(self._any_handle())
        if handle is None:
            return None
        if hurry and self.extents.sent and not self._state.appending:
            return self.settling.start(handle, behind=False)
        return self._start_settlement(handle)

    def _start_settlement(self, handle: HandleState) -> Settlement:
        """FSTAT through ``handle``, behind all that is under way where that is its own."""
        extents = self.extents
        own = not extents.blocked and self._under_way.get(handle, 0) == len(extents.sent)
        return self.settling.start(handle, behind=own)

    def give_up(self, failure: OSError) -> None:
        """The mount ends before everything is on the server: what is not is lost, for ``failure``."""
        if self.extents or self.rider.busy:
            self.losses.ended(self.extents, failure, self._appender is not None)
            self._mount.untold(self.number, failure)

    def tidy(self, now_ns: int) -> None:
        """Send what lingers unsent, and ask for the attributes behind it: once a second while somebody
        goes on writing, for what others change meanwhile."""
        rider = self.rider
        lingering = LINGER_SECONDS * 1e9
        if rider.deferred.pending is not None and abs(now_ns - rider.since_ns) >= lingering:
            self.send_all()
            if not self.extents or not rider.deferred.times or self._in_order(rider.handle):
                rider.ride()
            return
        if self.extents.unsent_bytes and abs(now_ns - self._since_ns) >= lingering:
            self.send_all()
        due = abs(now_ns - self.settling.asked_ns) >= lingering and self._state.dirty
        if due and not self.settling.live and not rider.busy:
            self.ask()
