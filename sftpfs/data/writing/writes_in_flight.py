"""A writer's requests that are under way, and who gets their answers."""

from __future__ import annotations

from collections.abc import Callable

from sftpfs.aio import Slot
from sftpfs.data.buffers.dirty_extents import Batch, Extent
from sftpfs.data.content_state import HandleState


class ExtentWrite:
    """One extent under way."""

    __slots__ = ("extent", "number", "on_reply", "slot")

    def __init__(
        self, on_reply: Callable[[ExtentWrite], None], extent: Extent[HandleState], number: int
    ) -> None:
        self.on_reply = on_reply
        self.extent = extent
        self.number = number
        """Counts those of the file, in the order sent."""
        self.slot: Slot[None] = extent.owner.remote.start_write(extent.offset, extent.data)

    def completed(self, _: Slot[None]) -> None:
        """Slot callback."""
        self.on_reply(self)


async def all_done(batches: list[Batch]) -> OSError | None:
    """All ``batches`` are done. Returns the first failure among them."""
    failure: OSError | None = None
    for batch in batches:
        await batch.slot.wait()
        failure = failure or batch.error
    return failure
