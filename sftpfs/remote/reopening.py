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
from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StatusError, error
from sftpfs.remote.api import CurrentPath, OpenFlags
from sftpfs.remote.connection import Connection, Handle
from sftpfs.remote.flags import ACCESS
from sftpfs.remote.landed import MOST_READ, behind_ours, sent_of, tail_of, without_landed
from sftpfs.remote.open_files import OpenFiles
from sftpfs.remote.open_request import keeps_what_is_there, open_in_part, size_before
from sftpfs.remote.outbox import Outbox
from sftpfs.remote.own_mode import OwnMode
from sftpfs.remote.paths import check_path
from sftpfs.remote.pool import Pool
from sftpfs.remote.telling import start_telling
from sftpfs.remote.transfer import Repeatable
from sftpfs.remote.version import KnownVersion, Question
from sftpfs.remote.waiting import copied
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

RENAME_PAUSE = 0.02
"""Seconds between looks while a rename of ours is being resolved: the file's path depends on it."""


class Reopenable(Protocol):
    """What is needed of the file."""

    flags: OpenFlags
    appended_to: int | None
    closed: bool
    current_path: CurrentPath
    outbox: Outbox
    version: KnownVersion | None

    def primary(self) -> Handle | None:
        """A handle on a connection that lives."""

    def install(self, handle: Handle) -> None:
        """The file is open again, by ``handle``."""


