"""An open file whose connections are gone: its requests wait, it is opened again, they are sent again.

Owned by ``remote.file``, one object a file. The file is opened by its current path on the
new session and accepted only as the version that was known (``remote.version``); else it
is stale for good, so that another file's bytes are never taken for this one's.
"""

from __future__ import annotations

import errno
import math
import stat
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import trio

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StatusError, error
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.connection import Connection, Handle
from sftpfs.remote.flags import ACCESS, protocol_flags
from sftpfs.remote.landed import sent_of, tail_of, without_landed
from sftpfs.remote.paths import check_path
from sftpfs.remote.pool import Pool
from sftpfs.remote.room import HandleOwner, Room
from sftpfs.remote.transfer import Repeatable
from sftpfs.remote.version import KnownVersion
from sftpfs.remote.waiting import opened
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

RENAME_PAUSE = 0.02
"""Seconds between looks while a rename of ours is being resolved: the file's path depends on it."""


class OpenFiles:
    """Every open file of the mount, and what their paths depend on."""

    def __init__(self) -> None:
        self.files: dict[Reopenable, None] = {}
        """In the order they were opened."""
        self._appending: dict[Reopenable, None] = {}
        """Those of ``files`` that were opened to append: few, and every write here concerns them."""
        self.room = Room(self.files)
        self.renames = 0
        """Renames whose outcome the owner of the paths has not been told."""

    def opened(self, file: Reopenable) -> None:
        """``file`` is open until ``closed``."""
        self.files[file] = None
        if OpenFlags.APPEND in file.flags:
            self._appending[file] = None

    def at(self, path: bytes) -> Iterable[Reopenable]:
        """Those at ``path`` now."""
        return [file for file in self.files if file.current_path() == path]

    def told(self, path: bytes, attributes: Attributes) -> None:
        """A change of ours by path made ``attributes`` of the file there."""
        for file in self.at(path):
            if file.version is not None and not file.writes_under_way:
                file.version.told(attributes)
                file.version.changes += 1

    def appended(self, file: Reopenable, length: int) -> None:
        """``length`` bytes of ``file``'s are at the end: the others that append count from there."""
        for other in self._appending_beside(file):
            other.extended(length)

    def resized(self, file: Reopenable, size: int, *, cut: bool) -> None:
        """``file``'s write up to ``size`` is there, or (``cut``) its change to that size: the same."""
        for other in self._appending_beside(file):
            other.resized(size, cut)

    def _appending_beside(self, file: Reopenable) -> list[KnownVersion]:
        """What the others that append to the file at ``file``'s path know of it."""
        if not self._appending or (len(self._appending) == 1 and file in self._appending):
            return []
        path = file.current_path()
        if path is None:
            return []
        others = [other for other in self._appending if other is not file and other.current_path() == path]
        return [other.version for other in others if other.version is not None]

    async def hold(self, path: bytes) -> None:
        """``path`` is about to lead elsewhere: what is open there, its connection lost, is opened again
        while it can be. It is not the caller's affair whether that succeeds."""
        for file in self.at(path):
            if file.primary() is None:
                try:
                    await file.start_fstat().wait()
                except OSError:
                    pass

    def closed(self, file: Reopenable) -> None:
        """``file`` is open no more; what it changed the others know from now on."""
        self.files.pop(file, None)
        self._appending.pop(file, None)
        version = file.version
        if version is None or not version.changed or not self.files:
            return
        path = file.current_path()
        for other in self.at(path) if path is not None else ():
            if other.version is not None:
                other.version.adopt(version)


