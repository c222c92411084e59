"""Requests of a reader that are under way, and whom their answers go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftpfs import clock, operation
from sftpfs.aio import Slot
from sftpfs.data.chunks import CHUNK_SHIFT
from sftpfs.data.state import HandleState
from sftpfs.types import Attributes, Buffer

if TYPE_CHECKING:
    from sftpfs.data.reader import ContentReader


class Fetch:
    """One chunk under way; ``slot`` gives its bytes.

    ``stale``: a write or another version came in between; nobody may use the result.
    """

    __slots__ = (
        "ahead",
        "begun",
        "generation",
        "handle",
        "index",
        "length",
        "reader",
        "sent",
        "slot",
        "stale",
    )

    def __init__(
        self,
        reader: ContentReader,
        handle: HandleState,
        index: int,
        length: int,
        generation: int,
        ahead: bool,
    ) -> None:
        self.reader = reader
        self.handle = handle
        self.index = index
        self.length = length
        self.generation = generation
        self.ahead = ahead
        self.stale = False
        self.sent = clock.awake()
        self.begun = operation.begun()
        """When the operation it ends with began."""
        self.slot: Slot[Buffer] = handle.remote.start_read(index << CHUNK_SHIFT, length)

    def completed(self, _: Slot[Buffer]) -> None:
        """Slot callback."""
        self.reader.fetched(self)


class Verification:
    """FSTAT sent along with a fetch; ``checked`` is filled once its answer was taken in, never fails."""

    __slots__ = ("checked", "epoch", "reader", "slot")

    def __init__(self, reader: ContentReader, handle: HandleState, epoch: int) -> None:
        self.reader = reader
        self.epoch = epoch
        self.checked: Slot[None] = Slot()
        self.slot: Slot[Attributes] = handle.remote.start_fstat()

    def completed(self, _: Slot[Attributes]) -> None:
        """Slot callback."""
        self.reader.verified(self)