class Reopening:
    """See the module.

    INVARIANT: requests wait, here or in the file's outbox, for want of a handle only while ``_run`` is under
    way; they are sent in the order they came, those of the outbox first.
    """

    __slots__ = (
        "_asked",
        "_behind",
        "_file",
        "_mode",
        "_open_files",
        "_pool",
        "_running",
        "_stale",
        "_waiting",
        "heard",
        "parked",
    )

    def __init__(self, file: Reopenable, pool: Pool, open_files: OpenFiles) -> None:
        self._file = file
        self._pool = pool
        self._open_files = open_files
        self._waiting: deque[Repeatable] = deque()
        self._running = False
        self._stale = False
        self._behind: bytes | None = None
        """What the file has behind what was acknowledged; None: not known, or not of interest."""
        self._asked: Question | None = None
        self._mode = OwnMode()
        self.heard = 0.0
        """The last sign of life of any session the file had a handle on and lost, by ``clock.awake``."""
        self.parked = False
        """The handle was closed by ourselves, not lost."""

    def wait(self, request: Repeatable) -> None:
        """Send ``request`` once the file is open again, or give it up."""
        failure = self.refuses()
        if failure is None:
            self._waiting.append(request)
        else:
            request.give_up(failure)

    def refuses(self) -> OSError | None:
        """Why there will be no handle any more; None where one is being made."""
        if self._file.closed:
            return error(errno.EBADF)
        if self._stale:
            return error(errno.ESTALE)
        if not (self._pool.config.reconnect or self.parked) or self._pool.closed:
            return SessionLostError("the connection the file was open on is lost")
        if not self._running:
            self._running = True
            self._pool.spawn(self._run)
        return None

    @property
    def renaming(self) -> bool:
        """The outcome of a rename of ours is open: no path can be trusted."""
        return self._open_files.renames > 0

    def end(self) -> None:
        """It is not to be opened again."""
        self._stale = True

    def close(self) -> None:
        """The file is closed: nobody wants what waits."""
        self._give_up(error(errno.EBADF))

    def _all(self) -> list[Repeatable]:
        return [*self._file.outbox.queue, *self._waiting]

    def _give_up(self, failure: OSError) -> None:
        waiting: list[Repeatable] = [*self._file.outbox.take(), *self._waiting]
        self._waiting.clear()
        for request in waiting:
            request.give_up(copied(failure))

    async def _run(self) -> None:
        failure: OSError | None = SessionLostError("the file system is being unmounted")
        try:
            while self._file.primary() is None and self._all():
                with trio.move_on_after(self._seconds_left()):
                    handle, attributes = await self._reopened()
                    self._installed(handle, attributes)
                self._expire()
            failure = None
        except OSError as problem:
            self._stale = problem.errno == errno.ESTALE
            failure = problem
        finally:
            self._running = False
            if failure is not None:
                self._give_up(failure)

    def _deadline(self, request: Repeatable) -> float:
        """What was not under way has its deadline from the last sign of life, too: it may have waited for
        its turn on a slow link for longer than that."""
        if request.deadline == math.inf:
            request.deadline = max(request.started, self.heard) + self._pool.config.patience
        return request.deadline

    def _seconds_left(self) -> float:
        return max(0.0, min(map(self._deadline, self._all())) - clock.awake())

    def _expire(self) -> None:
        """Give up what is past its deadline."""
        if self._file.primary() is not None:
            return
        now = clock.awake()
        outbox, reads = self._file.outbox.take(), list(self._waiting)
        self._waiting.clear()
        late: list[Repeatable] = []
        for one in outbox:
            (self._file.outbox.queue if now < self._deadline(one) else late).append(one)
        for request in reads:
            (self._waiting if now < self._deadline(request) else late).append(request)
        for request in late:
            reason = "the server was lost for longer than the deadline"
            request.give_up(SessionLostError(reason, errno.ETIMEDOUT))

    def _installed(self, handle: Handle, attributes: Attributes) -> None:
        """Send what waits; what is lost again meanwhile waits again."""
        version, outbox = self._file.version, self._file.outbox
        self._file.install(handle)
        if version is not None and self._asked is not None:
            version.came_back(attributes, self._asked, self._open_files.clock.known)
            version.told(attributes, self._asked)
            if self._appends:
                outbox.queue = without_landed(outbox.take(), self._behind)
                self._file.appended_to = None
        waiting, self._waiting = self._waiting, deque()
        outbox.pump()
        for request in waiting:
            request.send()
        for one in outbox.queue:
            if not one.sent:
                one.deadline = math.inf  # the server is there; what it waits for now is its turn

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
            seen = await self._same(lambda: session.start_stat(path))
            if seen is None:
                return None
            before = await size_before(session, path, self._file.flags & ACCESS)
            attempt = partial(room.use, connection, partial(self._open, session, path))
            flags = self._file.flags
            identifier = await self._mode.open(session, path, flags, seen, attempt, lambda handle: handle)
        except StatusError as refused:
            if refused.errno == errno.ENOENT:
                return None
            raise
        accepted = False
        room.unsettled += 1
        try:
            if before:
                keeps_what_is_there(session, before, await start_telling(session, identifier, path).wait())
            attributes = await self._same(lambda: start_telling(session, identifier, path), connection)
            accepted = attributes is not None and await self._look_behind(connection, path, attributes)
        finally:
            room.unsettled -= 1  # whoever called installs it before anybody else runs
            if not accepted and connection.live:
                session.start_close(identifier)
        return (Handle(connection, identifier), attributes) if accepted and attributes is not None else None

    async def _same(
        self, ask: Callable[[], Slot[Attributes]], connection: Connection | None = None
    ) -> Attributes | None:
        """The answer to ``ask``, or None where that cannot be the file that was open; asked again where what
        is known of that has changed meanwhile: another handle of the file may be writing."""
        version = self._file.version
        while True:
            question = None if version is None else version.asked(connection)
            attributes = await ask().wait()
            if version is None or question is None or not stat.S_ISREG(attributes.mode):
                return None
            now = self._now()
            if version.accepts(attributes, now) or (self._appends and version.grown(attributes, now)):
                self._asked = question
                return attributes
            if version.moves == question.moves:
                return None

    def _now(self) -> float:
        server_clock = self._open_files.clock
        return server_clock.at_least() if server_clock.known else math.inf

    @property
    def _appends(self) -> bool:
        return OpenFlags.APPEND in self._file.flags

    async def _look_behind(self, connection: Connection, path: bytes, attributes: Attributes) -> bool:
        """See what is behind the last acknowledged byte, where appends of ours may have arrived; False where
        the file has grown, and is another."""
        version = self._file.version
        if version is None or not self._appends:
            return True
        grown = not version.accepts(attributes, self._now())
        end = version.least if self._file.appended_to is None else self._file.appended_to
        start = max(0, end - len(version.tail)) if grown else end
        found = None
        ours = sum(piece.length for piece in sent_of(self._file.outbox.queue))
        if attributes.size - start <= max(ours, MOST_READ):
            found = await tail_of(connection, self._open_files.room, path, start, attributes.size)
        if grown and found is not None:
            found = behind_ours(found, version.tail)
        self._behind = found
        return found is not None or not grown

    async def _open(self, session: Session, path: bytes) -> bytes:
        return await open_in_part(session, path, self._file.flags & ACCESS)
