"""Dirty extents: bytes written and not yet acknowledged by the server.

Pure: keeps which bytes are dirty, which of them are under way, and what a read sees of them; sends nothing.
Owned by the writer of one file; the reader only asks ``overlaps``, ``snapshot`` and ``end``.

INVARIANT: unsent extents are disjoint, sorted by offset; so are sent ones.
INVARIANT: no two sent extents overlap, so the order in which the server carries them out does not matter. An
unsent extent may lie over a sent one, and is then the newer one.
INVARIANT: the data of a sent extent does not change.
INVARIANT: an extent with a ``blocker`` is unsent, the blocker is sent and has it ``behind`` itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import Generic, TypeVar

from sftpfs.aio import Slot
from sftpfs.types import Buffer

Owner = TypeVar("Owner")

EXTENT_BYTES = 256 << 10
"""Small contiguous writes are gathered up to this: two requests of 128 KiB, so that the
cost of a request is spread over 64 writes of 4 KiB and little waits to be sent."""

WHOLE_WRITE_BYTES = 128 << 10
"""A single write this large fills a request by itself and is sent as it is, not copied."""

_offset_of = attrgetter("offset")


class Batch:
    """The extents absorbed between two flushes; a flush waits for those before it only.

    INVARIANT: ``outstanding`` counts extents of this batch, unsent and sent, and changes of
    attributes sent with them; ``slot`` is filled once it is closed and none is left.
    """

    __slots__ = ("closed", "error", "number", "outstanding", "slot")

    def __init__(self, number: int) -> None:
        self.number = number
        """Grows with each batch of the file."""
        self.outstanding = 0
        self.closed = False
        self.error: OSError | None = None
        self.slot: Slot[None] = Slot()

    def close(self) -> None:
        """No extent joins any more."""
        self.closed = True
        self._finish()

    def join(self) -> None:
        """One more thing to wait for."""
        self.outstanding += 1

    def leave(self) -> None:
        """One extent is done, or was overwritten before it was sent."""
        self.outstanding -= 1
        self._finish()

    def _finish(self) -> None:
        if self.closed and not self.outstanding and not self.slot.done:
            self.slot.set(None)


class Extent(Generic[Owner]):
    """Contiguous dirty bytes that go to the server through ``owner``."""

    __slots__ = ("batch", "behind", "blocker", "data", "offset", "owner")

    def __init__(self, offset: int, data: Buffer, owner: Owner, batch: Batch) -> None:
        self.offset = offset
        self.data = data
        self.owner = owner
        self.batch = batch
        self.blocker: Extent[Owner] | None = None
        """The overlapping sent extent that this one, which should be sent, waits for."""
        self.behind: list[Extent[Owner]] = []
        """Those that waited for this one, in the order they came; some may no longer wait."""
        batch.outstanding += 1

    @property
    def end(self) -> int:
        """Offset just after the last byte."""
        return self.offset + len(self.data)


class DirtyExtents(Generic[Owner]):
    """All dirty extents of one file."""

    __slots__ = (
        "_current",
        "_current_end",
        "_current_limit",
        "_ended",
        "_sent",
        "_unsent",
        "batch",
        "blocked",
        "unsent_bytes",
    )

    def __init__(self) -> None:
        self._unsent: list[Extent[Owner]] = []
        self._sent: list[Extent[Owner]] = []
        # The extent the last write went to, for the sequential writer.
        # INVARIANT: unsent, its data a bytearray, free to grow up to _current_limit.
        self._current: Extent[Owner] | None = None
        self._current_end = 0
        self._current_limit = 0
        self.batch = Batch(0)
        self._ended: list[Batch] = []
        self.blocked = 0
        """How many should be sent and wait for an overlapping sent one."""
        self.unsent_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._unsent or self._sent)

    @property
    def sent(self) -> list[Extent[Owner]]:
        """Those under way; read only."""
        return self._sent

    @property
    def held(self) -> int:
        """Dirty bytes, sent or not."""
        return self.unsent_bytes + sum(len(extent.data) for extent in self._sent)

    @property
    def end(self) -> int:
        """Offset after the last dirty byte; 0 if nothing is dirty."""
        end = self._unsent[-1].end if self._unsent else 0
        return max(end, self._sent[-1].end) if self._sent else end

    def write(self, offset: int, data: bytes, owner: Owner) -> int:
        """Take ``data`` at ``offset``; the last write wins. Returns how many unsent bytes it replaced."""
        current = self._current
        end = offset + len(data)
        if (
            current is not None
            and offset == self._current_end
            and end <= self._current_limit
            and current.owner is owner
            and len(data) < WHOLE_WRITE_BYTES
        ):
            current.data += data  # type: ignore[operator]  # a bytearray: invariant of _current
            self._current_end = end
            self.unsent_bytes += len(data)
            return 0
        return self._write_anywhere(offset, end, data, owner)

    def _write_anywhere(self, offset: int, end: int, data: bytes, owner: Owner) -> int:
        self._current = None
        position = self._first_reaching(self._unsent, offset)
        if position < len(self._unsent):
            extent = self._unsent[position]
            if extent.offset <= offset and end <= extent.end:
                if not isinstance(extent.data, bytearray):
                    extent.data = bytearray(extent.data)
                extent.data[offset - extent.offset : end - extent.offset] = data
                return len(data)
        replaced = self._carve(position, offset, end)
        self.unsent_bytes += len(data)
        position = bisect_left(self._unsent, offset, key=_offset_of)
        limit = self._unsent[position].offset if position < len(self._unsent) else 1 << 63
        if position and self._can_follow(self._unsent[position - 1], offset, data, owner):
            extent = self._unsent[position - 1]
            extent.data += data  # type: ignore[operator]  # _can_follow saw a bytearray
        else:
            whole = len(data) >= WHOLE_WRITE_BYTES
            extent = Extent(offset, data if whole else bytearray(data), owner, self.batch)
            self._unsent.insert(position, extent)
            if whole:
                return replaced
        self._current, self._current_end, self._current_limit = extent, end, limit
        return replaced

    @staticmethod
    def _can_follow(extent: Extent[Owner], offset: int, data: bytes, owner: Owner) -> bool:
        return (
            extent.end == offset
            and extent.owner is owner
            and isinstance(extent.data, bytearray)
            and len(extent.data) < EXTENT_BYTES
            and len(data) < WHOLE_WRITE_BYTES
        )

    def _carve(self, position: int, start: int, end: int) -> int:
        """Take [start, end) out of the unsent extents from ``position`` on; returns bytes taken out."""
        removed = 0
        unsent = self._unsent
        while position < len(unsent) and unsent[position].offset < end:
            extent = unsent[position]
            offset, stop = extent.offset, extent.end
            removed += min(stop, end) - max(offset, start)
            if offset < start:
                # Not both sides: a write inside one extent was patched in.
                extent.data = extent.data[: start - offset]
                position += 1
            elif stop > end:
                extent.data = extent.data[end - offset :]
                extent.offset = end
            else:
                del unsent[position]
                self._unblock(extent)
                extent.batch.leave()
        self.unsent_bytes -= removed
        return removed

    def _unblock(self, extent: Extent[Owner]) -> None:
        if extent.blocker is not None:
            extent.blocker = None
            self.blocked -= 1

    @staticmethod
    def _first_reaching(extents: list[Extent[Owner]], offset: int) -> int:
        """Position of the first extent that ends after ``offset``."""
        position = bisect_right(extents, offset, key=_offset_of)
        if position and extents[position - 1].end > offset:
            position -= 1
        return position

    def full(self, offset: int) -> Extent[Owner] | None:
        """The unsent extent holding the byte at ``offset``, if it is large enough to be sent."""
        current = self._current
        if current is not None and current.offset <= offset < self._current_end:
            return current if self._current_end - current.offset >= EXTENT_BYTES else None
        position = self._first_reaching(self._unsent, offset)
        if position == len(self._unsent) or self._unsent[position].blocker is not None:
            return None
        extent = self._unsent[position]
        return extent if len(extent.data) >= WHOLE_WRITE_BYTES else None

    def unsent(self) -> list[Extent[Owner]]:
        """The unsent extents that do not wait for a sent one, by offset; a copy."""
        return [extent for extent in self._unsent if extent.blocker is None]

    def start(self, extent: Extent[Owner]) -> bool:
        """Counts ``extent`` as sent. Returns False if it must wait for an overlapping one under way, whose
        ``finish`` returns it."""
        if extent is self._current:
            self._current = None
        if extent.blocker is not None:
            return False
        position = self._first_reaching(self._sent, extent.offset)
        if position < len(self._sent) and self._sent[position].offset < extent.end:
            extent.blocker = self._sent[position]
            extent.blocker.behind.append(extent)
            self.blocked += 1
            return False
        self._take_out(extent)
        self._sent.insert(bisect_left(self._sent, extent.offset, key=_offset_of), extent)
        return True

    def finish(self, extent: Extent[Owner]) -> list[Extent[Owner]]:
        """A sent extent is acknowledged, or failed and is given up. Returns those that waited for it."""
        del self._sent[bisect_left(self._sent, extent.offset, key=_offset_of)]
        freed = [one for one in extent.behind if one.blocker is extent]
        for one in freed:
            self._unblock(one)
        extent.batch.leave()
        return freed

    def withdraw(self, extent: Extent[Owner]) -> None:
        """An unsent extent is given up."""
        if extent is self._current:
            self._current = None
        self._unblock(extent)
        self._take_out(extent)
        extent.batch.leave()

    def _take_out(self, extent: Extent[Owner]) -> None:
        del self._unsent[bisect_left(self._unsent, extent.offset, key=_offset_of)]
        self.unsent_bytes -= len(extent.data)

    def close_batch(self) -> Batch:
        """End the current batch and begin another; returns the ended one."""
        batch = self.batch
        self.batch = Batch(batch.number + 1)
        batch.close()
        return batch

    def close_batches(self) -> list[Batch]:
        """Ends the current batch if anything is in it. Returns all ended ones that are not done, oldest
        first."""
        self._ended = [batch for batch in self._ended if not batch.slot.done]
        if self.batch.outstanding:
            self._ended.append(self.close_batch())
        return list(self._ended)

    def overlaps(self, start: int, end: int) -> bool:
        """True if a byte of [start, end) is dirty."""
        return self._overlap(self._unsent, start, end) or self._overlap(self._sent, start, end)

    def _overlap(self, extents: list[Extent[Owner]], start: int, end: int) -> bool:
        position = self._first_reaching(extents, start)
        return position < len(extents) and extents[position].offset < end

    def snapshot(self, start: int, end: int) -> list[tuple[int, Buffer]]:
        """The dirty bytes of [start, end) as (offset, data), older before newer; they never change."""
        pieces: list[tuple[int, Buffer]] = []
        if not self:
            return pieces
        for extent, first, last in self._within(self._sent, start, end):
            view = memoryview(extent.data)[first - extent.offset : last - extent.offset]
            pieces.append((first, view))
        for extent, first, last in self._within(self._unsent, start, end):
            # A copy: an unsent extent may still be patched, and an exported bytearray cannot grow.
            pieces.append((first, bytes(extent.data[first - extent.offset : last - extent.offset])))
        return pieces

    def _within(
        self, extents: list[Extent[Owner]], start: int, end: int
    ) -> Iterator[tuple[Extent[Owner], int, int]]:
        for position in range(self._first_reaching(extents, start), len(extents)):
            extent = extents[position]
            if extent.offset >= end:
                return
            yield extent, max(start, extent.offset), min(end, extent.end)


def overlay(base: Buffer, start: int, length: int, pieces: list[tuple[int, Buffer]]) -> bytearray:
    """``length`` bytes from ``start``: ``base``, zeros after its end, ``pieces`` over both in order."""
    result = bytearray(length)
    result[: len(base)] = base
    del result[length:]
    for offset, data in pieces:
        first = offset - start
        if first < length:
            room = length - first
            result[first : first + len(data)] = data if len(data) <= room else memoryview(data)[:room]
    return result


def covers(pieces: list[tuple[int, Buffer]], start: int, end: int) -> bool:
    """True if ``pieces`` leave no byte of [start, end) open."""
    for offset, data in sorted(pieces, key=lambda piece: piece[0]):
        if offset > start:
            return False
        start = max(start, offset + len(data))
    return start >= end
