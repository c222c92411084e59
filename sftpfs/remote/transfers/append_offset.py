"""Where appended data goes on a server that does not open files to append to them.

Owned by ``remote.files.pooled_file``, one object a file opened so. The end is asked for when the first of
several writes is about to go. The writes behind it follow each other while any of them is under way. If
another client appends between that FSTAT and our write, its data is overwritten: SFTP has nothing against
that.
"""

from __future__ import annotations

from typing import Protocol

from sftpfs.aio import Slot
from sftpfs.remote.slots import on_filled
from sftpfs.remote.transfers.send_queue import QueuedWrite, SendQueue
from sftpfs.types import Attributes


class Appended(Protocol):
    """What is needed of the open file."""

    outbox: SendQueue

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""


class End:
    """See the module.

    INVARIANT: a piece keeps its place: sent again it is written over itself.
    """

    __slots__ = ("_asking", "_at", "_file", "_known")

    def __init__(self, file: Appended) -> None:
        self._file = file
        self._at = 0
        self._asking = False
        self._known = False
        """The end is known as of just now."""

    def place(self, piece: QueuedWrite) -> bool:
        """Whether it is known where ``piece`` goes. If not, that is asked, and the outbox goes on then."""
        if piece.place is not None:
            return True
        if not (self._known or self._file.outbox.under_way):
            self._ask()
            return False
        piece.place = self._at
        self._at += piece.length
        return True

    def _ask(self) -> None:
        if not self._asking:
            self._asking = True
            on_filled(self._file.start_fstat(), self._answered)

    def _answered(self, answer: Slot[Attributes]) -> None:
        self._asking = False
        outbox = self._file.outbox
        if isinstance(answer.error, OSError):
            outbox.give_up(outbox.take(), answer.error)
            return
        self._at, self._known = answer.result().size, True
        outbox.pump()
        self._known = False
