"""The FSTATs behind our writes: when the server's attributes count again over what we wrote.

Owned by the writer of one file, which says when to ask. An answer makes the file *clean* if everything we
wrote was there when the FSTAT left. Otherwise it is the new ground under what is still dirty: so another
client's change shows beneath a program that never stops writing.
"""

from __future__ import annotations

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.data.buffers.chunk_cache import CHUNK_SHIFT
from sftpfs.data.buffers.dirty_extents import DirtyExtents
from sftpfs.data.content_state import ContentState, HandleState, SharedBuffers
from sftpfs.data.reader import ContentReader
from sftpfs.data.writing.lost_writes import LossReporter
from sftpfs.data.writing.setattr_piggyback import SetattrPiggyback
from sftpfs.data.writing.writes_in_flight import ExtentWrite
from sftpfs.types import Attributes


class SettlingFstat:
    """One FSTAT, and what was acknowledged while it was under way."""

    __slots__ = ("before", "behind", "epoch", "last", "later", "passed_end", "resizes", "settling", "slot")

    def __init__(
        self,
        settling: Settling,
        handle: HandleState,
        state: ContentState,
        last: int,
        before: int,
        behind: bool,
    ) -> None:
        self.settling = settling
        self.behind = behind
        """It is carried out after everything that was sent before it."""
        self.epoch = state.epoch
        self.resizes = state.resizes
        self.last = last
        """The number of the last extent sent before it."""
        self.before = before
        """Extents sent before it and not ended yet."""
        self.later = False
        """An extent sent after it ended before it: the FSTAT may have seen that or not."""
        self.passed_end = 0
        """The end of what was acknowledged since it left."""
        remote = handle.remote
        self.slot: Slot[Attributes] = remote.start_fstat_behind() if behind else remote.start_fstat()

    def ended(self, outgoing: ExtentWrite) -> None:
        """An extent is acknowledged, or failed."""
        if outgoing.number > self.last:
            self.later = True
        else:
            self.before -= 1
        if outgoing.slot.error is None and not outgoing.extent.owner.append:
            self.passed_end = max(self.passed_end, outgoing.extent.end)

    @property
    def exact(self) -> bool:
        """It saw what was sent before it and nothing else of ours."""
        return self.behind and not self.before and not self.later

    def completed(self, _: Slot[Attributes]) -> None:
        """Slot callback."""
        self.settling.fstat_answered(self)

    async def wait(self) -> None:
        """Waits until the answer was processed, whatever it was."""
        try:
            await self.slot.wait()
        except OSError:
            pass  # the file stays dirty: our size and time go on to rule


class Settling:
    """See the module.

    INVARIANT: ``live`` are those under way.
    """

    __slots__ = (
        "_extents",
        "_losses",
        "_mount",
        "_reader",
        "_rider",
        "_state",
        "asked_ns",
        "failure",
        "live",
        "sent",
    )

    def __init__(
        self,
        state: ContentState,
        mount: SharedBuffers,
        extents: DirtyExtents[HandleState],
        reader: ContentReader,
        piggyback: SetattrPiggyback,
        losses: LossReporter,
    ) -> None:
        self._state = state
        self._mount = mount
        self._extents = extents
        self._reader = reader
        self._rider = piggyback
        self._losses = losses
        self.live: list[SettlingFstat] = []
        self.failure: OSError | None = None
        """The first write that failed since the server last reported what the file is like."""
        self.sent = 0
        """Extents sent so far."""
        self.asked_ns = 0
        """When the last FSTAT left, or the first byte was written since the file was clean; wall clock."""

    def start(self, handle: HandleState, *, behind: bool) -> SettlingFstat:
        """Asks through ``handle``, ``behind`` everything that was sent (if all of it was sent through it), or
        somewhere among it; the latter makes nothing clean."""
        self.asked_ns = clock.wall_ns()
        settlement = SettlingFstat(self, handle, self._state, self.sent, len(self._extents.sent), behind)
        self.live.append(settlement)
        if settlement.slot.done:
            self.fstat_answered(settlement)
        else:
            settlement.slot.callback = settlement.completed
        return settlement

    def ended(self, outgoing: ExtentWrite) -> None:
        """An extent is acknowledged, or failed."""
        for settlement in self.live:
            settlement.ended(outgoing)

    def fstat_answered(self, settlement: SettlingFstat) -> None:
        """FSTAT is here. The file is clean if it saw all we wrote; otherwise it is the ground under what it
        did not see."""
        self.live.remove(settlement)
        state = self._state
        if not state.dirty or self._rider.busy or state.resizes != settlement.resizes:
            return
        done = not self._extents and state.epoch == settlement.epoch
        if settlement.slot.error is None:
            attributes = settlement.slot.result()
            if done and settlement.exact:
                self._clean(attributes, lost=self.failure is not None)
            else:
                self._found(attributes, settlement)
        elif done and self.failure is not None:
            self.settle_unconfirmed()  # rather no size than one that counts what was lost

    def _found(self, attributes: Attributes, settlement: SettlingFstat) -> None:
        state = self._state
        if state.appending and not settlement.exact:
            return  # asked again before long
        known = state.server_size
        if attributes.size < known or self.failure is not None:
            self._reader.drop()
        elif attributes.size > known:
            self._reader.drop_from(known >> CHUNK_SHIFT, "changed")  # no chunk ends there any more
        self.failure = None
        self.rebase(attributes, settlement.passed_end)
        self._mount.observer.content_reported(state.number, attributes)

    def rebase(self, attributes: Attributes, passed_end: int = 0) -> None:
        """The server has a file of ``attributes`` beneath what is dirty, with perhaps ours up to
        ``passed_end``."""
        state, extents = self._state, self._extents
        state.attributes = attributes
        if state.appending:
            state.size = attributes.size + extents.held
        else:
            state.size = max(attributes.size, extents.end, passed_end)

    def handed_over(self, attributes: Attributes) -> None:
        """All we wrote was acknowledged, and the file is closed on the server, as one of ``attributes``."""
        self._clean(attributes, lost=self.failure is not None)

    def _clean(self, attributes: Attributes, lost: bool, *, known: bool = True) -> None:
        state, mount = self._state, self._mount
        foreign = attributes.size != state.size
        self.failure = None
        self._rider.clear()
        self._losses.settled(attributes if known else None)
        mount.dirty.pop(state.number, None)
        state.settled(attributes)
        if lost or foreign:
            self._reader.drop()
        mount.observer.content_settled(state.number, attributes)

    def settle_unconfirmed(self) -> None:
        """Nothing is dirty any more, but the server could not be asked what the file is like now.

        If no write failed, it is what we wrote; otherwise what was there before. The next read asks again.
        """
        state = self._state
        assert state.attributes is not None and state.size is not None and state.mtime is not None
        attributes = state.attributes
        if self.failure is None:
            attributes = attributes._replace(size=state.size, mtime=state.mtime)
        lost = self.failure is not None
        self._clean(attributes, lost=True, known=False)
        state.verify = True
        if lost:
            self._mount.observer.content_unknown(state.number)
