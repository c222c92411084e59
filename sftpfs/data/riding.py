"""Sending deferred changes of mode and times with the writes of their file.

Only the handle that created the file carries them: the file is ours then, so that the
server has no reason to refuse. Owned by the writer, which says when.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.data.deferred import DeferredChange, changed
from sftpfs.data.extents import Batch, DirtyExtents
from sftpfs.data.state import ContentState, HandleState
from sftpfs.types import AttributeChange


class OutgoingChange:
    """An FSETSTAT under way; a batch waits for it as for an extent."""

    __slots__ = ("batch", "change", "demanded", "rider", "slot")

    def __init__(self, rider: Rider, handle: HandleState, batch: Batch) -> None:
        self.rider = rider
        self.demanded = rider.deferred.demanded
        self.change: AttributeChange = rider.deferred.take()
        self.batch = batch
        batch.join()
        self.slot: Slot[None] = handle.remote.start_setattr(self.change)

    def completed(self, _: Slot[None]) -> None:
        """Slot callback."""
        self.rider.acknowledged(self)


class Rider:
    """The deferred changes of one file, and the handle they travel through.

    ``failed`` is told of a change somebody asked for that was not made, ``ended`` that one
    under way is no more.

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
        self.deferred = DeferredChange()
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
        """The server has not yet answered for everything asked for."""
        return bool(self.under_way) or self.deferred.pending is not None

    @property
    def holds_writes(self) -> bool:
        """A write that overtook what is on its way here would lose its mtime."""
        return bool(self.under_way) or self.deferred.times

    def creator(self) -> HandleState | None:
        """The handle changes may ride with: it created the file and is not being released."""
        for handle in self._handles:
            if handle.created:
                return handle
        return None

    def through(self, handle: HandleState | None) -> HandleState | None:
        """Whom to ask for the attributes: where changes ride along, the handle they ride with."""
        return self.handle if self.handle is not None and self.deferred.shown is not None else handle

    def add(self, change: AttributeChange, demanded: bool) -> None:
        """Defer ``change``; only while there is a ``creator``. The file is dirty."""
        self.handle = self.creator()
        assert self.handle is not None
        if self.deferred.pending is None:
            self.since_ns = clock.wall_ns()
        self.deferred.add(change, demanded)
        state = self._state
        state.epoch += 1
        if change.mtime is not None:
            state.set_mtime = change.mtime
            state.server_dated = False

    def ride(self) -> bool:
        """Send what is deferred, in order after what its handle sent before; False where nothing is."""
        if self.deferred.pending is None or self.handle is None:
            return False
        self.under_way += 1
        outgoing = OutgoingChange(self, self.handle, self._extents.batch)
        if outgoing.slot.done:
            self.acknowledged(outgoing)
        else:
            outgoing.slot.callback = outgoing.completed
        return True

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
            self.ride()
            self.handle = None

    def clear(self) -> None:
        """The file is clean: the server's attributes rule."""
        self.deferred.clear()
        self.handle = None
