"""A file open to read and to write on a server not known to do both by one handle: a handle for each.

Made by ``remote.server``, used by ``data`` as ``remote.api.RemoteFile``. What is written and asked goes by
the handle that was opened at first, to write; the other is made as something is read for the first time, or
before the name goes by which it can be made, and taken only for the version that is known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sftpfs.aio import Slot
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.file import File
from sftpfs.remote.late import LateFile, LateFiles
from sftpfs.remote.waiting import when_done
from sftpfs.types import AttributeChange, Attributes, Buffer

if TYPE_CHECKING:
    from sftpfs.remote.server import Server


class _AsWritten:
    """As ``late.Expected``: what the writer's file has become by its writes."""

    __slots__ = ("_writer",)

    def __init__(self, writer: File) -> None:
        self._writer = writer

    def accepts(self, found: Attributes) -> bool:
        """As ``Expected.accepts``."""
        version = self._writer.version
        return version is None or version.accepts(found)

    def opened(self, found: Attributes) -> None:
        """As ``Expected.opened``: the writer knows."""


class TwoHandles:
    """See the module."""

    __slots__ = ("_reader", "_writer", "flags")

    def __init__(self, server: Server, late_files: LateFiles, writer: File, *, alone: bool) -> None:
        """``alone``: the server has one handle at a time."""
        self.flags = writer.flags | OpenFlags.READ
        if writer.appends:
            self.flags |= OpenFlags.APPEND
        self._writer = writer
        self._reader = LateFile(server, late_files, writer.current_path, partial(_AsWritten, writer))
        if not alone:
            writer.reader = self._reader

    @property
    def refused(self) -> Callable[[OSError], None]:
        """As ``RemoteFile.refused``."""
        return self._writer.refused

    @refused.setter
    def refused(self, refused: Callable[[OSError], None]) -> None:
        self._writer.refused = refused

    @property
    def takes_any_write(self) -> bool:
        """As ``RemoteFile.takes_any_write``."""
        return self._writer.takes_any_write

    def takes_write(self, offset: int, end: int) -> bool:
        """As ``RemoteFile.takes_write``."""
        return self._writer.takes_write(offset, end)

    @property
    def undecided(self) -> bool:
        """As ``RemoteFile.undecided``."""
        return self._writer.undecided

    @property
    def hidden(self) -> bool:
        """As ``RemoteFile.hidden``."""
        return self._writer.hidden

    @property
    def unnamed(self) -> bool:
        """As ``RemoteFile.unnamed``."""
        return self._writer.unnamed

    @property
    def ordered(self) -> bool:
        """As ``RemoteFile.ordered``."""
        return self._writer.ordered

    @property
    def write_limit(self) -> int:
        """As ``RemoteFile.write_limit``."""
        return self._writer.write_limit

    def start_read(self, offset: int, length: int) -> Slot[Buffer]:
        """As ``RemoteFile.start_read``; what is undecided may have no name to be read by, or none of the
        bytes."""
        if not self._writer.undecided:
            return self._reader.start_read(offset, length)
        result: Slot[Buffer] = Slot()

        def handed_over(slot: Slot[Attributes]) -> None:
            if slot.error is not None:
                result.fail(slot.error)
            else:
                when_done(self._reader.start_read(offset, length), read)

        def read(slot: Slot[Buffer]) -> None:
            if slot.error is not None:
                result.fail(slot.error)
            else:
                result.set(slot.result())

        when_done(self._writer.start_hand_over(), handed_over)
        return result

    def start_write(self, offset: int, data: Buffer) -> Slot[None]:
        """As ``RemoteFile.start_write``."""
        return self._writer.start_write(offset, data)

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""
        return self._writer.start_fstat()

    def start_fstat_behind(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat_behind``."""
        return self._writer.start_fstat_behind()

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """As ``RemoteFile.start_setattr``."""
        return self._writer.start_setattr(change)

    def start_fsync(self) -> Slot[None]:
        """As ``RemoteFile.start_fsync``."""
        return self._writer.start_fsync()

    def start_hand_over(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_hand_over``."""
        return self._writer.start_hand_over()

    def confirm(self) -> None:
        """As ``RemoteFile.confirm``."""
        self._writer.confirm()

    def close(self) -> None:
        """As ``RemoteFile.close``."""
        self._writer.close()
        self._reader.close()
