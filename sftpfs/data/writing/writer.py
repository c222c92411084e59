"""Writing one file: absorb, send, settle.

Owns the dirty extents and when they travel; ``data.writing.extent_sender`` sends them. Everything but the
waiting is synchronous: between two awaits nobody else runs, and replies come as callbacks.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.data.buffers.dirty_extents import EXTENT_BYTES, Batch, DirtyExtents
from sftpfs.data.content_state import ContentState, HandleState, SharedBuffers
from sftpfs.data.reader import ContentReader
from sftpfs.data.writing.close_refusals import Undecided
from sftpfs.data.writing.extent_sender import ExtentSender
from sftpfs.data.writing.lost_writes import LossReporter
from sftpfs.data.writing.setattr_piggyback import SetattrPiggyback
from sftpfs.data.writing.settle import Settling, SettlingFstat
from sftpfs.data.writing.write_errors import WriteErrors
from sftpfs.data.writing.writes_in_flight import all_done
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
        "_mount",
        "_reader",
        "_sender",
        "_since_ns",
        "_state",
        "extents",
        "handles",
        "losses",
        "piggyback",
        "settling",
        "undecided",
        "write_errors",
    )

    def __init__(
        self,
        state: ContentState,
        mount: SharedBuffers,
        extents: DirtyExtents[HandleState],
        reader: ContentReader,
        handles: list[HandleState],
    ) -> None:
        self.extents = extents
        self.handles = handles
        """The open handles of the file, shared with its owner; read only."""
        self.write_errors = WriteErrors(state.number, mount, extents, handles)
        self.piggyback = SetattrPiggyback(
            state, extents, handles, self._change_failed, self._abandon_if_unused
        )
        """Mode and times to be set after what was written so far."""
        self._state = state
        self._mount = mount
        self._reader = reader
        self._appender: HandleState | None = None
        self._since_ns = 0  # when the oldest unsent byte was written, wall clock
        self.losses = LossReporter(state.number, mount)
        self.settling = Settling(state, mount, extents, reader, self.piggyback, self.losses)
        self.undecided = Undecided(mount)
        self._sender = ExtentSender(
            mount, extents, self.settling, self.losses, self.undecided, self._failed, self._abandon_if_unused
        )

    @property
    def number(self) -> int:
        """The inode's number."""
        return self._state.number

    # Absorbing.

    def write_nowait(self, handle: HandleState, offset: int, data: bytes) -> bool:
        """Absorbs without waiting. False if the gate is full or other data must go first."""
        if self._must_flush_first(handle) or not self._mount.gate.take_nowait(len(data)):
            return False
        self._absorb(handle, offset, data)
        return True

    async def write(self, handle: HandleState, offset: int, data: bytes) -> None:
        """Absorb, waiting for room or for what must go first."""
        size = len(data)
        gate = self._mount.gate
        while True:
            if self._must_flush_first(handle):
                await self._flush_first()
                continue
            if gate.take_nowait(size):
                break
            self._mount.send_all()
            await gate.take(size)
            if not self._must_flush_first(handle):
                break
            gate.release(size)
        self._absorb(handle, offset, data)

    def takes(self, handle: HandleState, offset: int) -> bool:
        """Whether the server takes a write of ``handle`` at ``offset``, as far as that is known."""
        end = self._state.shown_size
        return handle.remote.takes_write(end if handle.append else offset, end)

    def _must_flush_first(self, handle: HandleState) -> bool:
        """Whether what is dirty must be acknowledged before ``handle`` may write."""
        if self.piggyback.holds_writes:
            return True  # a write that overtook them would lose its mtime
        if handle.append:
            return bool(self.extents) and self._appender is not handle
        return self._appender is not None and bool(self.extents)

    async def _flush_first(self) -> None:
        await all_done(self.send_and_close())
        if self.piggyback.deferred.times:
            self.piggyback.send_pending()
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
                self._sender.send(full)
        elif extents.unsent_bytes > UNSENT_BYTES:
            self.send_all()

    def defer(self, change: AttributeChange, demanded: bool) -> None:
        """Absorb ``change`` of mode or times, to go with the next flush. Only while there is a creator."""
        if not self._state.dirty:
            self._touch()
        self.piggyback.add(change, demanded)

    # Sending.

    def send_all(self) -> None:
        """Send every extent; those over one under way follow once it is acknowledged."""
        self._sender.send_all()

    def _abandon_if_unused(self) -> None:
        if not self.extents and not self.handles and self._state.dirty:
            self.settling.settle_unconfirmed()

    def _change_failed(self, batch: Batch, problem: BaseException) -> None:
        failure = problem if isinstance(problem, OSError) else OSError(errno.EIO, str(problem))
        reason = failure.strerror or failure
        logger.error("inode %d: mode or times could not be set: %s", self._state.number, reason)
        self._failed(batch, failure, self.piggyback.handle, False)

    def _failed(self, batch: Batch, failure: OSError, owner: HandleState | None, lost: bool) -> None:
        if batch.error is None:
            batch.error = failure
        if self.settling.failure is None:
            self.settling.failure = failure
        self.write_errors.failed(batch, failure, owner, lost=lost)

    # Settling.

    def send_and_close(self) -> list[Batch]:
        """Send everything; the batches to wait for until all written so far is acknowledged."""
        self.send_all()
        return self.extents.close_batches()

    async def push(self, handle: HandleState, *, fsync: bool) -> None:
        """Every write so far is acknowledged, and with ``fsync`` on the server's disk; no settling."""
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
        """All written so far is acknowledged or failed. The file is then clean, unless more was written
        meanwhile. If ``handed_over``, which is asked once everything is sent, ``hand_over`` follows and makes
        it clean.

        One wait if everything travels on one connection, since the server keeps the order. Returns the first
        failure among these writes; raises only what FSYNC raises.
        """
        failure, _ = await self._flush(handle, fsync=fsync, handed_over=handed_over)
        return failure

    async def _flush(
        self,
        handle: HandleState | None,
        *,
        fsync: bool = False,
        with_fstat: bool = False,
        handed_over: Callable[[], bool] = _never,
    ) -> tuple[OSError | None, SettlingFstat | None]:
        """As ``flush``, and the FSTAT that followed these writes: ``with_fstat``: always one."""
        asked = handle or self._any_handle()
        if not self._state.dirty:
            if fsync and asked is not None:
                await asked.remote.start_fsync().wait()
            return None, None
        settlement: SettlingFstat | None = None
        synced: Slot[None] | None = None
        self.send_all()
        decided = handed_over()
        through = self.piggyback.settling_handle(asked)
        in_order = self._in_order(through)
        along = decided and self.piggyback.handle is handle  # what is deferred goes with the CLOSE
        if in_order and not along:
            self.piggyback.send_pending()
        batches = self.extents.close_batches()
        if through is not None and in_order:
            synced = through.remote.start_fsync() if fsync else None
            settlement = None if decided else self.settling.start(through, behind=True)
        failure = await all_done(batches)
        if asked not in self.handles:
            asked = self._any_handle()
        if asked is None:
            return failure, None  # released meanwhile: nobody to ask, the last reply makes it clean
        if along and failure is None:
            return None, None
        if not (self.piggyback.deferred.times and self.extents) and self.piggyback.send_pending():
            refused = await all_done(self.extents.close_batches())
            failure = failure or refused
        through = self.piggyback.settling_handle(asked) or asked
        if failure is not None and failure.errno == errno.ETIMEDOUT:
            lost = self._state.dirty and self.settling.failure is not None
            if lost and settlement is None and not self.extents and not self.piggyback.busy:
                self.settling.settle_unconfirmed()  # asked now, the server would be waited for once more
            return failure, settlement
        if fsync and synced is None:
            synced = through.remote.start_fsync()
        if decided and failure is None:
            return None, None
        if settlement is None and self._state.dirty and (with_fstat or not self.extents):
            settlement = self._start_settlement(through)
        if settlement is not None:
            await settlement.wait()
        if synced is not None:
            await synced.wait()
        return failure, settlement

    async def hand_over(self, handle: HandleState) -> None:
        """By its CLOSE the server takes what ``handle`` wrote, all of it acknowledged, or it is lost."""
        state, mount, epoch = self._state, self._mount, self._state.epoch
        try:
            attributes = (await self.piggyback.hand_over(handle).wait()).attributes
        except OSError as failure:
            self.refused(handle, failure)
            return
        self.undecided.decided(handle)
        if state.epoch != epoch or self.extents or self.piggyback.busy:
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
        if state.dirty and not self.extents and not self.piggyback.busy:
            self.settling.failure = failure
            self.settling.settle_unconfirmed()
        self._mount.observer.content_unknown(state.number)
        self.write_errors.failed(self.extents.batch, failure, handle, lost=True)

    def _in_order(self, handle: HandleState | None) -> bool:
        """Whether everything under way is on the one connection of ``handle``, with nothing held back."""
        return handle is not None and handle.remote.ordered and self._sender.all_through(handle)

    def _any_handle(self) -> HandleState | None:
        """A handle to ask through; if there is one that may have written, that one: for appends under way the
        one whose requests the server answers in order."""
        if self._state.appending and self._appender in self.handles:
            return self._appender
        first = self.handles[0] if self.handles else None
        return next((handle for handle in self.handles if handle.writable), first)

    async def settle(self) -> Attributes | None:
        """Everything written before this call is on the server. Returns its attributes after that, None if
        nothing was dirty. What is written meanwhile is not waited for. Raises the first failure since the
        server last reported what the file is like."""
        state, settling = self._state, self.settling
        if not state.dirty:
            return None
        earlier = settling.failure
        failure, settlement = await self._flush(None, with_fstat=True)
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

    def ask(self, *, hurry: bool = False) -> SettlingFstat | None:
        """FSTAT, sent now; None if nobody has the file open. ``hurry``: not behind what is under way, unless
        that is appended, because then nothing else shows the size."""
        handle = self.piggyback.settling_handle(self._any_handle())
        if handle is None:
            return None
        if hurry and self.extents.sent and not self._state.appending:
            return self.settling.start(handle, behind=False)
        return self._start_settlement(handle)

    def _start_settlement(self, handle: HandleState) -> SettlingFstat:
        """FSTAT through ``handle``, behind everything under way if that is its own."""
        return self.settling.start(handle, behind=self._sender.all_through(handle))

    def give_up(self, failure: OSError) -> None:
        """The mount ends before everything is on the server: what is not there is lost, because of
        ``failure``."""
        if self.extents or self.piggyback.busy:
            self.losses.ended(self.extents, failure, self._appender is not None)
            self._mount.unreported(self.number, failure)

    def flush_idle(self, now_ns: int) -> None:
        """Sends what is unsent for long, and asks for the attributes behind it: once a second while somebody
        goes on writing, because others may change the file meanwhile."""
        piggyback = self.piggyback
        lingering = LINGER_SECONDS * 1e9
        if piggyback.deferred.pending is not None and abs(now_ns - piggyback.since_ns) >= lingering:
            self.send_all()
            if not self.extents or not piggyback.deferred.times or self._in_order(piggyback.handle):
                piggyback.send_pending()
            return
        if self.extents.unsent_bytes and abs(now_ns - self._since_ns) >= lingering:
            self.send_all()
        due = abs(now_ns - self.settling.asked_ns) >= lingering and self._state.dirty
        if due and not self.settling.live and not piggyback.busy:
            self.ask()
