"""One open of a file, and the kernel's requests on it.

Thin: checks what the handle may do, reports failed writes to it, and leaves the rest to the reader and the
writer of the content.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from sftpfs.aio import Slot
from sftpfs.data.content_state import HandleState
from sftpfs.data.reader import ContentReader
from sftpfs.data.writing.writer import ContentWriter
from sftpfs.data.writing.writes_in_flight import all_done
from sftpfs.errors import error
from sftpfs.remote.api import RemoteFile
from sftpfs.types import AttributeChange, Attributes, Buffer, OpenMode

LEAST_PART = 64 << 10
"""Bytes. A request of the kernel's that is not the last one of a write(2) is larger than this: 128 KiB less a
page on the oldest kernels, and 1 MiB on others."""


def _always() -> bool:
    return True


class OpenContent(Protocol):
    """What a handle needs of the content of its file: see ``FileContent``."""

    @property
    def reader(self) -> ContentReader:
        """All handles read through it."""

    @property
    def writer(self) -> ContentWriter:
        """All handles write through it."""

    @property
    def dirty(self) -> bool:
        """As ``FileContent.dirty``."""

    @property
    def deferring(self) -> bool:
        """As ``FileContent.deferring``."""

    @property
    def may_defer(self) -> bool:
        """As ``FileContent.may_defer``."""

    def defer(self, change: AttributeChange, *, demanded: bool) -> None:
        """As ``FileContent.defer``."""

    def awaits_appends(self, end: int) -> bool:
        """As ``FileContent.awaits_appends``."""

    def kept_pages(self, handle: HandleState) -> None:
        """As ``FileContent.kept_pages``."""

    def reported_by_write(self, handle: HandleState, failure: OSError) -> None:
        """As ``FileContent.reported_by_write``."""

    def using(self, remote: RemoteFile) -> AbstractContextManager[None]:
        """As ``FileContent.using``."""

    async def settle(self) -> Attributes | None:
        """As ``FileContent.settle``."""

    def changed(self, attributes: Attributes, *, resized: bool) -> None:
        """As ``FileContent.changed``."""

    def closed(self, handle: HandleState) -> None:
        """As ``FileContent.closed``."""

    def detach(self, handle: HandleState) -> None:
        """As ``FileContent.detach``."""


class FileHandle(HandleState):
    """See the module. Made by ``FileContent.attach``; of no use after ``release``."""

    __slots__ = ("content",)

    def __init__(
        self,
        content: OpenContent,
        remote: RemoteFile,
        mode: OpenMode,
    ) -> None:
        super().__init__(remote, mode)
        self.content = content

    def read_nowait(self, offset: int, size: int) -> Buffer | None:
        """The bytes, if they are in memory; read-ahead is sent on the way. None if ``read`` must wait."""
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
        """Absorbs ``data`` now. False if ``write`` must wait or has something to raise."""
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
        """Absorbs ``data``. If the handle is synchronous or doubtful, waits until the server has it.

        Raises the first write of the file that failed since this handle last reported one.
        """
        if not self.writable:
            raise error(errno.EBADF)
        self._raise_before_write(offset)
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
                self._raise_once(self.error, by_write=True)
                self.doubtful = False
        finally:
            self.reports = self.synchronous

    def _raise_before_write(self, offset: int) -> None:
        """Raises what must be reported before a write at ``offset``. If that write may be the rest of a
        larger one, the kernel gives the program a short count instead; that is only a hint, and so the
        failure is reported again."""
        rest = offset == self.part_end
        self.part_end = -1
        if rest and self.error is not None:
            self._heard(self.error, by_write=True)
            _raise(self.error)
        self._raise_once(self.error, by_write=True)

    def _heard(self, problem: OSError, *, by_write: bool) -> None:
        """The program knows that something it wrote so far has failed."""
        if by_write:
            self.content.reported_by_write(self, problem)
        self.unheard = False
        self.heard = self.content.writer.write_errors.mark()

    def _raise_once(self, problem: OSError | None, *, by_write: bool = False) -> None:
        """Raises ``problem``, if there is one, to a program that surely listens: once."""
        if problem is not None:
            self._heard(problem, by_write=by_write)
            self.error = self.fsync_error = None
            self.content.writer.write_errors.unheard = None
            _raise(problem)

    async def flush(self, last: Callable[[], bool] = _always) -> None:
        """A copy of the descriptor was closed: every write of the file is acknowledged. Raises the first that
        failed and that neither ``write`` nor ``fsync`` reported, each time, because a child may have closed
        its copy.

        What is ``undecided`` is handed over if that was the ``last`` copy, as far as can be known. What the
        server then refuses is raised as well.
        """
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

    async def finish(self) -> None:
        """As the ``flush`` of the last copy of a descriptor, and CLOSE is sent and answered as well, whatever
        the server. Raises the first failure."""
        writer = self.content.writer
        await writer.flush(self, handed_over=_always)
        _raise(self.error)
        await writer.hand_over(self)
        _raise(self.error)

    @property
    def undecided(self) -> bool:
        """The server may still refuse what was written, as it is closed."""
        return self.writable and self.remote.undecided

    @property
    def hidden(self) -> bool:
        """It was emptied by this handle, and the server shows that only when it is closed."""
        return self.remote.hidden

    @property
    def unnamed(self) -> bool:
        """The server gives the file its name only when it is closed."""
        return self.remote.unnamed

    async def fsync(self) -> None:
        """Every write of the file is acknowledged, and the server was asked to bring it to its disk. Raises
        the first failed write that this handle has not reported, also if it may only read."""
        try:
            await self.content.writer.flush(self, fsync=True)
        except OSError:
            self._raise_once(self.error or self.fsync_error)  # says more than what fsync made of it
            raise
        self._raise_once(self.error or self.fsync_error)

    # Anybody may ask as long as the handle is not released at that time; it may be released while they wait.

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

        If size or mtime change, our writes go first, because the server would set its own mtime with each
        later write. So do changes requested before this one.
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

        If a write failed, and neither ``write`` nor ``fsync`` reported it, perhaps nobody was told.
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
    fstat = remote.start_fstat_behind()
    await changed.wait()
    return await fstat.wait()


def _raise(problem: OSError | None) -> None:
    """A copy of ``problem``, which may be raised again elsewhere."""
    if problem is not None:
        raise OSError(problem.errno, problem.strerror)
