"""Sends deferred changes of mode and times with the writes of their file.

Only the handle that created the file carries them: the file is ours then, so the server has no reason to
refuse. Owned by the writer, which says when.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.data.buffers.dirty_extents import Batch, DirtyExtents
from sftpfs.data.buffers.pending_setattr import PendingSetattr, changed
from sftpfs.data.content_state import ContentState, HandleState
from sftpfs.remote.api import HandedOver
from sftpfs.types import AttributeChange


class OutgoingChange:
    """An FSETSTAT under way; a batch waits for it as for an extent."""

    __slots__ = ("batch", "change", "demanded", "piggyback", "slot")

    def __init__(
        self, piggyback: SetattrPiggyback, batch: Batch, start: Callable[[AttributeChange], Slot[None]]
    ) -> None:
        self.piggyback = piggyback
        self.demanded = piggyback.deferred.demanded
        self.change: AttributeChange = piggyback.deferred.take()
        self.batch = batch
        batch.join()
        self.slot: Slot[None] = start(self.change)

    def completed(self, _: Slot[None]) -> None:
        """Slot callback."""
        self.piggyback.acknowledged(self)


def _change_of(handed_over: Slot[HandedOver]) -> Slot[None]:
    """The outcome of the change that went with ``handed_over``."""
    change: Slot[None] = Slot()

    def done(slot: Slot[HandedOver]) -> None:
        failure = slot.error or slot.result().refused
        if failure is None:
            change.set(None)
        else:
            change.fail(failure)

    if handed_over.done:
        done(handed_over)
    else:
        handed_over.callback = done
    return change


class SetattrPiggyback:
    """The deferred changes of one file, and the handle that they travel through.

    ``failed`` is called for a change that somebody asked for and that was not made, ``ended`` when one under
    way is done.

    INVARIANT: while a change is deferred or under way, ``handle`` is open and carries it.
    """

    __slots__ = (
        "_ended",
        "_extents",
        "_failed",
        "_handles",
        "_state",
        "deferred",
        "handle",
        "since_ns",
        "under_way",
    )

    def __init__(
        self,
        state: ContentState,
        extents: DirtyExtents[HandleState],
        handles: list[HandleState],
        failed: Callable[[Batch, BaseException], None],
        ended: Callable[[], None],
    ) -> None:
        self.deferred = PendingSetattr()
        self.handle: HandleState | None = None
        self.under_way = 0
        self.since_ns = 0
        """When the oldest pending change was deferred, wall clock."""
        self._state = state
        self._extents = extents
        self._handles = handles
        self._failed = failed
        self._ended = ended

    @property
    def busy(self) -> bool:
        """The server has not answered yet for everything that was requested."""
        return bool(self.under_way) or self.deferred.pending is not None

    @property
    def holds_writes(self) -> bool:
        """A write that overtook what is on its way here would lose its mtime."""
        return bool(self.under_way) or self.deferred.times

    def creating_handle(self) -> HandleState | None:
        """The handle that changes may travel with: it created the file and is not being released."""
        for handle in self._handles:
            if handle.created:
                return handle
        return None

    def settling_handle(self, handle: HandleState | None) -> HandleState | None:
        """The handle to ask for the attributes: if changes travel along, the handle that they travel with."""
        return self.handle if self.handle is not None and self.deferred.effective is not None else handle

    def add(self, change: AttributeChange, demanded: bool) -> None:
        """Defer ``change``; only while there is a ``creating_handle``. The file is dirty."""
        self.handle = self.creating_handle()
        assert self.handle is not None
        if self.deferred.pending is None:
            self.since_ns = clock.wall_ns()
        self.deferred.add(change, demanded)
        state = self._state
        state.epoch += 1
        if change.mtime is not None:
            state.set_mtime = change.mtime
            state.server_dated = False

    def send_pending(self) -> bool:
        """Sends what is deferred, in order after what its handle sent before. False if nothing is
        deferred."""
        if self.deferred.pending is None or self.handle is None:
            return False
        self._leave(self.handle.remote.start_setattr)
        return True

    def hand_over(self, handle: HandleState) -> Slot[HandedOver]:
        """``RemoteFile.start_hand_over`` of ``handle``, with what is deferred to go through it."""
        remote, handed_over = handle.remote, None
        if self.deferred.pending is None or self.handle is not handle:
            return remote.start_hand_over()

        def start(change: AttributeChange) -> Slot[None]:
            nonlocal handed_over
            handed_over = remote.start_hand_over(change)
            return _change_of(handed_over)

        self._leave(start)
        assert handed_over is not None
        return handed_over

    def _leave(self, start: Callable[[AttributeChange], Slot[None]]) -> None:
        self.under_way += 1
        outgoing = OutgoingChange(self, self._extents.batch, start)
        if outgoing.slot.done:
            self.acknowledged(outgoing)
        else:
            outgoing.slot.callback = outgoing.completed

    def acknowledged(self, outgoing: OutgoingChange) -> None:
        """The server made the change, or never will."""
        self.under_way -= 1
        state = self._state
        problem = outgoing.slot.error
        if problem is None:
            if state.attributes is not None:
                state.attributes = changed(state.attributes, outgoing.change)
        elif outgoing.demanded:
            self._failed(outgoing.batch, problem)
        outgoing.batch.leave()
        self._ended()

    def detached(self, handle: HandleState) -> None:
        """``handle`` is open no more. Its last flush sent what was deferred, unless it was cancelled."""
        if handle is self.handle:
            self.send_pending()
            self.handle = None

    def clear(self) -> None:
        """The file is clean: the server's attributes rule."""
        self.deferred.clear()
        self.handle = None
