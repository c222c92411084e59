"""One open file on the server: a handle on the metadata connection, and others for bulk.

Owns the handles and which of them a request takes; ``remote.reads`` and ``remote.writes``
carry the single read or write through. Used by ``data`` as ``remote.api.RemoteFile``.

The further handles come from ``remote.stripes``, once the file is bulk.
Where every connection the file was open on is lost, requests wait until it is open again
(``remote.reopening``).
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError, error
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.call import Call
from sftpfs.remote.connection import Connection, Handle
from sftpfs.remote.pool import Pool
from sftpfs.remote.reads import Read
from sftpfs.remote.reopening import OpenFiles, Reopening
from sftpfs.remote.stripes import Stripes
from sftpfs.remote.transfer import Repeatable
from sftpfs.remote.version import KnownVersion
from sftpfs.remote.writes import Write, WritePiece, fail_explained
from sftpfs.types import AttributeChange, Attributes, Buffer

T = TypeVar("T")

BULK_BYTES = 1 << 20
"""A file becomes bulk once this much of it was asked for: what most files are smaller
than, and about what one connection carries in one round trip."""

FSYNC = "fsync@openssh.com"

SIZE_REFUSED = frozenset({Status.FAILURE, Status.BAD_MESSAGE})
"""What OpenSSH makes of EFBIG and EINVAL."""


class File:
    """See the module. Implements ``remote.api.RemoteFile``.

    INVARIANT: ``_handles`` holds handles of one and the same remote file; the first
    is the primary, for everything but bulk, and the rest are stripes.
    INVARIANT: while ``held`` is a queue, no write is sent.
    INVARIANT: while a write waits in ``backlog``, another of this file is under way or held,
    whose end sends it on.
    INVARIANT: a request waits in ``_reopening`` only while ``_handles`` has none that is alive.
    """

    __slots__ = (
        "_bulk",
        "_drained",
        "_epoch",
        "_handles",
        "_last_path",
        "_open_files",
        "_reopening",
        "_requested",
        "_stripes",
        "backlog",
        "closed",
        "current_path",
        "flags",
        "held",
        "patience",
        "read_sizes",
        "used",
        "version",
        "write_sizes",
        "writes_under_way",
    )

    def __init__(
        self,
        pool: Pool,
        connection: Connection,
        identifier: bytes,
        flags: OpenFlags,
        path: bytes,
        current_path: Callable[[], bytes | None],
        open_files: OpenFiles,
    ) -> None:
        self.flags = flags
        self.closed = False
        self.held: deque[WritePiece] | None = None
        """Writes kept back while a stripe is compared."""
        self.backlog: deque[WritePiece] = deque()
        """Writes that wait for a connection to have room, in order."""
        self.writes_under_way = 0
        self.used = True
        """A request was made since ``remote.room`` last asked."""
        self.patience = pool.config.patience
        """Seconds after which a request is not sent again."""
        self.read_sizes = pool.read_sizes
        self.write_sizes = pool.write_sizes
        self.version: KnownVersion | None = None
        """None until OPEN's attributes are known."""
        self.current_path = current_path
        self._bulk = pool.bulk
        self._handles = [Handle(connection, identifier)]
        self._last_path = path
        self._requested = 0
        self._epoch = 0
        self._drained: Slot[None] | None = None
        self._open_files = open_files
        self._reopening = Reopening(self, pool, open_files)
        self._stripes = Stripes(self, pool, self._reopening)
        open_files.opened(self)

    @property
    def ordered(self) -> bool:
        """True while every request travels on one connection, in the order sent."""
        return len(self._handles) < 2 and self.held is None and not self.backlog

    @property
    def write_limit(self) -> int:
        """As ``RemoteFile.write_limit``."""
        return self.write_sizes.limit

    @property
    def path(self) -> bytes:
        """Where the file is, or was last known to be."""
        path = self.current_path()
        if path is not None:
            self._last_path = path
        return self._last_path

    def start_read(self, offset: int, length: int) -> Slot[Buffer]:
        """As ``RemoteFile.start_read``."""
        self._account(length)
        return Read(self, offset, length, self.read_sizes.limit).start()

    def start_write(self, offset: int, data: Buffer) -> Slot[None]:
        """As ``RemoteFile.start_write``."""
        self._account(len(data))
        return Write(self, offset, data, self.write_sizes.limit).start()

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""
        version = self.version
        changes = 0

        def start(handle: Handle) -> Slot[Attributes]:
            nonlocal changes
            changes = version.changes if version is not None else 0
            return handle.session.start_fstat(handle.identifier)

        def done(answer: Slot[Attributes], result: Slot[Attributes]) -> None:
            if answer.error is not None:
                result.fail(answer.error)
                return
            attributes = answer.result()
            if version is not None and version.changes == changes and not self.writes_under_way:
                version.told(attributes)
            result.set(attributes)

        return self._call(start, done)

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """As ``RemoteFile.start_setattr``."""

        grows = change.size is not None and self.version is not None and change.size > self.version.least

        def start(handle: Handle) -> Slot[None]:
            if self.version is not None:
                self.version.setting(change)
            return handle.session.start_fsetstat(handle.identifier, change)

        def done(answer: Slot[None], result: Slot[None]) -> None:
            if answer.error is None:
                if change.size is not None:
                    self._open_files.resized(self, change.size, cut=True)
                result.set(None)
            elif grows and isinstance(answer.error, StatusError) and answer.error.status in SIZE_REFUSED:
                result.fail(error(errno.EFBIG))  # a hole takes no room
            else:
                result.fail(answer.error)

        return self._call(start, done)

    def start_fsync(self) -> Slot[None]:
        """As ``RemoteFile.start_fsync``."""

        def start(handle: Handle) -> Slot[None]:
            if not handle.session.capabilities.has(FSYNC):
                return Slot.of(None)
            return handle.session.start_fsync(handle.identifier)

        def done(answer: Slot[None], result: Slot[None]) -> None:
            if answer.error is None:
                result.set(None)
            else:
                assert isinstance(answer.error, OSError)
                fail_explained(self, 0, answer.error, result)

        return self._call(start, done)

    def _account(self, length: int) -> None:
        self.used = True
        self._requested += length
        if self._requested > BULK_BYTES and not (self.closed or OpenFlags.APPEND in self.flags):
            bulk = self._bulk
            bulk.demand()
            if self._epoch != bulk.epoch and self._stripes.begin():
                self._epoch = bulk.epoch

    def _call(
        self, start: Callable[[Handle], Slot[T]], done: Callable[[Slot[T], Slot[T]], None] | None = None
    ) -> Slot[T]:
        self.used = True
        call = Call(self, start, done)
        call.send()
        return call.slot

    def close(self) -> None:
        """As ``RemoteFile.close``. Writes kept back are sent before."""
        if self.closed:
            return
        self.release_held()
        while self.backlog and (handle := self.choose()) is not None:
            self.backlog.popleft().send_on(handle)
        self.closed = True
        for handle in self._handles:
            if handle.connection.live:
                handle.session.start_close(handle.identifier)
        self._reopening.close()
        self._open_files.closed(self)

    # what requests ask for (remote.transfer)

    def primary(self) -> Handle | None:
        """The first handle that is alive."""
        handles = self._handles
        while handles:
            if handles[0].connection.live:
                return handles[0]
            del handles[0]
        return None

    def choose(self) -> Handle | None:
        """The handle for the next piece of data: the stripe with the fewest bytes outstanding, if any."""
        handles = self._handles
        if len(handles) < 2:
            return self.primary()
        best: Handle | None = None
        for handle in handles[1:]:
            connection = handle.connection
            if not connection.live:
                handles.remove(handle)
            elif connection.stalled:
                continue
            elif best is None or connection.outstanding < best.connection.outstanding:
                best = handle
        return best or self.primary()

    def queues(self, handle: Handle) -> bool:
        """As ``Handles.queues``: where the connection has enough, but for a file's only write."""
        if self.backlog:
            return True
        return handle.connection.full and self.writes_under_way > 0 and OpenFlags.APPEND not in self.flags

    def send_backlog(self) -> None:
        """As ``Handles.send_backlog``: as much as there is room for, one at least where none is under way."""
        backlog = self.backlog
        while backlog and self.held is None:
            handle = self.choose()
            if handle is None:
                self.wait(backlog.popleft())
            elif self.writes_under_way and handle.connection.full:
                return
            else:
                backlog.popleft().send_on(handle)

    def beside(self, connection: Connection, target: Connection) -> Handle | None:
        """As ``Handles.beside``. Not of a file open for appending: its writes keep to one connection."""
        if self.closed or OpenFlags.APPEND in self.flags:
            return None
        transport = connection.transport
        for handle in self._handles:
            one = handle.connection
            # What went silent may be the transport, and so all its channels.
            apart = one.transport is not transport or target.transport is transport
            if one is not connection and one.live and not one.stalled and apart:
                return handle
        self._stripes.begin_beside(target)
        return None

    def can_let_go(self, connection: Connection) -> bool:
        """As ``HandleOwner.can_let_go``. Not while it is opened, here or elsewhere, or compared."""
        if self.version is None or self._stripes.busy or self.held is not None or self.current_path() is None:
            return False
        return any(handle.connection is connection for handle in self._handles)

    def let_go(self, connection: Connection) -> None:
        """As ``HandleOwner.let_go``. What it is like is asked once more, for it to be known again."""
        going = [handle for handle in self._handles if handle.connection is connection]
        self.start_fstat()
        self._handles = [handle for handle in self._handles if handle.connection is not connection]
        self._reopening.parked = True
        self.used = False
        for handle in going:
            handle.session.start_close(handle.identifier)

    def drop(self, handle: Handle) -> None:
        """The session of ``handle`` is lost, and the handle with it."""
        if handle in self._handles:
            self._handles.remove(handle)

    def wait(self, request: Repeatable) -> None:
        """No handle is alive: open the file again."""
        self._reopening.wait(request)

    def install(self, handle: Handle) -> None:
        """The file is open again."""
        if self.closed:
            handle.session.start_close(handle.identifier)
        else:
            self._handles.insert(0, handle)

    def write_sent(self, offset: int, length: int) -> None:
        """A piece of a write is on its way."""
        version = self.version
        if version is None:
            return
        if OpenFlags.APPEND in self.flags:
            version.appending(length)
        else:
            version.writing(offset + length)

    def write_ended(self, offset: int, length: int, done: bool) -> None:
        """A piece of a write was answered; ``done``: the server has it."""
        version = self.version
        if done and version is not None:
            if OpenFlags.APPEND in self.flags:
                version.appended(length)
                self._open_files.appended(self, length)
            else:
                version.wrote(offset + length)
                self._open_files.resized(self, offset + length, cut=False)
        self.writes_under_way -= 1
        if not self.writes_under_way and self._drained is not None:
            drained, self._drained = self._drained, None
            drained.set(None)

    # what remote.stripes asks for

    @property
    def connections(self) -> set[Connection]:
        """Where the file is open."""
        return {handle.connection for handle in self._handles}

    def join(self, stripes: list[Handle]) -> None:
        """Further handles of this file."""
        self._handles.extend(stripes)

    async def hold_writes(self) -> None:
        """Keep writes back, and wait for those under way: their size and time would blur the comparison."""
        self.held = deque()
        if self.writes_under_way:
            self._drained = Slot()
            await self._drained.wait()

    def release_held(self) -> None:
        """Send what was kept back."""
        held, self.held = self.held, None
        self.backlog.extend(held or ())
        self.send_backlog()
