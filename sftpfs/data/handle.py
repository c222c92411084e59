"""One open of a file: what the kernel's requests on it come to.

Thin: checks what the handle may do, reports failed writes to it, and leaves the
rest to the reader and the writer of the content.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from sftpfs.aio import Slot
from sftpfs.data.outgoing import all_done
from sftpfs.data.state import HandleState
from sftpfs.errors import error
from sftpfs.types import AttributeChange, Attributes, Buffer

if TYPE_CHECKING:
    from sftpfs.data.content import FileContent
    from sftpfs.remote.api import RemoteFile


LEAST_PART = 64 << 10
"""Bytes: a request of the kernel's that is not the last of one write(2) is larger, 128 KiB less a page on
the oldest kernels and 1 MiB on others."""


def _always() -> bool:
    return True


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
        if self.drops_pages:
            self.content.kept_pages(self)
        return self.content.reader.hit(self, offset, size) if self.readable else None

    async def read(self, offset: int, size: int) -> Buffer:
        """``size`` bytes at ``offset``, fewer only at the end of file. EBADF on a write-only handle."""
        if self.drops_pages:
            self.content.kept_pages(self)
        if not self.readable:
            raise error(errno.EBADF)
        if size <= 0:
            return b""
        if self.content.awaits_appends(offset + size):
            await self.content.writer.appended()
        return await self.content.reader.read(self, offset, size)

    def write_nowait(self, offset: int, data: bytes) -> bool:
        """Absorb ``data`` now; False where ``write`` must wait or has something to raise."""
        if self.drops_pages:
            self.content.kept_pages(self)
        if self.error is not None or self.synchronous or self.doubtful or not self.writable or not data:
            return False
        if self.picky:
            return False
        if not self.content.writer.write_nowait(self, offset, data):
            return False
        self.part_end = offset + len(data) if len(data) >= LEAST_PART else -1
        return True

    async def write(self, offset: int, data: bytes) -> None:
        """Absorb ``data``; where the handle is synchronous or doubtful, wait until the server has it.

        Raises the first write of the file that failed since this handle was last told.
        """
        if not self.writable:
            raise error(errno.EBADF)
        self._tell_before(offset)
        if not data:
            return
        writer = self.content.writer
        if self.picky and not writer.takes(self, offset):
            raise error(errno.EOPNOTSUPP, "this server takes whole files only, from front to back")
        if self.doubtful:
            await all_done(writer.send_and_close())  # what was accepted before ``write`` does not report
            self.reports = True
        try:
            await writer.write(self, offset, data)
            self.part_end = offset + len(data) if len(data) >= LEAST_PART else -1
            if self.reports:
                await writer.push(self, fsync=self.fsync_writes)
                self._tell(self.error, by_write=True)
                self.doubtful = False
        finally:
            self.reports = self.synchronous

    def _tell_before(self, offset: int) -> None:
        """Raise what is to be told before a write at ``offset``. Where that may be the rest of a larger one
        the kernel gives the program a short count instead: a hint, and so it is told again."""
        rest = offset == self.part_end
        self.part_end = -1
        if rest and self.error is not None:
            self._heard(self.error, by_write=True)
            _raise(self.error)
        self._tell(self.error, by_write=True)

    def _heard(self, problem: OSError, *, by_write: bool) -> None:
        """The program knows that something it wrote so far has failed."""
        if by_write:
            self.content.told_by_write(self, problem)
        self.unheard = False
        self.heard = self.content.writer.telling.mark()

    def _tell(self, problem: OSError | None, *, by_write: bool = False) -> None:
        """Raise ``problem``, where there is one, to a program that surely listens: once."""
        if problem is not None:
            self._heard(problem, by_write=by_write)
            self.error = self.fsync_error = None
            self.content.writer.telling.unheard = None
            _raise(problem)

    async def flush(self, last: Callable[[], bool] = _always) -> None:
        """A copy of the descriptor was closed: every write of the file is acknowledged. Raises the first
        that failed, if ``write`` or ``fsync`` did not, each time: a child may have closed its copy.

        What is ``undecided`` is handed over where that was the ``last`` copy, as far as can be known: what
        the server refuses of it is raised as well."""
        if not self.writable:
            return
        handed_over = False

        def decided() -> bool:
            nonlocal handed_over
            handed_over = self.undecided and last()
            return handed_over

        writer = self.content.writer
        await writer.flush(self, handed_over=decided)
        _raise(self.error)
        expected = handed_over
        if decided():
            await writer.hand_over(self)
            _raise(self.error)
        elif expected:
            await writer.flush(self)  # its last name went meanwhile: nothing is decided any more

    @property
    def undecided(self) -> bool:
        """The server may still refuse what was written, as it is closed."""
        return self.writable and self.remote.undecided

    @property
    def hidden(self) -> bool:
        """It was emptied by this handle, and the server shows that as it is closed."""
        return self.remote.hidden

    @property
    def unnamed(self) -> bool:
        """The server gives the file its name as it is closed."""
        return self.remote.unnamed

    async def fsync(self) -> None:
        """Every write of the file is acknowledged, and the server was asked to bring it to its disk. Raises
        the first that failed of which this handle was not told, also where it may only read."""
        try:
            await self.content.writer.flush(self, fsync=True)
        except OSError:
            self._tell(self.error or self.fsync_error)  # says more than what fsync made of it
            raise
        self._tell(self.error or self.fsync_error)

    # For anybody, as long as the handle is not released when it is asked: it may be while they wait.

    def lent(self) -> AbstractContextManager[None]:
        """What it has open stays open meanwhile."""
        return self.content.using(self.remote)

    async def fstat(self) -> Attributes:
        """The server's attributes of the open file."""
        with self.lent():
            return await self.start_fstat().wait()

    def start_fstat(self) -> Slot[Attributes]:
        """As ``fstat``, sent now; to be waited for while ``lent``."""
        return self.remote.start_fstat()

    async def setattr(self, change: AttributeChange) -> Attributes:
        """FSETSTAT and FSTAT together.

        Where size or mtime are to change, our writes go first: the server would set
        its own mtime with each that came later. So do changes asked for before this one.
        """
        content = self.content
        with self.lent():
            if change.size is not None or change.mtime is not None or content.deferring:
                await content.settle()
            attributes = await set_and_stat(self.remote, change)
        content.changed(attributes, resized=change.size is not None)
        return attributes

    async def release(self) -> None:
        """The last use: what is dirty goes to the server, then CLOSE, for which nobody waits.

        What failed, and neither ``write`` nor ``fsync`` told, nobody may have been told of.
        """
        content = self.content
        self.created = False  # what is asked for from now on could miss the last flush
        try:
            if self.writable and content.dirty:
                await content.writer.flush(self, handed_over=lambda: self.undecided)
            if self.undecided:
                await content.writer.hand_over(self)
        finally:
            content.detach(self)


async def set_and_stat(remote: RemoteFile, change: AttributeChange) -> Attributes:
    """FSETSTAT and FSTAT together: what ``change`` made of the file."""
    ordered = remote.ordered
    changed = remote.start_setattr(change)
    if not ordered:
        await changed.wait()
    told = remote.start_fstat_behind()
    await changed.wait()
    return await told.wait()


def _raise(problem: OSError | None) -> None:
    """A copy of ``problem``, which may be raised again elsewhere."""
    if problem is not None:
        raise OSError(problem.errno, problem.strerror)
