"""An open file whose connections are gone: its requests wait, it is opened again, they are sent again.

Owned by ``remote.files.pooled_file``, one object a file. The file is opened by its current path on the new
session, and accepted only as the version that was known (``remote.handles.expected_version``). Otherwise it
is stale for good, so another file's bytes are never taken for this one's.
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
from sftpfs.errors import SessionLostError, StatusError, error, fresh
from sftpfs.remote.api import CurrentPath
from sftpfs.remote.files.append_recovery import (
    MOST_READ,
    behind_ours,
    drop_completed,
    read_tail,
    sent_appends,
)
from sftpfs.remote.files.reopen_mode import ACCESS, OwnMode
from sftpfs.remote.files.version_tracker import VersionTracker
from sftpfs.remote.handles.expected_version import Question
from sftpfs.remote.handles.open_files import OpenFiles
from sftpfs.remote.paths import check_path
from sftpfs.remote.pool.connection import Connection, ServerHandle
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests.open_request import keeps_what_is_there, open_in_part, size_before
from sftpfs.remote.requests.stat_request import start_stat_open
from sftpfs.remote.transfers.resend import Repeatable
from sftpfs.remote.transfers.send_queue import SendQueue
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes, OpenFlags

RENAME_PAUSE = 0.02
"""Seconds between checks while a rename of ours is being resolved: the file's path depends on it."""


class Reopenable(Protocol):
    """What is needed of the file."""

    flags: OpenFlags
    closed: bool
    heard: float
    """When the latest silence began in which a session was lost with a handle of it, by ``clock.awake``."""
    current_path: CurrentPath
    outbox: SendQueue

    def primary(self) -> ServerHandle | None:
        """A handle on a connection that lives."""

    def install(self, handle: ServerHandle) -> None:
        """The file is open again, by ``handle``."""


class FileReopener:
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
        "_tracker",
        "_waiting",
        "handle_evicted",
    )

    def __init__(
        self, file: Reopenable, tracker: VersionTracker, pool: ConnectionPool, open_files: OpenFiles
    ) -> None:
        self._file = file
        self._tracker = tracker
        self._pool = pool
        self._open_files = open_files
        self._waiting: deque[Repeatable] = deque()
        self._running = False
        self._stale = False
        self._behind: bytes | None = None
        """What the file has behind what was acknowledged; None: not known, or not of interest."""
        self._asked: Question | None = None
        self._mode = OwnMode()
        self.handle_evicted = False
        """The handle was closed by ourselves, not lost."""

    def wait(self, request: Repeatable) -> None:
        """Send ``request`` once the file is open again, or give it up."""
        failure = self.refuses()
        if failure is None:
            self._waiting.append(request)
        else:
            request.give_up(failure)

    def refuses(self) -> OSError | None:
        """Why there will be no handle any more; None if one is being made."""
        if self._file.closed:
            return error(errno.EBADF)
        if self._stale:
            return error(errno.ESTALE)
        if not (self._pool.config.reconnect or self.handle_evicted) or self._pool.closed:
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
        """It must not be opened again."""
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
            request.give_up(fresh(failure))

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
        """What was not under way has its deadline from when the server fell silent. It may have waited longer
        than the deadline for its turn, on a slow link or for ``bwlimit``."""
        if request.deadline == math.inf:
            request.deadline = max(request.started, self._file.heard) + self._pool.config.patience
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

    def _installed(self, handle: ServerHandle, attributes: Attributes) -> None:
        """Send what waits; what is lost again meanwhile waits again."""
        version, outbox = self._tracker.version, self._file.outbox
        self._file.install(handle)
        if version is not None and self._asked is not None:
            version.came_back(attributes, self._asked, self._open_files.clock.known)
            version.reported(attributes, self._asked)
            if self._appends:
                outbox.queue = drop_completed(outbox.take(), self._behind)
                self._tracker.appended_to = None
        waiting, self._waiting = self._waiting, deque()
        outbox.pump()
        for request in waiting:
            request.send()
        for one in outbox.queue:
            if not one.sent:
                one.deadline = math.inf  # the server is there; what it waits for now is its turn

    async def _reopened(self) -> tuple[ServerHandle, Attributes]:
        """A handle of the same file. Raises OSError: ESTALE if that file no longer exists."""
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
                # Their outcome decides where the file is, and whether it is found.
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

    async def open_same(self, connection: Connection, path: bytes) -> tuple[ServerHandle, Attributes] | None:
        """Opens what ``path`` leads to; None if that is another file or nothing. Raises OSError."""
        session = connection.session
        handle_limit = self._open_files.handle_limit
        check_path(path)
        try:
            # First, and apart: opening a pipe would block the server.
            seen = await self._same(lambda: session.start_stat(path))
            if seen is None:
                return None
            before = await size_before(session, path, self._file.flags & ACCESS)
            attempt = partial(handle_limit.run_with_handle, connection, partial(self._open, session, path))
            flags = self._file.flags
            identifier = await self._mode.open(session, path, flags, seen, attempt, lambda handle: handle)
        except StatusError as refused:
            if refused.errno == errno.ENOENT:
                return None
            raise
        accepted = False
        handle_limit.unowned += 1
        try:
            if before:
                keeps_what_is_there(session, before, await start_stat_open(session, identifier, path).wait())
            attributes = await self._same(lambda: start_stat_open(session, identifier, path), connection)
            accepted = attributes is not None and await self._look_behind(connection, path, attributes)
        finally:
            handle_limit.unowned -= 1  # whoever called installs it before anybody else runs
            if not accepted and connection.live:
                session.start_close(identifier)
        return (
            (ServerHandle(connection, identifier), attributes)
            if accepted and attributes is not None
            else None
        )

    async def _same(
        self, ask: Callable[[], Slot[Attributes]], connection: Connection | None = None
    ) -> Attributes | None:
        """The answer to ``ask``, or None if that cannot be the file that was open. It is asked again if what
        is known of the file has changed meanwhile, because another handle of it may be writing."""
        version = self._tracker.version
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
        """Reads what is behind the last acknowledged byte, if appends of ours may have arrived. False if the
        file has grown, and is another."""
        version = self._tracker.version
        if version is None or not self._appends:
            return True
        grown = not version.accepts(attributes, self._now())
        end = version.least if self._tracker.appended_to is None else self._tracker.appended_to
        start = max(0, end - len(version.tail)) if grown else end
        found = None
        ours = sum(piece.length for piece in sent_appends(self._file.outbox.queue))
        if attributes.size - start <= max(ours, MOST_READ):
            found = await read_tail(connection, self._open_files.handle_limit, path, start, attributes.size)
        if grown and found is not None:
            found = behind_ours(found, version.tail)
        self._behind = found
        return found is not None or not grown

    async def _open(self, session: Session, path: bytes) -> bytes:
        return await open_in_part(session, path, self._file.flags & ACCESS)