class Reopenable(HandleOwner, Protocol):
    """What is needed of the file."""

    closed: bool
    current_path: Callable[[], bytes | None]
    version: KnownVersion | None
    writes_under_way: int

    def primary(self) -> Handle | None:
        """A handle on a connection that lives."""

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``: needs such a handle, and waits for one."""

    def install(self, handle: Handle) -> None:
        """The file is open again, by ``handle``."""


class Reopening:
    """See the module.

    INVARIANT: requests wait only while ``_run`` is under way; they are sent in the order they came.
    """

    __slots__ = ("_file", "_open_files", "_pool", "_running", "_stale", "_tail", "_waiting", "parked")

    def __init__(self, file: Reopenable, pool: Pool, open_files: OpenFiles) -> None:
        self._file = file
        self._pool = pool
        self._open_files = open_files
        self._waiting: deque[Repeatable] = deque()
        self._running = False
        self._stale = False
        self._tail: bytes | None = None
        """What the file has behind what was acknowledged; None: not known, or not of interest."""
        self.parked = False
        """The handle was closed by ourselves, not lost."""

    def wait(self, request: Repeatable) -> None:
        """Send ``request`` once the file is open again, or give it up."""
        if self._file.closed:
            request.give_up(error(errno.EBADF))
        elif self._stale:
            request.give_up(error(errno.ESTALE))
        elif not (self._pool.config.reconnect or self.parked) or self._pool.closed:
            request.give_up(SessionLostError("the connection the file was open on is lost"))
        else:
            self._waiting.append(request)
            if not self._running:
                self._running = True
                self._pool.spawn(self._run)

    @property
    def renaming(self) -> bool:
        """The outcome of a rename of ours is open: no path can be trusted."""
        return self._open_files.renames > 0

    def close(self) -> None:
        """The file is closed: nobody wants what waits."""
        self._give_up(error(errno.EBADF))

    def _give_up(self, failure: OSError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            request.give_up(copied(failure))

    async def _run(self) -> None:
        failure: OSError = SessionLostError("the file system is being unmounted")
        try:
            while self._waiting:
                with trio.move_on_after(self._seconds_left()):
                    handle, attributes = await self._reopened()
                    self._installed(handle, attributes)
                self._expire()
        except OSError as problem:
            self._stale = problem.errno == errno.ESTALE
            failure = problem
        finally:
            self._running = False
            self._give_up(failure)

    def _deadline(self, request: Repeatable) -> float:
        """A request made since the loss has its own deadline yet."""
        if request.deadline == math.inf:
            request.deadline = request.started + self._pool.config.patience
        return request.deadline

    def _seconds_left(self) -> float:
        return max(0.0, min(map(self._deadline, self._waiting)) - clock.awake())

    def _expire(self) -> None:
        """Give up what is past its deadline."""
        now = clock.awake()
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            if now < self._deadline(request):
                self._waiting.append(request)
            else:
                reason = "the server was lost for longer than the deadline"
                request.give_up(SessionLostError(reason, errno.ETIMEDOUT))

    def _installed(self, handle: Handle, attributes: Attributes) -> None:
        """Send what waits; what is lost again meanwhile waits again."""
        version = self._file.version
        waiting, self._waiting = self._waiting, deque()
        if OpenFlags.APPEND in self._file.flags and version is not None:
            landed = attributes.size - version.least
            waiting = without_landed(waiting, landed, self._tail)
            if landed:
                self._open_files.appended(self._file, landed)
        if version is not None:
            version.told(attributes)
        self._file.install(handle)
        for request in waiting:
            request.send()

    async def _reopened(self) -> tuple[Handle, Attributes]:
        """A handle of the very file. Raises OSError: ESTALE where there is no such file any more."""
        file, pool = self._file, self._pool
        while True:
            path = file.current_path()
            if path is None:
                raise error(errno.ESTALE)
            connection = pool.looking() or await pool.metadata()
            try:
                found = await self.open_same(connection, path)
            except SessionLostError:
                continue
            if self._open_files.renames:
                # Where the file is depends on what became of them; so does whether it is found.
                if found is not None:
                    connection.session.start_close(found[0].identifier)
                await trio.sleep(RENAME_PAUSE)
            elif file.current_path() != path:
                if found is not None:
                    connection.session.start_close(found[0].identifier)
            elif found is None:
                raise error(errno.ESTALE)
            else:
                return found

    async def open_same(self, connection: Connection, path: bytes) -> tuple[Handle, Attributes] | None:
        """What ``path`` leads to, opened, or None where that is another file or nothing. Raises OSError."""
        session = connection.session
        room = self._open_files.room
        check_path(path)
        try:
            # First, and apart: opening a pipe would block the server.
            if not self._accepts(path, await session.start_stat(path).wait()):
                return None
            identifier = await room.use(connection, partial(self._open, session, path))
        except StatusError as refused:
            if refused.errno == errno.ENOENT:
                return None
            raise
        accepted = False
        room.unsettled += 1
        try:
            attributes = await session.start_fstat(identifier).wait()
            same = self._accepts(path, attributes)
            if same:
                self._tail = await self._look_at_tail(connection, path, attributes.size)
            accepted = same
        finally:
            room.unsettled -= 1  # whoever called installs it before anybody else runs
            if not accepted and connection.live:
                session.start_close(identifier)
        return (Handle(connection, identifier), attributes) if accepted else None

    async def _look_at_tail(self, connection: Connection, path: bytes, end: int) -> bytes | None:
        """What is between the last acknowledged byte and ``end``, where appends of ours may have arrived."""
        version = self._file.version
        if version is None or OpenFlags.APPEND not in self._file.flags:
            return None
        if end - version.least > sum(piece.length for piece in sent_of(self._waiting)):
            return None  # more than can be ours
        return await tail_of(connection, self._open_files.room, path, version.least, end)

    async def _open(self, session: Session, path: bytes) -> bytes:
        pflags = protocol_flags(self._file.flags & ACCESS)
        return await opened(session, session.start_open(path, pflags, None))

    def _accepts(self, path: bytes, attributes: Attributes) -> bool:
        """Whether a file with ``attributes`` is the one that was open, as far as any handle of ours
        on it can tell: each knows its own changes best."""
        if not stat.S_ISREG(attributes.mode):
            return False
        own = self._file.version
        if own is not None and own.accepts(attributes):
            return True
        others = [file.version for file in self._open_files.at(path) if file is not self._file]
        return any(one is not None and one.changed and one.accepts(attributes) for one in others)


def copied(failure: OSError) -> OSError:
    """One error each: raised in several tasks at once, a shared one would mix their tracebacks."""
    if isinstance(failure, SessionLostError):
        return SessionLostError(str(failure.strerror), failure.errno or errno.EIO)
    return OSError(failure.errno, failure.strerror)
