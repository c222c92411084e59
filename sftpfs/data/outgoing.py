"""Requests of a writer that are under way, and whom their answers go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftpfs.aio import Slot
from sftpfs.data.extents import Batch, Extent
from sftpfs.data.state import HandleState
from sftpfs.types import Attributes

if TYPE_CHECKING:
    from sftpfs.data.writer import ContentWriter


class Outgoing:
    """One extent under way."""

    __slots__ = ("extent", "slot", "writer")

    def __init__(self, writer: ContentWriter, extent: Extent[HandleState]) -> None:
        self.writer = writer
        self.extent = extent
        self.slot: Slot[None] = extent.owner.remote.start_write(extent.offset, extent.data)

    def completed(self, _: Slot[None]) -> None:
        """Slot callback."""
        self.writer.acknowledged(self)


class Settlement:
    """The FSTAT that ends a stretch of writing, valid where nothing was written since it left."""

    __slots__ = ("epoch", "slot", "writer")

    def __init__(self, writer: ContentWriter, handle: HandleState, epoch: int) -> None:
        self.writer = writer
        self.epoch = epoch
        self.slot: Slot[Attributes] = handle.remote.start_fstat()

    def completed(self, _: Slot[Attributes]) -> None:
        """Slot callback."""
        self.writer.told(self)

    async def wait(self) -> None:
        """Until the answer was taken in, whatever it was."""
        try:
            await self.slot.wait()
        except OSError:
            pass  # the file stays dirty: our size and time go on to rule


async def all_done(batches: list[Batch]) -> OSError | None:
    """All ``batches`` are done; the first failure among them."""
    failure: OSError | None = None
    for batch in batches:
        await batch.slot.wait()
        failure = failure or batch.error
    return failure
