"""A file whose content is in memory: opened when it is first used, or once it has been open for a while.

Used by ``data`` as ``remote.api.RemoteFile``. Requests made before the OPEN was answered are kept, and then
sent in order. What is opened by the path may be another file than the one in memory. It is accepted if it is
the version that is known, or one that has grown. A file that is kept open is opened soon, while it still is
that version, so that its handle can show what happens to it later. Before the file or its name is changed
here it is opened in any case (``OpenInode.open_late``).
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import trio

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import error, fresh
from sftpfs.remote.api import CurrentPath, HandedOver, RemoteFile
from sftpfs.remote.files.pooled_file import PooledFile
from sftpfs.remote.handles.close_result import nobody_notified
from sftpfs.remote.handles.open_files import OpenFiles
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.slots import on_filled
from sftpfs.types import AttributeChange, Attributes, Buffer, OpenFlags

OpenOne = Callable[[bytes, OpenFlags, int, CurrentPath], Awaitable[tuple[RemoteFile, Attributes]]]
"""Opens a file by its path: as ``SftpRemote.open_one``."""

OPENED_AFTER = 1.0
"""Seconds that a file is open before it is opened on the server: a program that only reads it is done by
then."""


class LazyFiles:
    """The files of a mount that are open, and not on the server.

    INVARIANT: a task tends them exactly while ``_waiting`` is not empty, or a moment longer.
    """

    __slots__ = ("_tended", "_waiting", "open_files", "open_one", "pool")

    def __init__(self, open_one: OpenOne, pool: ConnectionPool, open_files: OpenFiles) -> None:
        self.pool = pool
        self.open_files = open_files
        self.open_one = open_one
        self._waiting: dict[LazyFile, float] = {}
        """In the order they were made, with the time."""
        self._tended = False

    def make(
        self,
        current_path: CurrentPath,
        known: Callable[[], Attributes | None],
        changed: Callable[[Attributes], None] | None,
    ) -> RemoteFile:
        """As ``Remote.open_later``."""
        inode = self.open_files.find(current_path)
        lender = None if inode is None else inode.readable()
        if isinstance(lender, PooledFile):
            return lender
        file = LazyFile(self, current_path, partial(_Known, known, changed))
        self.open_files.late(file, current_path)
        self._waiting[file] = clock.awake()
        if not self._tended:
            self._tended = True
            self.pool.spawn(self._open_overdue)
        return file

    def opening(self, file: LazyFile) -> None:
        """``file`` waits no more: it is closed, or is being opened."""
        self._waiting.pop(file, None)

    async def _open_overdue(self) -> None:
        try:
            while self._waiting:
                await trio.sleep(OPENED_AFTER)
                due = clock.awake() - OPENED_AFTER
                while self._waiting and next(iter(self._waiting.values())) <= due:
                    next(iter(self._waiting)).open_soon()
        finally:
            self._tended = False


class _QueuedRequest:
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


class Expected(Protocol):
    """What the file must be that is opened by a path."""

    def accepts(self, found: Attributes) -> bool:
        """Whether the file that was ``found`` as it was opened can be the expected one."""

    def opened(self, found: Attributes) -> None:
        """The file that was opened was accepted."""


class _Known:
    """Expected is what is known of a file that others may be appending to; ``changed`` is told of it."""

    __slots__ = ("_before", "_changed", "_known")

    def __init__(
        self, known: Callable[[], Attributes | None], changed: Callable[[Attributes], None] | None
    ) -> None:
        self._known = known
        self._changed = changed
        self._before = known()

    def accepts(self, found: Attributes) -> bool:
        """As ``Expected.accepts``. What is known now may be newer than what was opened."""
        return _may_be(self._before, found) or _may_be(self._known(), found)

    def opened(self, found: Attributes) -> None:
        """As ``Expected.opened``. It is news only if nothing was known later than that."""
        before, now = self._before, self._known()
        if self._changed is None or before is None or now is None:
            return
        if _version(before) == _version(now) != _version(found):
            self._changed(found)


class LazyFile:
    """See the module. For reading only.

    INVARIANT: ``_kept`` is empty once ``_file`` or ``_failure`` is set, and while no OPEN is under way.
    """

    __slots__ = (
        "_closed",
        "_current_path",
        "_expect",
        "_failure",
        "_file",
        "_kept",
        "_late_files",
        "_opening",
        "flags",
        "refused",
    )

    def __init__(
        self,
        late_files: LazyFiles,
        current_path: CurrentPath,
        expect: Callable[[], Expected],
    ) -> None:
        """``expect`` is asked as the OPEN is sent."""
        self.flags = OpenFlags.READ
        self.refused: Callable[[OSError], None] = nobody_notified
        self._late_files = late_files
        self._current_path = current_path
        self._expect = expect
        self._file: RemoteFile | None = None
        self._failure: OSError | None = None
        self._kept: list[_QueuedRequest] = []
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

    @property
    def write_limit(self) -> int:
        """As ``RemoteFile.write_limit``: nothing can be written."""
        return 0

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""
        return self._start(lambda file: file.start_fstat())

    def start_fstat_behind(self) -> Slot[Attributes]:
        """As ``start_fstat``: there are no writes."""
        return self.start_fstat()

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """As ``RemoteFile.start_setattr``."""
        return self._start(lambda file: file.start_setattr(change))

    def start_fsync(self) -> Slot[None]:
        """As ``RemoteFile.start_fsync``: others may have written the file."""
        return self._start(lambda file: file.start_fsync())

    @property
    def takes_any_write(self) -> bool:
        """As ``RemoteFile.takes_any_write``: there are no writes."""
        return True

    def takes_write(self, offset: int, end: int) -> bool:
        """As ``RemoteFile.takes_write``: there are no writes."""
        return False

    @property
    def open_yet(self) -> bool:
        """As ``Late.open_yet``."""
        return self._file is not None or self._failure is not None or self._closed

    @property
    def hidden(self) -> bool:
        """As ``RemoteFile.hidden``: it was not emptied."""
        return False

    @property
    def unnamed(self) -> bool:
        """As ``RemoteFile.unnamed``: it was there."""
        return False

    @property
    def undecided(self) -> bool:
        """As ``RemoteFile.undecided``: there are no writes."""
        return False

    def start_hand_over(self, change: AttributeChange | None = None) -> Slot[HandedOver]:
        """As ``RemoteFile.start_hand_over``: never asked, for nothing is ``undecided``."""
        raise AssertionError("nothing was written")

    def confirm(self) -> None:
        """As ``RemoteFile.confirm``: done as it is opened."""

    def close(self) -> None:
        """As ``RemoteFile.close``."""
        self._closed = True
        if self._file is not None:
            self._file.close()
        elif not self._opening:
            self._late_files.opening(self)
            self._late_files.open_files.not_late(self, self._current_path)

    def _start(self, send: Callable[[RemoteFile], Slot[Any]]) -> Slot[Any]:
        if self._file is not None:
            return send(self._file)
        if self._failure is not None:
            return self._refused(fresh(self._failure))
        if self._late_files.pool.closed:
            return self._refused(error(errno.EIO, "the file was not opened before the mount ended"))
        kept = _QueuedRequest(send)
        self._kept.append(kept)
        self.open_soon()
        return kept.slot

    def open_soon(self) -> None:
        """As ``Late.open_soon``."""
        late_files = self._late_files
        late_files.opening(self)
        if self._opening:
            return
        if late_files.pool.closed:
            late_files.open_files.not_late(self, self._current_path)
            return
        self._opening = True
        late_files.pool.spawn(self._open)

    async def _open(self) -> None:
        failure: OSError = error(errno.EIO, "the file could not be opened before the mount ended")
        try:
            path = self._current_path()
            if path is None:
                raise error(errno.ESTALE)
            expected = self._expect()
            file, attributes = await self._late_files.open_one(path, self.flags, 0, self._current_path)
            if not expected.accepts(attributes):
                file.close()
                raise error(errno.ESTALE)
            self._file = file
            file.confirm()
            expected.opened(attributes)
        except OSError as problem:
            failure = problem
        finally:
            kept, self._kept = self._kept, []
            self._opening = False
            if self._file is None and failure.errno == errno.ESTALE:
                self._failure = failure  # what else it was may be over by the next request
            self._late_files.open_files.not_late(self, self._current_path)
            for request in kept:
                if self._file is None:
                    request.slot.fail(fresh(failure))
                else:
                    on_filled(request.send(self._file), request.answered)
            if self._closed and self._file is not None:
                self._file.close()

    @staticmethod
    def _refused(problem: OSError) -> Slot[Any]:
        slot: Slot[Any] = Slot()
        slot.fail(problem)
        return slot


def _may_be(known: Attributes | None, found: Attributes) -> bool:
    """Whether the file ``found`` can be the ``known`` one (None: we are changing it). It may have
    grown."""
    return known is None or found.size > known.size or _version(found) == _version(known)


def _version(attributes: Attributes) -> tuple[int, int]:
    return attributes.size, attributes.mtime
