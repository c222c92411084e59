"""The writes of one file that are under way: sends dirty extents, counts them by handle, takes the answers.

Owned by ``data.writing.writer``, which decides what is sent and when. Synchronous; replies come as callbacks.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable

from sftpfs.data.buffers.dirty_extents import Batch, DirtyExtents, Extent
from sftpfs.data.content_state import HandleState, SharedBuffers
from sftpfs.data.writing.close_refusals import Undecided
from sftpfs.data.writing.lost_writes import LossReporter
from sftpfs.data.writing.settle import Settling
from sftpfs.data.writing.writes_in_flight import ExtentWrite

Failed = Callable[[Batch, OSError, HandleState | None, bool], None]
"""Something of a batch that a handle sent failed. True: it was data, accepted before."""


class ExtentSender:
    """See the module.

    INVARIANT: ``_under_way`` counts the sent extents by the handle they go through, and has no zero.
    INVARIANT: ``_ended`` is empty but while ``_acknowledged`` works on what is in it, the first under work.
    """

    __slots__ = (
        "_ended",
        "_extents",
        "_failed",
        "_idle",
        "_losses",
        "_mount",
        "_settling",
        "_undecided",
        "_under_way",
    )

    def __init__(
        self,
        mount: SharedBuffers,
        extents: DirtyExtents[HandleState],
        settling: Settling,
        losses: LossReporter,
        undecided: Undecided,
        failed: Failed,
        idle: Callable[[], None],
    ) -> None:
        """``idle`` is called once answers were processed and nothing is left to be sent because of them."""
        self._mount = mount
        self._extents = extents
        self._settling = settling
        self._losses = losses
        self._undecided = undecided
        self._failed = failed
        self._idle = idle
        self._ended: deque[ExtentWrite] = deque()
        self._under_way: dict[HandleState, int] = {}

    def all_through(self, handle: HandleState) -> bool:
        """Whether everything under way goes through ``handle``, with nothing held back. An FSTAT through it
        is then carried out behind it."""
        extents = self._extents
        return not extents.blocked and self._under_way.get(handle, 0) == len(extents.sent)

    def send_all(self) -> None:
        """Send every extent; those over one under way follow once it is acknowledged."""
        for extent in self._extents.unsent():
            self.send(extent)

    def send(self, extent: Extent[HandleState]) -> None:
        """Sends ``extent``. If it lies over one under way, it follows that one."""
        if not self._extents.start(extent):
            return
        owner = extent.owner
        self._under_way[owner] = self._under_way.get(owner, 0) + 1
        self._settling.sent += 1
        outgoing = ExtentWrite(self._acknowledged, extent, self._settling.sent)
        if outgoing.slot.done:
            self._acknowledged(outgoing)
        else:
            outgoing.slot.callback = outgoing.completed

    def _acknowledged(self, outgoing: ExtentWrite) -> None:
        """The server took the extent, or never will. What waited for it is sent.

        A loop and no recursion, because what is sent may have failed before ``send`` returns, and then the
        next, too.
        """
        self._ended.append(outgoing)
        if len(self._ended) > 1:
            return  # the loop below, further up the stack, comes to it
        while self._ended:
            self._end(self._ended[0])
            self._ended.popleft()
        self._idle()

    def _end(self, outgoing: ExtentWrite) -> None:
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
            self._losses.failed(extent, failure)
            self._failed(extent.batch, failure, owner, not owner.reports)
        else:
            if owner.remote.undecided:
                self._undecided.acknowledged(extent)
            if self._losses.incidents and not owner.append:
                self._losses.written(extent.offset, extent.end, synced=owner.fsync_writes)
        self._settling.ended(outgoing)
        freed = self._extents.finish(extent)
        self._mount.gate.release(len(extent.data))
        if isinstance(problem, OSError) and problem.errno == errno.ETIMEDOUT:
            self._fail_with(freed, OSError(problem.errno, problem.strerror))
        else:
            for one in freed:
                self.send(one)

    def _fail_with(self, waited: list[Extent[HandleState]], failure: OSError) -> None:
        """What waits behind a write that missed the deadline has missed it as well: if it were sent now, it
        would be waited for as long once more."""
        for extent in waited:
            self._losses.failed(extent, failure)
            self._failed(extent.batch, failure, extent.owner, True)
            self._extents.withdraw(extent)
            self._mount.gate.release(len(extent.data))
