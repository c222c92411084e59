"""A reader's requests that are under way, and who gets their answers."""

from __future__ import annotations

from collections.abc import Callable

from sftpfs import clock, operation
from sftpfs.aio import Slot
from sftpfs.data.buffers.chunk_cache import CHUNK_SHIFT
from sftpfs.data.content_state import HandleState
from sftpfs.types import Attributes, Buffer


class Fetch:
    """One chunk under way; ``slot`` has its bytes.

    ``stale``: a write or another version came in between, so nobody may use the result.
    """

    __slots__ = (
        "ahead",
        "begun",
        "generation",
        "handle",
        "index",
        "length",
        "on_reply",
        "sent",
        "slot",
        "stale",
    )

    def __init__(
        self,
        on_reply: Callable[[Fetch], None],
        handle: HandleState,
        index: int,
        length: int,
        generation: int,
        ahead: bool,
    ) -> None:
        self.on_reply = on_reply
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
        self.on_reply(self)


class VersionCheck:
    """FSTAT sent along with a fetch. ``checked`` is filled once its answer was processed, and never fails."""

    __slots__ = ("checked", "epoch", "on_reply", "slot")

    def __init__(self, on_reply: Callable[[VersionCheck], None], handle: HandleState, epoch: int) -> None:
        self.on_reply = on_reply
        self.epoch = epoch
        self.checked: Slot[None] = Slot()
        self.slot: Slot[Attributes] = handle.remote.start_fstat()

    def completed(self, _: Slot[Attributes]) -> None:
        """Slot callback."""
        self.on_reply(self)
