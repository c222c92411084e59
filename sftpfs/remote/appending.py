"""Where what is appended goes on a server that does not open files to append to them.

Owned by ``remote.file``, one object a file opened so. The end is asked for as the first of several writes is
about to go; those behind it, while any of them is under way, follow each other. Another client that appends
between that FSTAT and our write is written over: SFTP has nothing against that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sftpfs.aio import Slot
from sftpfs.remote.outbox import Outbox
from sftpfs.remote.waiting import when_done
from sftpfs.types import Attributes

if TYPE_CHECKING:
    from sftpfs.remote.writes import WritePiece


class Appended(Protocol):
    """What is needed of the open file."""

    outbox: Outbox

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""


class End:
    """See the module.

    INVARIANT: a piece keeps its place: sent again it is written over itself.
    """

    __slots__ = ("_asking", "_at", "_file", "_told")

    def __init__(self, file: Appended) -> None:
        self._file = file
        self._at = 0
        self._asking = False
        self._told = False
        """The end is known as of just now."""

    def place(self, piece: WritePiece) -> bool:
        """Whether it is known where ``piece`` goes; else that is asked, and the outbox goes on then."""
        if piece.place is not None:
            return True
        if not (self._told or self._file.outbox.under_way):
            self._ask()
            return False
        piece.place = self._at
        self._at += piece.length
        return True

    def _ask(self) -> None:
        if not self._asking:
            self._asking = True
            when_done(self._file.start_fstat(), self._answered)

    def _answered(self, answer: Slot[Attributes]) -> None:
        self._asking = False
        outbox = self._file.outbox
        if isinstance(answer.error, OSError):
            outbox.give_up(outbox.take(), answer.error)
            return
        self._at, self._told = answer.result().size, True
        outbox.pump()
        self._told = False
