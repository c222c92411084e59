"""What the server acknowledged of one file, and may still refuse as the file is closed: kept for that.

Owned by the writer of the file. Pure, but for the bytes of all files, which have a bound: what is beyond it
is known to be lost where the server refuses it, but is not saved. Nothing is kept where the server is known
to have said all there is to say before (OpenSSH's).
"""

from __future__ import annotations

from sftpfs.data.extents import Extent
from sftpfs.data.lost import Losses
from sftpfs.data.state import HandleState, MountContent


class Undecided:
    """See the module.

    INVARIANT: ``MountContent.undecided_bytes`` is the sum of the bytes of ``_extents`` of all files.
    """

    __slots__ = ("_extents", "_mount")

    def __init__(self, mount: MountContent) -> None:
        self._mount = mount
        self._extents: list[Extent[HandleState]] = []

    def acknowledged(self, extent: Extent[HandleState]) -> None:
        """The server took ``extent``, by a handle that is still open."""
        mount = self._mount
        if mount.undecided_bytes + len(extent.data) <= mount.config.dirty_bytes:
            mount.undecided_bytes += len(extent.data)
            self._extents.append(extent)

    def decided(self, handle: HandleState) -> list[Extent[HandleState]]:
        """The server has told of what ``handle`` wrote: that, which is kept no longer."""
        gone = [extent for extent in self._extents if extent.owner is handle]
        self._extents = [extent for extent in self._extents if extent.owner is not handle]
        self._mount.undecided_bytes -= sum(len(extent.data) for extent in gone)
        return gone

    def refused(self, handle: HandleState, losses: Losses, failure: OSError) -> None:
        """The server did not take what ``handle`` wrote, for ``failure``: it is lost."""
        for extent in self.decided(handle):
            losses.failed(extent, failure)
