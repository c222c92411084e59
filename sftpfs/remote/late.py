"""A file opened when it is first used: its content is in memory, so that may be never.

Used by ``data`` as ``remote.api.RemoteFile``. Requests before the OPEN was answered are
kept and sent in order then.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, error
from sftpfs.remote.api import OpenFlags, RemoteFile
from sftpfs.remote.waiting import when_done
from sftpfs.types import AttributeChange, Attributes, Buffer

if TYPE_CHECKING:
    from sftpfs.remote.server import Server


class _Kept:
    """A request kept for when the file is open, and the slot its answer goes to."""

    __slots__ = ("send", "slot")

    def __init__(self, send: Callable[[RemoteFile], Slot[Any]]) -> None:
        self.send = send
        self.slot: Slot[Any] = Slot()

    def answered(self, slot: Slot[Any]) -> None:
        """Slot callback."""
        if slot.error is None:
            self.slot.set(slot.result())
        else:
            self.slot.fail(slot.error)


class LateFile:
    """See the module. For reading only.

    INVARIANT: ``_kept`` is empty once ``_file`` or ``_failure`` is set, and while no OPEN is under way.
    """

    __slots__ = (
        "_closed",
        "_current_path",
        "_failure",
        "_file",
        "_kept",
        "_opening",
        "_server",
        "_spawn",
        "flags",
    )

    def __init__(
        self,
        server: Server,
        current_path: Callable[[], bytes | None],
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self.flags = OpenFlags.READ
        self._server = server
        self._current_path = current_path
        self._spawn = spawn
        self._file: RemoteFile | None = None
        self._failure: OSError | None = None
        self._kept: list[_Kept] = []
        self._opening = False
        self._closed = False

    @property
    def ordered(self) -> bool:
        """As ``RemoteFile.ordered``."""
        return self._file is None or self._file.ordered

    def start_read(self, offset: int, length: int) -> Slot[Buffer]:
        """As ``RemoteFile.start_read``."""
        return self._start(lambda file: file.start_read(offset, length))

    def start_write(self, offset: int, data: Buffer) -> Slot[None]:
        """EBADF: the file is open for reading."""
        return self._refused(error(errno.EBADF))

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""
        return self._start(lambda file: file.start_fstat())

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """As ``RemoteFile.start_setattr``."""
        return self._start(lambda file: file.start_setattr(change))

    def start_fsync(self) -> Slot[None]:
        """Filled at once where nothing was opened: there is nothing of ours to bring to disk."""
        return Slot.of(None) if self._file is None else self._file.start_fsync()

    def close(self) -> None:
        """As ``RemoteFile.close``."""
        self._closed = True
        if self._file is not None:
            self._file.close()

    def _start(self, send: Callable[[RemoteFile], Slot[Any]]) -> Slot[Any]:
        if self._file is not None:
            return send(self._file)
        if self._failure is not None:
            return self._refused(OSError(self._failure.errno, self._failure.strerror))
        kept = _Kept(send)
        self._kept.append(kept)
        if not self._opening:
            self._opening = True
            self._spawn(self._open)
        return kept.slot

    async def _open(self) -> None:
        failure: OSError = error(errno.EIO, "the file could not be opened before the mount ended")
        try:
            path = self._current_path()
            if path is None:
                raise error(errno.ESTALE)
            self._file, _ = await self._server.open(path, self.flags, 0, self._current_path)
        except OSError as problem:
            failure = problem
        finally:
            kept, self._kept = self._kept, []
            self._opening = False
            if self._file is None and not isinstance(failure, SessionLostError):
                self._failure = failure  # a lost server may be back for the next request
            for request in kept:
                if self._file is None:
                    request.slot.fail(OSError(failure.errno, failure.strerror))
                else:
                    when_done(request.send(self._file), request.answered)
            if self._closed and self._file is not None:
                self._file.close()

    @staticmethod
    def _refused(problem: OSError) -> Slot[Any]:
        slot: Slot[Any] = Slot()
        slot.fail(problem)
        return slot
