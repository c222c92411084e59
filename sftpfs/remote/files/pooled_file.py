"""One open file on the server: a handle on the metadata connection, and others for bulk.

Owns what becomes of the handles (``remote.handles.file_handles``): opening more for bulk, giving them up,
closing them. ``remote.transfers.read_request`` and ``remote.transfers.write_request`` carry a single read or
write through. ``remote.files.version_tracker`` knows what the file must be like. Used by ``data`` as
``remote.api.RemoteFile``.

The further handles come from ``remote.files.striping``, once the file is bulk. If every connection the file
was open on is lost, requests wait until it is open again (``remote.files.reopen``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sftpfs.aio import Slot
from sftpfs.remote.api import CurrentPath, HandedOver
from sftpfs.remote.files.reopen import FileReopener
from sftpfs.remote.files.striping import Stripes
from sftpfs.remote.files.version_tracker import VersionTracker
from sftpfs.remote.handles.close_result import HandOver, kept, nobody_notified, watch
from sftpfs.remote.handles.expected_version import ExpectedVersion, Question
from sftpfs.remote.handles.file_handles import FileHandles
from sftpfs.remote.handles.open_files import Late, OpenFiles
from sftpfs.remote.handles.resize import sure_of_sizes
from sftpfs.remote.pool.connection import Connection, ServerHandle
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.slots import carried_out
from sftpfs.remote.transfers.append_offset import End
from sftpfs.remote.transfers.handle_request import Follower, HandleRequest
from sftpfs.remote.transfers.read_request import Read
from sftpfs.remote.transfers.resend import OfOperation, Repeatable
from sftpfs.remote.transfers.send_queue import QueuedWrite, SendQueue
from sftpfs.remote.transfers.write_request import Write, explain_write
from sftpfs.types import AttributeChange, Attributes, Buffer, OpenFlags

T = TypeVar("T")

BULK_BYTES = 1 << 20
"""A file becomes bulk once this much of it was asked for: most files are smaller, and one connection carries
about this in one round trip."""

DEMAND_BYTES = 64 << 10
"""How often more connections are asked for: once in so many bytes, for that costs as much as all else that a
small read asks the pool."""


class PooledFile(FileHandles):
    """See the module. Implements ``remote.api.RemoteFile``.

    INVARIANT: a request waits in ``_reopening`` only while ``_handles`` has none that is alive.
    """

    __slots__ = (
        "_bulk",
        "_end",
        "_epoch",
        "_in_part",
        "_last_path",
        "_open_files",
        "_pool",
        "_renewed",
        "_reopening",
        "_requested",
        "_several",
        "_stripes",
        "_traits",
        "appends",
        "current_path",
        "hidden",
        "made",
        "outbox",
        "patience",
        "read_sizes",
        "reader",
        "refused",
        "tracker",
        "unnamed",
        "write_sizes",
    )

    def __init__(
        self,
        pool: ConnectionPool,
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
        self.reader: Late | None = None
        """As ``OpenFile.reader``."""
        self.hidden = False
        """As ``RemoteFile.hidden``."""
        self.unnamed = False
        """As ``RemoteFile.unnamed``."""
        self.made = False
        """It was made by the present handle, and had its name at once."""
        self.outbox = SendQueue(self)
        self._several = pool.config.several_handles
        self.patience = pool.config.patience
        """Seconds after which a request is not sent again."""
        self.read_sizes = pool.read_sizes
        self.write_sizes = pool.write_sizes
        self.current_path = current_path
        self._in_part = False
        self.refused: Callable[[OSError], None] = nobody_notified
        self._pool = pool
        self._traits = pool.traits
        self._bulk = pool.bulk
        super().__init__(ServerHandle(connection, identifier))
        self._last_path = path
        self._renewed = 0
        """The size for which a handle was given up that did not show it."""
        self._requested = 0
        self._epoch = 0
        self._open_files = open_files
        written = bool(flags & (OpenFlags.CREATE | OpenFlags.TRUNCATE))
        self.tracker = VersionTracker(self, pool, open_files, written)
        self._reopening = FileReopener(self, self.tracker, pool, open_files)
        self._stripes = Stripes(self, pool, self._reopening)
        self._end = End(self) if appends and OpenFlags.APPEND not in flags else None

    def known_as(self, attributes: Attributes, asked: Question | None, new: bool) -> None:
        """As ``VersionTracker.known_as``."""
        self.made = new and not self.unnamed
        self.tracker.known_as(attributes, asked, new)

    def confirm(self) -> None:
        """As ``RemoteFile.confirm``."""
        self.tracker.confirm()

    @property
    def version(self) -> ExpectedVersion | None:
        """As ``VersionTracker.version``."""
        return self.tracker.version

    @property
    def ordered(self) -> bool:
        """True while every request travels on one connection, in the order sent."""
        if self.tracker.late:
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
        if self._pool.silence.met(read.started):
            self.watch(read)
        return read.start()

    def start_write(self, offset: int, data: Buffer) -> Slot[None]:
        """As ``RemoteFile.start_write``."""
        self._account(len(data))
        return Write(self, offset, data, self.write_sizes.limit).start()

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""
        return self.tracker.start_fstat(HandleRequest)

    def start_fstat_behind(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat_behind``."""
        return self.tracker.start_fstat(Follower)

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """As ``RemoteFile.start_setattr``."""
        return self.tracker.start_setattr(change)

    def start_fsync(self) -> Slot[None]:
        """As ``RemoteFile.start_fsync``."""
        if not (self._handles or self.tracker.written or self._traits.known.writes_anywhere):
            return Slot.of(None)  # its CLOSE ended what was written, and no more can be
        return self.tracker.start_fsync()

    def _account(self, length: int) -> None:
        self.used = True
        before = self._requested
        self._requested += length
        alone = self.closed or self.appends or self._one_handle or not self._several
        if self._requested > BULK_BYTES and not alone:
            bulk = self._bulk
            if (self._requested - 1) // DEMAND_BYTES != (before - 1) // DEMAND_BYTES:
                bulk.demand()
            if self._epoch != bulk.epoch and self._stripes.begin():
                self._epoch = bulk.epoch

    @property
    def _one_handle(self) -> bool:
        """It is written by one handle, because the server decides as each is closed."""
        return not self._traits.known.closes_without_a_word and OpenFlags.WRITE in self.flags

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
        """As ``RemoteFile.undecided``. For a file without a name nothing is left to be decided."""
        return self.tracker.written and self._one_handle and self.current_path() is not None

    def start_hand_over(self, change: AttributeChange | None = None) -> Slot[HandedOver]:
        """As ``RemoteFile.start_hand_over``."""
        version = self.version
        assert version is not None
        attempt: HandOver | None = None

        def start(handle: ServerHandle) -> Slot[HandedOver]:
            nonlocal attempt
            attempt = HandOver(self, handle, self._traits, change, self.tracker.start_change)
            return carried_out(attempt.steps())

        def done(answer: Slot[HandedOver], result: Slot[HandedOver]) -> None:
            failure = answer.error
            assert attempt is not None
            if failure is not None:
                assert isinstance(failure, OSError)
                explain_write(attempt.session, self.path, 1, failure, result)
                return
            handed_over = answer.result()
            short = kept(handed_over.attributes, version.least)
            self._judge(short)
            if short is not None:
                result.fail(short)
            else:
                assert attempt.asked is not None
                self.tracker.reported(version, handed_over.attributes, attempt.asked)
                refused = self.tracker.change_refused(change, handed_over.refused)
                result.set(handed_over._replace(refused=refused))

        return self.tracker.call(Follower(self, start, done))

    def put_away(self, handle: ServerHandle, *, with_change: bool) -> list[Slot[None]]:
        """As ``Written.put_away``."""
        self.made = False
        return self._put_away(list(self._handles), handle if with_change else None)

    def opened_in_part(self) -> None:
        """It had bytes when it was opened to be written, and the server is not known to keep those. It may
        refuse them as it is closed, even if nothing is written."""
        self._in_part = self.tracker.written = True

    def _judge(self, short: OSError | None) -> None:
        """A file that was written in part was closed, and is ``short`` or still has its bytes."""
        if not self._in_part:
            return
        if short is None:
            self._traits.seen(["writes_anywhere"])
        else:
            self._traits.contradict("writes_anywhere", str(short.strerror))

    def _put_away(self, going: list[ServerHandle], changed: ServerHandle | None = None) -> list[Slot[None]]:
        """CLOSE of ``going``: the file is opened again as it is used next. That of ``changed`` goes beside
        its FSETSTAT."""
        self._handles = [handle for handle in self._handles if handle not in going]
        for handle in going:
            handle.connection.files.pop(self, None)
        self._reopening.handle_evicted = True
        self.unnamed = self.hidden = False
        self.tracker.written = self.tracker.written and bool(self._handles)
        return [
            (one.session.start_close_with_change if one is changed else one.session.start_close)(
                one.identifier
            )
            for one in going
        ]

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
                self._watched(handle.session.start_close(handle.identifier), self.tracker.written)
        self._reopening.close()
        self.tracker.forget()

    def _watched(self, closing: Slot[None], written: bool) -> None:
        if written:
            watch(closing, self.refused)

    # what requests ask for

    def beside(self, connection: Connection, target: Connection) -> ServerHandle | None:
        """As ``Handles.beside``. Not of a file open for appending: its writes keep to one connection."""
        if self.closed or self.appends or self._one_handle:
            return None
        transport = connection.transport
        for handle in self._handles:
            one = handle.connection
            # Perhaps the transport went silent, and so all its channels.
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

    def renew(self, handle: ServerHandle) -> bool:
        """As ``Handles.renew``. ProFTPD's handles end where the file did as they were made."""
        if handle not in self._handles:
            return not self.closed
        version, path = self.version, self.current_path()
        if version is None or path is None or version.least <= self._renewed or self.closed:
            return False
        self._renewed = version.least
        self._put_away([handle])
        return True

    def can_evict(self, connection: Connection) -> bool:
        """As ``HandleOwner.can_evict``. Not while the file is being opened, here or elsewhere, or
        compared."""
        if self.version is None or self._stripes.busy or self.outbox.held or self.current_path() is None:
            return False
        return any(handle.connection is connection for handle in self._handles)

    def evict(self, connection: Connection) -> None:
        """As ``HandleOwner.evict``. Asks once more for its attributes, so that it can be recognised
        later."""
        going = [handle for handle in self._handles if handle.connection is connection]
        self.start_fstat()
        written, self.used = self.tracker.written, False
        for closing in self._put_away(going):
            self._watched(closing, written)

    def give_up(self) -> None:
        """As ``OpenFile.give_up``."""
        self._reopening.end()
        for closing in self._put_away(list(self._handles)):
            self._watched(closing, self.tracker.written)

    def wait(self, request: Repeatable) -> None:
        """No handle is alive: open the file again."""
        self._reopening.wait(request)

    def unreachable(self) -> OSError | None:
        """As ``Sender.unreachable``."""
        return self._reopening.refuses()

    def watch(self, request: OfOperation) -> None:
        """As ``Handles.watch``."""
        self._pool.silence.watch(request, request.started)

    def placed(self, piece: QueuedWrite) -> bool:
        """As ``Sender.placed``."""
        return self._end is None or self._end.place(piece)
