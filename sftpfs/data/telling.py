"""Whom a failed write of one file is told to: as Linux's errseq does it, by handle and not by descriptor.

Pure state. Owned by the writer, which says what failed; each handle tells, and says so.
"""

from __future__ import annotations

from sftpfs.data.extents import Batch, DirtyExtents
from sftpfs.data.state import HandleState, MountContent


class Telling:
    """See the module."""

    __slots__ = ("_extents", "_handles", "_mount", "_number", "unheard")

    def __init__(
        self,
        number: int,
        mount: MountContent,
        extents: DirtyExtents[HandleState],
        handles: list[HandleState],
    ) -> None:
        self._number = number
        self._mount = mount
        self._extents = extents
        self._handles = handles
        self.unheard: OSError | None = None
        """The first failed write since a program was last told of one by ``write`` or ``fsync``: for the
        ``fsync`` of who opens the file now."""

    def failed(self, batch: Batch, failure: OSError, owner: HandleState | None, *, lost: bool) -> None:
        """Something of ``batch`` that ``owner`` sent failed: every handle that is open is to tell. ``lost``:
        it was data, which somebody has to hear of surely."""
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
            self._mount.untold(self._number, failure)

    def mark(self) -> int:
        """The number of the batch of what is written from now on, and of nothing before."""
        self._extents.close_batches()
        return self._extents.batch.number
