"""Requests of a writer that are under way, and whom their answers go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftpfs.aio import Slot
from sftpfs.data.extents import Batch, Extent
from sftpfs.data.state import HandleState

if TYPE_CHECKING:
    from sftpfs.data.writer import ContentWriter


class Outgoing:
    """One extent under way."""

    __slots__ = ("extent", "number", "slot", "writer")

    def __init__(self, writer: ContentWriter, extent: Extent[HandleState], number: int) -> None:
        self.writer = writer
        self.extent = extent
        self.number = number
        """Counts those of the file, in the order sent."""
        self.slot: Slot[None] = extent.owner.remote.start_write(extent.offset, extent.data)

    def completed(self, _: Slot[None]) -> None:
        """Slot callback."""
        self.writer.acknowledged(self)


async def all_done(batches: list[Batch]) -> OSError | None:
    """All ``batches`` are done; the first failure among them."""
    failure: OSError | None = None
    for batch in batches:
        await batch.slot.wait()
        failure = failure or batch.error
    return failure
