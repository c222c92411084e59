"""One open file on the server: a handle on the metadata connection, and others for bulk.

Owns the handles and which of them a request takes; ``remote.reads`` and ``remote.writes``
carry the single read or write through. Used by ``data`` as ``remote.api.RemoteFile``.

The further handles come from ``remote.stripes``, once the file is bulk.
Where every connection the file was open on is lost, requests wait until it is open again
(``remote.reopening``).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, error
from sftpfs.remote import times
from sftpfs.remote.api import CurrentPath, OpenFlags
from sftpfs.remote.appending import End
from sftpfs.remote.call import Call, Follower
from sftpfs.remote.connection import Connection, Handle
from sftpfs.remote.disorder import Lacking, in_doubt
from sftpfs.remote.handing_over import closed_and_seen, kept, nobody_told, watch
from sftpfs.remote.open_files import Late, OpenFiles, OpenInode
from sftpfs.remote.outbox import Outbox
from sftpfs.remote.pool import Pool
from sftpfs.remote.reads import Read
from sftpfs.remote.reopening import Reopening
from sftpfs.remote.resizing import Resizing, sure_of_sizes
from sftpfs.remote.setting import refusal, set_open
from sftpfs.remote.stripes import Stripes
from sftpfs.remote.telling import start_telling
from sftpfs.remote.transfer import OfOperation, Repeatable
from sftpfs.remote.version import Change, KnownVersion, Question
from sftpfs.remote.waiting import pass_on
from sftpfs.remote.writes import Write, WritePiece, explain_write, fail_explained
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes, Buffer

T = TypeVar("T")

BULK_BYTES = 1 << 20
"""A file becomes bulk once this much of it was asked for: what most files are smaller
than, and about what one connection carries in one round trip."""

FSYNC = "fsync@openssh.com"

TAIL_BYTES = 4096
"""Bytes of what was appended last that are kept, to know the file by: a line of any log."""


class File:
    """See the module. Implements ``remote.api.RemoteFile``.

    INVARIANT: ``_handles`` holds handles of one and the same remote file; the first
    is the primary, for everything but bulk, and the rest are stripes.
    INVARIANT: a request waits in ``_reopening`` only while ``_handles`` has none that is alive.
    INVARIANT: ``version`` is that of ``_inode``, where the file is known to be the one its path stands for.
    """

    __slots__ = (
        "_asked",
        "_bulk",
        "_doubts",
        "_end",
        "_epoch",
        "_handles",
        "_in_part",
        "_inode",
        "_last_path",
        "_open_files",
        "_pool",
        "_renewed",
        "_reopening",
        "_requested",
        "_several",
        "_silence",
        "_stripes",
        "_traits",
        "_written",
        "appended_to",
        "appends",
        "closed",
        "current_path",
        "flags",
        "hidden",
        "outbox",
        "patience",
        "read_sizes",
        "reader",
        "refused",
        "unnamed",
        "used",
        "version",
        "write_sizes",
    )

    def __init__(
        self,
        pool: Pool,
        connection: Connection,
        identifier: bytes,
        flags: OpenFlags,
        path: bytes,
        current_path: CurrentPath,
        open_files: OpenFiles,
        appends: bool = False,
    ) -> None:
        """``flags`` are what the server took; ``appends``: what is written goes to the end, also where that
        was not among them."""
        self.flags = flags
        self.appends = appends
        """As in ``__init__``."""
        self.closed = False
        self.reader: Late | None = None
        """As ``OpenFile.reader``."""
        self.hidden = False
        """As ``RemoteFile.hidden``."""
        self.unnamed = False
        """As ``RemoteFile.unnamed``."""
        self.outbox = Outbox(self)
        self.appended_to: int | None = None
        """Where the file ended, of what was acknowledged, as the session was lost under appends of this
        handle: what was told since may count them, or not. None where none are in doubt."""
        self.used = True
        """A request was made since ``remote.room`` last asked."""
        self._several = pool.config.several_handles
        self.patience = pool.config.patience
        """Seconds after which a request is not sent again."""
        self.read_sizes = pool.read_sizes
        self.write_sizes = pool.write_sizes
        self.version: KnownVersion | None = None
        """None until OPEN's attributes are known; shared with the other handles once this is known to be
        the same file."""
        self.current_path = current_path
        self._in_part = False
        self.refused: Callable[[OSError], None] = nobody_told
        self._written = bool(flags & (OpenFlags.CREATE | OpenFlags.TRUNCATE))
        """Something was changed by the handles there are."""
        self._pool = pool
        self._traits = pool.traits
        self._bulk = pool.bulk
        self._handles = [Handle(connection, identifier)]
        connection.files[self] = None
        self._inode: OpenInode | None = None
        self._asked: Question | None = None
        self._last_path = path
        self._renewed = 0
        """The size for which a handle was given up that did not show it."""
        self._doubts = 0
        """Of how many of the version's ``doubts`` this handle told, or had not to."""
        self._requested = 0
        self._epoch = 0
        self._open_files = open_files
        self._reopening = Reopening(self, pool, open_files)
        self._silence = pool.silence
        self._stripes = Stripes(self, pool, self._reopening)
        self._end = End(self) if appends and OpenFlags.APPEND not in flags else None

    def known_as(self, attributes: Attributes, asked: Question | None, new: bool) -> None:
        """What was opened. ``asked``: where the question stands among the changes that other handles of the
        file its path stands for made; ``new``: we made it. Where it looks like that file it is it."""
        self.version = KnownVersion(attributes)
        self._asked = asked
        inode = None if new else self._open_files.find(self.current_path)
        if not new and (inode is None or inode.version is None or inode.version.accepts(attributes)):
            self.confirm()

    def confirm(self) -> None:
        """As ``RemoteFile.confirm``."""
        if self._inode is not None or self.closed:
            return
        assert self.version is not None
        self._inode = inode = self._open_files.joined(self)
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
                inode.version.told(self.version.attributes, asked)
        self.version = inode.version
        self._doubts = inode.version.doubts_told

    @property
    def ordered(self) -> bool:
        """True while every request travels on one connection, in the order sent."""
        if self._inode is not None and self._inode.late:
            return False  # a change waits for those to be opened
        if self._traits.doubtful("sets_by_handle") or not sure_of_sizes(self._traits):
            return False  # a change of attributes may have to go again, in another way
        return len(self._handles) < 2 and not self.outbox.held and not self.outbox.queue

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
        read = Read(self, offset, length, self.read_sizes.limit)
        if self._silence.met(read.started):
            self.watch(read)
        return read.start()

    def start_write(self, offset: int, data: Buffer) -> Slot[None]:
        """As ``RemoteFile.start_write``."""
        self._account(len(data))
        return Write(self, offset, data, self.write_sizes.limit).start()

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""
        return self._fstat(Call)

    def start_fstat_behind(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat_behind``."""
        return self._fstat(Follower)

    def _fstat(self, kind: type[Call[Attributes]], lacking: Lacking | None = None) -> Slot[Attributes]:
        """``lacking``: it is asked again, for an answer that lacked what was acknowledged."""
        asked: tuple[KnownVersion, Question] | None = None
        session: Session | None = None

        def start(handle: Handle) -> Slot[Attributes]:
            nonlocal session
            version, session = self.version, handle.session

            def before() -> None:
                nonlocal asked
                asked = (version, version.asked(handle.connection)) if version is not None else None

            if version is not None and not self._traits.known.tells_by_handle and self.current_path() is None:
                before()
                return Slot.of(version.without_a_name())
            return start_telling(handle.session, handle.identifier, self.path, before)

        def done(answer: Slot[Attributes], result: Slot[Attributes]) -> None:
            if answer.error is not None:
                result.fail(answer.error)
                return
            attributes = answer.result()
            if asked is not None:
                version, question = asked
                if lacking is None and in_doubt(self._traits, version, attributes, question):
                    again = Lacking(attributes.size, version.least, version.sent)
                    pass_on(self._fstat(kind, again), result)
                    return
                if lacking is not None and session is not None:
                    lacking.judge(session, version, attributes)
                self._told(version, attributes, question)
            result.set(attributes)

        return self._call(kind(self, start, done))

    def _told(self, version: KnownVersion, attributes: Attributes, asked: Question) -> None:
        if self._traits.doubtful(times.TIMES) and version.unmoved(attributes, asked):
            seen = "a file that was written kept the time it had before"
            times.prove_nothing(self._traits, self._open_files.clock, seen)
        version.told(attributes, asked)

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """As ``RemoteFile.start_setattr``."""
        matters = change.size is not None or change.mtime is not None
        grows = change.size is not None and self.version is not None and change.size > self.version.least
        sent: tuple[KnownVersion, Change] | None = None

        def start(handle: Handle) -> Slot[None]:
            nonlocal sent
            version = self.version
            self._written = self._written or change.size is not None
            if version is not None and matters:
                sent = (version, version.setting(handle.connection, change, self._now()))
            plain = partial(set_open, handle.session, handle.identifier, self.current_path())
            return plain(change) if change.size is None else self._resizing(handle, plain, change.size)

        def ended(made: bool) -> None:
            if sent is not None:
                sent[0].ended(sent[1], made)

        def done(answer: Slot[None], result: Slot[None]) -> None:
            if answer.error is None:
                result.set(None)
            else:
                known = None if self.version is None else self.version.attributes
                ours = OpenFlags.CREATE in self.flags
                result.fail(refusal(self._traits, change, answer.error, known, grows=grows, ours=ours))

        call = Follower(self, start, done, ended)
        if self._inode is None or not self._inode.late:
            return self._call(call)
        self.watch(call)
        self._inode.open_late(call.send)
        return call.slot

    def _resizing(
        self, handle: Handle, plain: Callable[[AttributeChange], Slot[None]], size: int
    ) -> Slot[None]:
        anywhere = OpenFlags.WRITE in self.flags and OpenFlags.APPEND not in self.flags
        writing = handle.identifier if anywhere else None
        room, path = self._open_files.room, self.current_path()
        resizing = Resizing(handle.connection, room, path, plain, handle.identifier, writing)
        return resizing.start(self._pool, size)

    def start_fsync(self) -> Slot[None]:
        """As ``RemoteFile.start_fsync``."""
        if not (self._handles or self._written or self._traits.known.writes_anywhere):
            return Slot.of(None)  # its CLOSE ended what was written, and no more can be
        sent = 0

        def start(handle: Handle) -> Slot[None]:
            nonlocal sent
            if self.version is not None:
                asked = self.version.asked(handle.connection)
                sent = asked.sent if asked.orderly else 0  # another handle's may be carried out behind it
            if not handle.session.capabilities.has(FSYNC):
                return Slot.of(None)
            return handle.session.start_fsync(handle.identifier)

        def done(answer: Slot[None], result: Slot[None]) -> None:
            version = self.version
            if answer.error is not None:
                assert isinstance(answer.error, OSError)
                fail_explained(self, 0, answer.error, result)
                return
            if version is not None:
                version.synced(sent)
                if version.doubts > self._doubts:
                    self._doubts = version.doubts_told = version.doubts
                    result.fail(error(errno.EIO, "the server came back without what it had acknowledged"))
                    return
            result.set(None)

        return self._call(Follower(self, start, done))

    def _now(self) -> float:
        return self._open_files.clock.at_least()

    def _account(self, length: int) -> None:
        self.used = True
        self._requested += length
        alone = self.closed or self.appends or self._one_handle or not self._several
        if self._requested > BULK_BYTES and not alone:
            bulk = self._bulk
            bulk.demand()
            if self._epoch != bulk.epoch and self._stripes.begin():
                self._epoch = bulk.epoch

    @property
    def _one_handle(self) -> bool:
        """It is written by one handle: the server decides as each is closed."""
        return OpenFlags.WRITE in self.flags and not self._traits.known.closes_without_a_word

    @property
    def takes_any_write(self) -> bool:
        """As ``RemoteFile.takes_any_write``."""
        known = self._traits.known
        return known.writes_in_any_order and known.writes_anywhere

    def takes_write(self, offset: int, end: int) -> bool:
        """As ``RemoteFile.takes_write``. Without a handle it would be opened again, to be written in part."""
        known = self._traits.known
        follows = offset == end or known.writes_in_any_order
        return follows and (known.writes_anywhere or bool(self._handles))

    @property
    def undecided(self) -> bool:
        """As ``RemoteFile.undecided``. A file without a name has nothing to be decided any more."""
        return self._written and self._one_handle and self.current_path() is not None

    def start_hand_over(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_hand_over``."""
        version = self.version
        assert version is not None
        asked = version.asked(None)
        session: Session | None = None

        def start(handle: Handle) -> Slot[Attributes]:
            nonlocal asked, session
            session, path = handle.session, self.path
            asked = version.asked(handle.connection)
            look = partial(session.start_lstat, path)
            return closed_and_seen(self._put_away(list(self._handles)), look)

        def done(answer: Slot[Attributes], result: Slot[Attributes]) -> None:
            failure = answer.error
            if failure is None:
                attributes = answer.result()
                short = kept(attributes, version.least)
                self._judge(short)
                if short is not None:
                    result.fail(short)
                else:
                    self._told(version, attributes, asked)
                    result.set(attributes)
            else:
                assert session is not None and isinstance(failure, OSError)
                explain_write(session, self.path, 1, failure, result)

        return self._call(Follower(self, start, done))

    def opened_in_part(self) -> None:
        """It had bytes as it was opened to be written, and the server is not known to keep those: it may
        refuse them as it is closed, though nothing is written."""
        self._in_part = self._written = True

    def _judge(self, short: OSError | None) -> None:
        """A file that was written in part was closed, and is ``short`` or has its bytes."""
        if not self._in_part:
            return
        if short is None:
            self._traits.seen(["writes_anywhere"])
        else:
            self._traits.contradict("writes_anywhere", str(short.strerror))

    def _put_away(self, going: list[Handle]) -> list[Slot[None]]:
        """CLOSE of ``going``: the file is opened again as it is used next."""
        self._handles = [handle for handle in self._handles if handle not in going]
        for handle in going:
            handle.connection.files.pop(self, None)
        self._reopening.parked = True
        self.unnamed = self.hidden = False
        self._written = self._written and bool(self._handles)
        return [handle.session.start_close(handle.identifier) for handle in going]

    def _call(self, call: Call[T]) -> Slot[T]:
        self.used = True
        if self._silence.met(call.started):
            self.watch(call)
        call.send()
        return call.slot

    def close(self) -> None:
        """As ``RemoteFile.close``. Writes kept back are sent before."""
        if self.closed:
            return
        handle = self.choose()
        if handle is not None:
            self.outbox.flush(handle)
        self.closed = True
        for handle in self._handles:
            handle.connection.files.pop(self, None)
            if handle.connection.live:
                self._watched(handle.session.start_close(handle.identifier), self._written)
        self._reopening.close()
        if self._inode is not None:
            self._open_files.closed(self, self._inode)

    def _watched(self, closing: Slot[None], written: bool) -> None:
        if written:
            watch(closing, self.refused)

    # what requests ask for (remote.transfer)

    def primary(self) -> Handle | None:
        """The first handle that is alive."""
        handles = self._handles
        while handles:
            if handles[0].connection.live:
                return handles[0]
            self.drop(handles[0])
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
                self.drop(handle)
            elif connection.stalled:
                continue
            elif best is None or connection.outstanding < best.connection.outstanding:
                best = handle
        return best or self.primary()

    def beside(self, connection: Connection, target: Connection) -> Handle | None:
        """As ``Handles.beside``. Not of a file open for appending: its writes keep to one connection."""
        if self.closed or self.appends or self._one_handle:
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

    def ends_early(self, end: int) -> Slot[Attributes] | None:
        """As ``Handles.ends_early``."""
        version = self.version
        sees_all = self._traits.of_openssh or OpenFlags.WRITE in self.flags
        if sees_all or version is None or end >= version.least or self.closed:
            return None
        return self.start_fstat()

    def renew(self, handle: Handle) -> bool:
        """As ``Handles.renew``. ProFTPD's handles end where the file did as they were made."""
        if handle not in self._handles:
            return not self.closed
        version, path = self.version, self.current_path()
        if version is None or path is None or version.least <= self._renewed or self.closed:
            return False
        self._renewed = version.least
        self._put_away([handle])
        return True

    def can_let_go(self, connection: Connection) -> bool:
        """As ``HandleOwner.can_let_go``. Not while it is opened, here or elsewhere, or compared."""
        if self.version is None or self._stripes.busy or self.outbox.held or self.current_path() is None:
            return False
        return any(handle.connection is connection for handle in self._handles)

    def let_go(self, connection: Connection) -> None:
        """As ``HandleOwner.let_go``. What it is like is asked once more, for it to be known again."""
        going = [handle for handle in self._handles if handle.connection is connection]
        self.start_fstat()
        written, self.used = self._written, False
        for closing in self._put_away(going):
            self._watched(closing, written)

    def give_up(self) -> None:
        """As ``OpenFile.give_up``."""
        self._reopening.end()
        for closing in self._put_away(list(self._handles)):
            self._watched(closing, self._written)

    def drop(self, handle: Handle) -> None:
        """The session of ``handle`` is lost, and the handle with it."""
        if handle in self._handles:
            self._handles.remove(handle)
            handle.connection.files.pop(self, None)
            self._reopening.heard = max(self._reopening.heard, handle.session.last_reply)

    def wait(self, request: Repeatable) -> None:
        """No handle is alive: open the file again."""
        self._reopening.wait(request)

    def unreachable(self) -> OSError | None:
        """As ``Sender.unreachable``."""
        return self._reopening.refuses()

    def watch(self, request: OfOperation) -> None:
        """As ``Handles.watch``."""
        self._silence.watch(request, request.started)

    def install(self, handle: Handle) -> None:
        """The file is open again."""
        if self.closed:
            handle.session.start_close(handle.identifier)
        else:
            self._handles.insert(0, handle)
            handle.connection.files[self] = None

    def placed(self, piece: WritePiece) -> bool:
        """As ``Sender.placed``."""
        return self._end is None or self._end.place(piece)

    def write_sent(self, handle: Handle, offset: int, length: int) -> Change | None:
        """As ``Handles.write_sent``."""
        self._written = True
        version = self.version
        if version is None:
            return None
        if self._inode is not None and self._inode.late:
            self._inode.open_late(None)
        if OpenFlags.APPEND in self.flags:
            return version.appending(handle.connection, length, self._now())
        end = version.most
        change = version.writing(handle.connection, offset + length, self._now())
        change.follows = offset == end
        return change

    def write_ended(self, change: Change | None, data: Buffer, failure: BaseException | None) -> None:
        """As ``Handles.write_ended``."""
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

    # what remote.stripes asks for

    @property
    def connections(self) -> set[Connection]:
        """Where the file is open."""
        return {handle.connection for handle in self._handles}

    def join(self, stripes: list[Handle]) -> None:
        """Further handles of this file."""
        self._handles.extend(stripes)
        for handle in stripes:
            handle.connection.files[self] = None
