"""Data that was accepted and will never be on the server: which bytes, and since when.

Pure. Each writer owns one ``Losses`` and tells it of what failed; whoever keeps such bytes
is told through ``ContentObserver.content_lost``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sftpfs.data.extents import DirtyExtents, Extent
from sftpfs.errors import IncompleteWriteError
from sftpfs.types import Buffer

if TYPE_CHECKING:
    from sftpfs.data.state import HandleState, MountContent


class LostBytes(NamedTuple):
    """Bytes a program wrote and was not yet told of whether they are on the server: they are not."""

    incident: int
    """The same for all that one file loses until it is clean again, and for nothing else."""
    offset: int
    data: Buffer
    """Does not change any more."""
    failure: OSError
    appended: bool
    """Written to the end, wherever that would have been: ``offset`` is where we took it to be."""


class Losses:
    """What one file loses.

    INVARIANT: bytes are reported at most once, and never where the server acknowledged them.
    INVARIANT: ``absent`` are the ranges lost that were neither written again since nor cut off.
    """

    __slots__ = ("_ended", "_incident", "_mount", "_number", "absent")

    def __init__(self, number: int, mount: MountContent) -> None:
        self._number = number
        self._mount = mount
        self._incident = 0
        self._ended = False
        self.absent: list[tuple[int, int]] = []

    def failed(self, extent: Extent[HandleState], failure: OSError) -> None:
        """The server did not take ``extent``, or not all of it."""
        if self._ended or extent.owner.reports:
            return  # what write(2) itself reports was never accepted: the program has it
        view = memoryview(extent.data)
        for start, end in missing(extent.offset, extent.end, failure):
            data = view[start - extent.offset : end - extent.offset]
            self._report(start, data, failure, extent.owner.append)

    def ended(self, extents: DirtyExtents[HandleState], failure: OSError, appended: bool) -> None:
        """Nothing of ``extents`` will be written any more; answers that still come change nothing."""
        if self._ended:
            return
        for offset, data in extents.snapshot(0, extents.end):
            self._report(offset, data, failure, appended)
        self._ended = True

    def written(self, start: int, end: int) -> None:
        """The server has taken bytes [start, end), which may have been lost before."""
        if self.absent:
            left = [(first, min(last, start)) for first, last in self.absent]
            left += [(max(first, end), last) for first, last in self.absent]
            self._remain([(first, last) for first, last in left if first < last])

    def cut(self, size: int) -> None:
        """The file ends at ``size``."""
        if self.absent:
            self._remain([(first, min(last, size)) for first, last in self.absent if first < size])

    def _remain(self, absent: list[tuple[int, int]]) -> None:
        self.absent = absent
        if not absent:
            self._mount.made_good(self._number)

    def settled(self) -> None:
        """The file is clean; what is lost from now on has nothing to do with what was."""
        self._incident = 0

    def _report(self, offset: int, data: Buffer, failure: OSError, appended: bool) -> None:
        mount = self._mount
        if not self._incident:
            self._incident = mount.new_incident()
        self.absent = merged([*self.absent, (offset, offset + len(data))])
        mount.observer.content_lost(self._number, LostBytes(self._incident, offset, data, failure, appended))


def missing(offset: int, end: int, failure: OSError) -> Iterator[tuple[int, int]]:
    """The ranges of [offset, end) the server may not have by ``failure``; all where it does not say."""
    if not isinstance(failure, IncompleteWriteError):
        yield offset, end
        return
    for start, stop in failure.missing:
        if max(start, offset) < min(stop, end):
            yield max(start, offset), min(stop, end)


def merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """``ranges`` by offset, those that touch or overlap made one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result
