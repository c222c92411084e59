"""Data that was accepted and will never be on the server: which bytes, and since when.

Pure. Each writer owns one ``LossReporter`` and reports failures to it. ``ContentObserver.content_lost`` tells
whoever keeps such bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sftpfs.byte_ranges import merged, without
from sftpfs.data.buffers.dirty_extents import DirtyExtents, Extent
from sftpfs.data.content_state import HandleState, SharedBuffers
from sftpfs.data.observer import LostBytes
from sftpfs.errors import IncompleteWriteError
from sftpfs.types import Attributes, Buffer


class Incident(NamedTuple):
    """Everything that one file loses together: see ``LostBytes.incident``."""

    number: int
    appended: bool
    absent: list[tuple[int, int]]
    """The ranges lost that were neither written again since nor cut off."""


class LossReporter:
    """What one file loses.

    INVARIANT: bytes are reported at most once, and never if the server acknowledged them and did not refuse
    them as it closed the file.
    INVARIANT: ``incidents`` are those of which something is absent, the last one first.
    """

    __slots__ = ("_appended", "_current", "_ended", "_mount", "_number", "incidents")

    def __init__(self, number: int, mount: SharedBuffers) -> None:
        self._number = number
        self._mount = mount
        self._current: dict[bool, int] = {}
        """The incident under way of what was appended, and of what was not."""
        self._appended: list[tuple[int, int]] = []
        """Everything that was reported of what was appended."""
        self._ended = False
        self.incidents: list[Incident] = []

    @property
    def absent(self) -> list[tuple[int, int]]:
        """All ranges lost that were neither written again since nor cut off."""
        return merged([one for incident in self.incidents for one in incident.absent])

    def failed(self, extent: Extent[HandleState], failure: OSError) -> None:
        """The server did not take ``extent``, or not all of it."""
        if self._ended or extent.owner.reports:
            return  # what write(2) itself reports was never accepted: the program has it
        view = memoryview(extent.data)
        for start, end in missing(extent.offset, extent.end, failure):
            data = view[start - extent.offset : end - extent.offset]
            self._report(start, data, failure, extent.owner.append)

    def refused(self, offset: int, data: Buffer, failure: OSError, appended: bool) -> None:
        """The server acknowledged ``data`` and refused it as the file was closed, whatever ``write``
        reported."""
        if not self._ended:
            self._report(offset, data, failure, appended)

    def ended(self, extents: DirtyExtents[HandleState], failure: OSError, appended: bool) -> None:
        """Nothing of ``extents`` will be written any more; later answers change nothing."""
        if self._ended:
            return
        for offset, data in extents.snapshot(0, extents.end):
            self._report(offset, data, failure, appended)
        self._ended = True

    def written(self, start: int, end: int, *, synced: bool) -> None:
        """The server has taken bytes [start, end), which may have been lost before. ``synced``: by a handle
        that also waits for the server's disk, as ``sftpfs restore`` writes a loss back. A later loss may be
        of the same bytes, and must still be written back then."""
        if self.incidents:
            self._remain([(start, end)], appended=False, notify=not synced)

    def cut(self, size: int) -> None:
        """The file ends at ``size``."""
        if self.incidents:
            self._remain([(size, 1 << 63)], appended=not size, notify=True)

    def _remain(self, newer: list[tuple[int, int]], *, appended: bool, notify: bool) -> None:
        """What is in ``newer`` is no longer absent. ``appended``: also of what was appended, which is
        elsewhere than assumed."""
        incidents, self.incidents = self.incidents, []
        for incident in incidents:
            if incident.appended and not appended:
                self.incidents.append(incident)
                continue
            absent = without(incident.absent, newer)
            if absent:
                self.incidents.append(incident._replace(absent=absent))
            if notify and absent != incident.absent:
                self._mount.observer.content_remains(incident.number, absent)
        if not self.incidents:
            self._mount.made_good(self._number)

    def settled(self, attributes: Attributes | None) -> None:
        """The file is clean, and has ``attributes`` if they were reported. What is lost from now on is a new
        incident."""
        self._current.clear()
        self.clean_as(attributes)

    def clean_as(self, attributes: Attributes | None) -> None:
        """The file has ``attributes``, and nothing of ours is on its way; None if nobody knows."""
        if self.incidents:
            numbers = [incident.number for incident in self.incidents]
            self._mount.observer.content_left(numbers, attributes)

    def _report(self, offset: int, data: Buffer, failure: OSError, appended: bool) -> None:
        mount, lost = self._mount, (offset, offset + len(data))
        number = self._current.get(appended)
        if number is None or (appended and without([lost], self._appended) != [lost]):
            number = self._current[appended] = mount.new_incident()
            if appended:
                self._appended = []
        if appended:
            self._appended = merged([*self._appended, lost])
        at = next((at for at, one in enumerate(self.incidents) if one.number == number), -1)
        if at < 0:
            self.incidents.insert(0, Incident(number, appended, []))
            at = 0
        known = self.incidents[at]
        self.incidents[at] = known._replace(absent=merged([*known.absent, lost]))
        mount.observer.content_lost(self._number, LostBytes(number, offset, data, failure, appended))


def missing(offset: int, end: int, failure: OSError) -> Iterator[tuple[int, int]]:
    """The ranges of [offset, end) that the server may not have, by ``failure``; all of it if that does not
    say."""
    if not isinstance(failure, IncompleteWriteError):
        yield offset, end
        return
    for start, stop in failure.missing:
        if max(start, offset) < min(stop, end):
            yield max(start, offset), min(stop, end)
