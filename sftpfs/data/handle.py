"""One open of a file: what the kernel's requests on it come to.

Thin: checks what the handle may do, reports failed writes to it, and leaves the
rest to the reader and the writer of the content.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sftpfs.aio import Slot
from sftpfs.data.state import HandleState
from sftpfs.errors import error
from sftpfs.types import AttributeChange, Attributes, Buffer

if TYPE_CHECKING:
    from sftpfs.data.content import FileContent
    from sftpfs.remote.api import RemoteFile


LEAST_PART = 64 << 10
"""Bytes: a request of the kernel's that is not the last of one write(2) is larger, 128 KiB less a page on
the oldest kernels and 1 MiB on others."""


class FileHandle(HandleState):
    """See the module. Made by ``FileContent.attach``; of no use after ``release``."""

    __slots__ = ("content",)

    def __init__(
        self,
        content: FileContent,
        remote: RemoteFile,
        *,
        readable: bool,
        writable: bool,
        append: bool,
        synchronous: bool,
        direct: bool,
    ) -> None:
        super().__init__(
            remote,
            readable=readable,
            writable=writable,
            append=append,
            synchronous=synchronous or direct,
            direct=direct,
        )
        self.content = content

    def read_nowait(self, offset: int, size: int) -> Buffer | None:
        """The bytes where they are in memory, read-ahead sent on the way; None where ``read`` must wait."""
        self.drops_pages = False
        return self.content.reader.hit(self, offset, size) if self.readable else None

    async def read(self, offset: int, size: int) -> Buffer:
        """``size`` bytes at ``offset``, fewer only at the end of file. EBADF on a write-only handle."""
        self.drops_pages = False
        if not self.readable:
            raise error(errno.EBADF)
        return await self.content.reader.read(self, offset, size) if size > 0 else b""

    def write_nowait(self, offset: int, data: bytes) -> bool:
        """Absorb ``data`` now; False where ``write`` must wait or has something to raise."""
        self.drops_pages = False
        if self.error is not None or self.synchronous or not self.writable or not data:
            return False
        if not self.content.writer.write_nowait(self, offset, data):
            return False
        self.part_end = offset + len(data) if len(data) >= LEAST_PART else -1
        return True

    async def write(self, offset: int, data: bytes) -> None:
        """Absorb ``data``; where the handle is synchronous, wait until the server has it.

        Raises the first write of the file that failed since this handle was last told.
        """
        if not self.writable:
            raise error(errno.EBADF)
        self._raise_before(offset)
        if not data:
            return
        writer = self.content.writer
        await writer.write(self, offset, data)
        self.part_end = offset + len(data) if len(data) >= LEAST_PART else -1
        if self.synchronous:
            await writer.push(self, fsync=self.fsync_writes)
            self.raise_error()

    def _raise_before(self, offset: int) -> None:
        """Raise what is to be told before a write at ``offset``. Where that may be the rest of a larger one
        the kernel gives the program a short count instead: then it is told again."""
        untold = self.error if offset == self.part_end else None
        self.part_end = -1
        try:
            self.raise_error()
        finally:
            self.error = untold

    async def flush(self) -> None:
        """close(2): every write of the file is acknowledged. Raises the first this handle was not told of."""
        if self.writable:
            await self.content.writer.flush(self)
            self.raise_error()

    async def fsync(self) -> None:
        """As ``flush``, and the server was asked to bring the file to its disk."""
        try:
            await self.content.writer.flush(self, fsync=True)
        except OSError:
            self.raise_error()  # the failed write says more than what fsync made of it
            raise
        self.raise_error()

    async def fstat(self) -> Attributes:
        """The server's attributes of the open file."""
        return await self.start_fstat().wait()

    def start_fstat(self) -> Slot[Attributes]:
        """As ``fstat``, sent now."""
        return self.remote.start_fstat()

    async def setattr(self, change: AttributeChange) -> Attributes:
        """FSETSTAT and FSTAT together.

        Where size or mtime are to change, our writes go first: the server would set
        its own mtime with each that came later. So do changes asked for before this one.
        """
        content = self.content
        if change.size is not None or change.mtime is not None or content.deferring:
            await content.settle()
        attributes = await self._set_and_stat(change)
        content.changed(attributes, resized=change.size is not None)
        return attributes

    async def _set_and_stat(self, change: AttributeChange) -> Attributes:
        remote = self.remote
        ordered = remote.ordered
        changed = remote.start_setattr(change)
        if not ordered:
            await changed.wait()
        told = remote.start_fstat()
        await changed.wait()
        return await told.wait()

    async def release(self) -> None:
        """The last use: what is dirty goes to the server, then CLOSE, for which nobody waits.

        Failures are in the log; ``flush`` has reported those it knew of.
        """
        content = self.content
        self.created = False  # what is asked for from now on could miss the last flush
        try:
            if self.writable and content.dirty:
                await content.writer.flush(self)
        finally:
            content.detach(self)
            if all(other.remote is not self.remote for other in content.handles):
                self.remote.close()
