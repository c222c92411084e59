"""A file open to read and to write on a server not known to do both by one handle: a handle for each.

Made by ``remote.client``, used by ``data`` as ``remote.api.RemoteFile``. Writes and questions use the handle
that was opened first, to write. The other handle is made when something is read for the first time, or before
the name goes by which it can be made. It is accepted only if it is the version that is known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sftpfs.aio import Slot
from sftpfs.remote.api import HandedOver
from sftpfs.remote.files.lazy_open import LazyFile, LazyFiles
from sftpfs.remote.files.pooled_file import PooledFile
from sftpfs.remote.slots import on_filled
from sftpfs.types import AttributeChange, Attributes, Buffer, OpenFlags


class _AsWritten:
    """As ``lazy_open.Expected``: what the writer's file has become by its writes."""

    __slots__ = ("_writer",)

    def __init__(self, writer: PooledFile) -> None:
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

    def __init__(self, late_files: LazyFiles, writer: PooledFile, *, alone: bool) -> None:
        """``alone``: the server has one handle at a time."""
        self.flags = writer.flags | OpenFlags.READ
        if writer.appends:
            self.flags |= OpenFlags.APPEND
        self._writer = writer
        self._reader = LazyFile(late_files, writer.current_path, partial(_AsWritten, writer))
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
        """As ``RemoteFile.start_read``. What is undecided may have no name to be read by, or may not have the
        bytes."""
        if not self._writer.undecided:
            return self._reader.start_read(offset, length)
        result: Slot[Buffer] = Slot()

        def handed_over(slot: Slot[HandedOver]) -> None:
            if slot.error is not None:
                result.fail(slot.error)
            else:
                on_filled(self._reader.start_read(offset, length), read)

        def read(slot: Slot[Buffer]) -> None:
            if slot.error is not None:
                result.fail(slot.error)
            else:
                result.set(slot.result())

        on_filled(self._writer.start_hand_over(), handed_over)
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

    def start_hand_over(self, change: AttributeChange | None = None) -> Slot[HandedOver]:
        """As ``RemoteFile.start_hand_over``."""
        return self._writer.start_hand_over(change)

    def confirm(self) -> None:
        """As ``RemoteFile.confirm``."""
        self._writer.confirm()

    def close(self) -> None:
        """As ``RemoteFile.close``."""
        self._writer.close()
        self._reader.close()
