"""Who is told of a failed write of one file: as in Linux's errseq, but by handle and not by descriptor.

Pure state. Owned by the writer, which says what failed. Each handle reports the failure, and says so here.
"""

from __future__ import annotations

from sftpfs.data.buffers.dirty_extents import Batch, DirtyExtents
from sftpfs.data.content_state import HandleState, SharedBuffers


class WriteErrors:
    """See the module."""

    __slots__ = ("_extents", "_handles", "_mount", "_number", "unheard")

    def __init__(
        self,
        number: int,
        mount: SharedBuffers,
        extents: DirtyExtents[HandleState],
        handles: list[HandleState],
    ) -> None:
        self._number = number
        self._mount = mount
        self._extents = extents
        self._handles = handles
        self.unheard: OSError | None = None
        """The first failed write since ``write`` or ``fsync`` last reported one to a program; for the
        ``fsync`` of a handle that is opened now."""

    def failed(self, batch: Batch, failure: OSError, owner: HandleState | None, *, lost: bool) -> None:
        """Something of ``batch`` that ``owner`` sent failed: every open handle reports it. ``lost``: it was
        data, so somebody must surely hear of it."""
        if self.unheard is None:
            self.unheard = failure
        for handle in self._handles:
            if handle.writable:
                handle.error = handle.error or failure
                handle.unheard = handle.unheard or (lost and batch.number >= handle.heard)
                handle.doubtful = True
                handle.listened = False
            else:
                handle.fsync_error = handle.fsync_error or failure
        if owner not in self._handles:
            self._mount.unreported(self._number, failure)

    def mark(self) -> int:
        """The number of the batch of what is written from now on, and of nothing before."""
        self._extents.close_batches()
        return self._extents.batch.number
