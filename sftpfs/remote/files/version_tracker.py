"""What one open file must be like, and the requests by which that is learned or changed.

Owns the expected version (``remote.handles.expected_version``) as far as this file sees it: each FSTAT,
FSETSTAT, FSYNC and write through its handles is noted there as it leaves, and as it is answered. Owned by
``remote.files.pooled_file``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, error
from sftpfs.remote.handles.expected_version import Change, ExpectedVersion, Question
from sftpfs.remote.handles.open_files import OpenFile, OpenFiles, OpenInode
from sftpfs.remote.handles.order_check import Lacking, in_doubt
from sftpfs.remote.handles.resize import Resizing
from sftpfs.remote.pool.connection import Connection, ServerHandle
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests import time_trust
from sftpfs.remote.requests.setattr_request import refusal, set_open
from sftpfs.remote.requests.stat_request import start_stat_open
from sftpfs.remote.slots import on_filled, pass_on
from sftpfs.remote.transfers.handle_request import Follower, HandleRequest
from sftpfs.remote.transfers.resend import Handles
from sftpfs.remote.transfers.write_request import fail_explained
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes, Buffer, OpenFlags

T = TypeVar("T")

TAIL_BYTES = 4096
"""Bytes of what was appended last that are kept to recognise the file: a line of any log."""


class TrackedFile(OpenFile, Handles, Protocol):
    """What is needed of the open file."""

    flags: OpenFlags
    closed: bool


class VersionTracker:
    """See the module.

    INVARIANT: ``version`` is that of ``_inode``, where the file is known to be the one its path stands for.
    """

    __slots__ = (
        "_asked",
        "_doubts",
        "_file",
        "_inode",
        "_open_files",
        "_pool",
        "_traits",
        "appended_to",
        "version",
        "written",
    )

    def __init__(self, file: TrackedFile, pool: ConnectionPool, open_files: OpenFiles, written: bool) -> None:
        """``written``: the file was made or emptied as it was opened."""
        self.version: ExpectedVersion | None = None
        """None until OPEN's attributes are known. Shared with the other handles once this is known to be the
        same file."""
        self.written = written
        """Something was changed by the present handles."""
        self.appended_to: int | None = None
        """The end of what was acknowledged, when the session was lost under appends of this handle. What was
        reported since may count them, or not. None if none are in doubt."""
        self._file = file
        self._pool = pool
        self._traits = pool.traits
        self._open_files = open_files
        self._inode: OpenInode | None = None
        self._asked: Question | None = None
        self._doubts = 0
        """How many of the version's ``doubts`` this handle reported, or had no need to."""

    @property
    def late(self) -> bool:
        """Something of the file is open in memory alone: a change waits for that to be opened."""
        return self._inode is not None and bool(self._inode.late)

    def forget(self) -> None:
        """The file is closed."""
        if self._inode is not None:
            self._open_files.closed(self._file, self._inode)

    def known_as(self, attributes: Attributes, asked: Question | None, new: bool) -> None:
        """What was opened. ``asked``: where the question stands among the changes that other handles made of
        the file its path stands for. ``new``: we made it. If it looks like that file, it is taken for it."""
        self.version = ExpectedVersion(attributes)
        self._asked = asked
        inode = None if new else self._open_files.find(self._file.current_path)
        if not new and (inode is None or inode.version is None or inode.version.accepts(attributes)):
            self.confirm()

    def confirm(self) -> None:
        """As ``RemoteFile.confirm``."""
        if self._inode is not None or self._file.closed:
            return
        assert self.version is not None
        self._inode = inode = self._open_files.joined(self._file)
        if inode.version is None:
            inode.version = self.version
        else:
            asked = self._asked
            if asked is None and not inode.version.sent:
                asked = inode.version.asked(None)  # opened meanwhile by another, and not changed since
            if asked is not None:
                last = asked.acknowledged
                if last is not None and isinstance(last.connection, Connection) and not last.connection.live:
                    known = self._open_files.clock.known
                    inode.version.came_back(self.version.attributes, asked, known)
                inode.version.reported(self.version.attributes, asked)
        self.version = inode.version
        self._doubts = inode.version.doubts_reported

    def start_fstat(
        self, kind: type[HandleRequest[Attributes]], lacking: Lacking | None = None
    ) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``, as a request of this ``kind``. ``lacking``: it is asked again, for
        an answer that lacked what was acknowledged."""
        asked: tuple[ExpectedVersion, Question] | None = None
        session: Session | None = None

        def start(handle: ServerHandle) -> Slot[Attributes]:
            nonlocal session
            version, session = self.version, handle.session

            def before() -> None:
                nonlocal asked
                asked = (version, version.asked(handle.connection)) if version is not None else None

            if (
                version is not None
                and not self._traits.known.answers_fstat
                and self._file.current_path() is None
            ):
                before()
                return Slot.of(version.without_a_name())
            return start_stat_open(handle.session, handle.identifier, self._file.path, before)

        def done(answer: Slot[Attributes], result: Slot[Attributes]) -> None:
            if answer.error is not None:
                result.fail(answer.error)
                return
            attributes = answer.result()
            if asked is not None:
                version, question = asked
                if lacking is None and in_doubt(self._traits, version, attributes, question):
                    again = Lacking(attributes.size, version.least, version.sent)
                    pass_on(self.start_fstat(kind, again), result)
                    return
                if lacking is not None and session is not None:
                    lacking.judge(session, version, attributes)
                self.reported(version, attributes, question)
            result.set(attributes)

        return self.call(kind(self._file, start, done))

    def reported(self, version: ExpectedVersion, attributes: Attributes, asked: Question) -> None:
        """The server has answered ``asked``, of a file of ``version``, with ``attributes``."""
        if self._traits.doubtful(time_trust.TIMES) and version.unmoved(attributes, asked):
            seen = "a file that was written kept the time it had before"
            time_trust.prove_nothing(self._traits, self._open_files.clock, seen)
        version.reported(attributes, asked)

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """As ``RemoteFile.start_setattr``."""
        matters = change.size is not None or change.mtime is not None
        grows = change.size is not None and self.version is not None and change.size > self.version.least
        sent: tuple[ExpectedVersion, Change] | None = None

        def start(handle: ServerHandle) -> Slot[None]:
            nonlocal sent
            version = self.version
            self.written = self.written or change.size is not None
            if version is not None and matters:
                sent = (version, version.setattr_sent(handle.connection, change, self._now()))
            plain = partial(set_open, handle.session, handle.identifier, self._file.current_path())
            return plain(change) if change.size is None else self._resizing(handle, plain, change.size)

        def ended(made: bool) -> None:
            if sent is not None:
                sent[0].ended(sent[1], made)

        def done(answer: Slot[None], result: Slot[None]) -> None:
            refused = self.change_refused(change, answer.error, grows)
            if refused is None:
                result.set(None)
            else:
                result.fail(refused)

        call = Follower(self._file, start, done, ended)
        if self._inode is None or not self._inode.late:
            return self.call(call)
        self._file.watch(call)
        self._inode.open_late(call.send)
        return call.slot

    def change_refused(
        self, change: AttributeChange | None, failed: BaseException | None, grows: bool = False
    ) -> BaseException | None:
        """The error for ``change``, which failed with ``failed``."""
        if change is None or failed is None:
            return None
        known = None if self.version is None else self.version.attributes
        ours = OpenFlags.CREATE in self._file.flags
        return refusal(self._traits, change, failed, known, grows=grows, ours=ours)

    def _resizing(
        self, handle: ServerHandle, plain: Callable[[AttributeChange], Slot[None]], size: int
    ) -> Slot[None]:
        anywhere = OpenFlags.WRITE in self._file.flags and OpenFlags.APPEND not in self._file.flags
        writing = handle.identifier if anywhere else None
        handle_limit, path = self._open_files.handle_limit, self._file.current_path()
        resizing = Resizing(handle.connection, handle_limit, path, plain, handle.identifier, writing)
        return resizing.start(self._pool, size)

    def start_fsync(self) -> Slot[None]:
        """As ``RemoteFile.start_fsync``, if there may be something to bring to the disk."""
        sent = 0

        def start(handle: ServerHandle) -> Slot[None]:
            nonlocal sent
            if self.version is not None:
                asked = self.version.asked(handle.connection)
                sent = asked.sent if asked.orderly else 0  # another handle's may be carried out behind it
            if not handle.session.capabilities.has(extensions.FSYNC):
                return Slot.of(None)
            return handle.session.start_fsync(handle.identifier)

        def done(answer: Slot[None], result: Slot[None]) -> None:
            version = self.version
            if answer.error is not None:
                assert isinstance(answer.error, OSError)
                fail_explained(self._file, 0, answer.error, result)
                return
            if version is not None:
                version.synced(sent)
                if version.doubts > self._doubts:
                    self._doubts = version.doubts_reported = version.doubts
                    result.fail(error(errno.EIO, "the server came back without what it had acknowledged"))
                    return
            result.set(None)

        return self.call(Follower(self._file, start, done))

    def _now(self) -> float:
        return self._open_files.clock.at_least()

    def start_change(self, handle: ServerHandle, change: AttributeChange) -> Slot[None]:
        """FSETSTAT by ``handle``, for a file that is being closed."""
        result: Slot[None] = Slot()
        version, sent = self.version, None
        if version is not None and change.mtime is not None:
            sent = version.setattr_sent(handle.connection, change, self._now())

        def answered(slot: Slot[None]) -> None:
            if version is not None and sent is not None:
                version.ended(sent, slot.error is None)
            pass_on(slot, result)

        on_filled(set_open(handle.session, handle.identifier, self._file.current_path(), change), answered)
        return result

    def write_sent(self, handle: ServerHandle, offset: int, length: int) -> Change | None:
        """As ``WriteNotes.write_sent``."""
        self.written = True
        version = self.version
        if version is None:
            return None
        if self._inode is not None and self._inode.late:
            self._inode.open_late(None)
        if OpenFlags.APPEND in self._file.flags:
            return version.append_sent(handle.connection, length, self._now())
        end = version.most
        change = version.write_sent(handle.connection, offset + length, self._now())
        change.follows = offset == end
        return change

    def write_ended(self, change: Change | None, data: Buffer, failure: BaseException | None) -> None:
        """As ``WriteNotes.write_ended``."""
        version = self.version
        if version is None or change is None:
            return
        version.ended(change, failure is None)
        if not change.appended:
            return
        if failure is None:
            version.tail = bytes(data[-TAIL_BYTES:])
        elif isinstance(failure, SessionLostError) and self.appended_to is None:
            self.appended_to = version.least

    def call(self, call: HandleRequest[T]) -> Slot[T]:
        """Send ``call``, which ends with its operation: its result."""
        self._file.used = True
        if self._pool.silence.met(call.started):
            self._file.watch(call)
        call.send()
        return call.slot
