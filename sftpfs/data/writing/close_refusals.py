"""Keeps what the server acknowledged of one file and may still refuse as the file is closed.

Owned by the writer of the file. Pure, except for the bound on such bytes of all files: bytes beyond it are
known to be lost if the server refuses them, but are not saved. If the server is known to have reported
everything before CLOSE (OpenSSH's), nothing is kept.
"""

from __future__ import annotations

from typing import NamedTuple

from sftpfs.data.buffers.dirty_extents import Extent
from sftpfs.data.content_state import HandleState, SharedBuffers
from sftpfs.data.writing.lost_writes import LossReporter
from sftpfs.types import Buffer


class Acknowledged(NamedTuple):
    """Bytes the server took, by a handle that is still open."""

    owner: HandleState
    offset: int
    data: Buffer


class Undecided:
    """See the module.

    INVARIANT: ``SharedBuffers.undecided_bytes`` is the sum of the bytes of ``_kept`` of all files.
    """

    __slots__ = ("_kept", "_mount")

    def __init__(self, mount: SharedBuffers) -> None:
        self._mount = mount
        self._kept: list[Acknowledged] = []

    def acknowledged(self, extent: Extent[HandleState]) -> None:
        """The server took ``extent``, by a handle that is still open."""
        mount = self._mount
        if mount.undecided_bytes + len(extent.data) <= mount.config.dirty_bytes:
            mount.undecided_bytes += len(extent.data)
            self._kept.append(Acknowledged(extent.owner, extent.offset, extent.data))

    def cut(self, size: int) -> None:
        """The file ends at ``size``: nobody misses what was behind it. For appended bytes that is known only
        of an empty file."""
        if not self._kept:
            return
        kept = []
        for one in self._kept:
            left = len(one.data) if one.owner.append and size else max(0, size - one.offset)
            if left:
                kept.append(one._replace(data=memoryview(one.data)[:left]))
        self._mount.undecided_bytes -= _bytes(self._kept) - _bytes(kept)
        self._kept = kept

    def decided(self, handle: HandleState) -> list[Acknowledged]:
        """The server has answered about what ``handle`` wrote, or will not. Returns those bytes, which are no
        longer kept."""
        gone = [one for one in self._kept if one.owner is handle]
        self._kept = [one for one in self._kept if one.owner is not handle]
        self._mount.undecided_bytes -= _bytes(gone)
        return gone

    def refused(self, handle: HandleState, losses: LossReporter, failure: OSError) -> None:
        """The server did not take what ``handle`` wrote, because of ``failure``: it is lost."""
        for one in self.decided(handle):
            losses.refused(one.offset, one.data, failure, handle.append)


def _bytes(kept: list[Acknowledged]) -> int:
    return sum(len(one.data) for one in kept)
