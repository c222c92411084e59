"""One open file on the server: a handle on the metadata connection, and stripes for bulk.

Owns the handles and which of them a request takes; ``remote.transfer`` carries the
single read or write through. Used by ``data`` as ``remote.api.RemoteFile``.

A *stripe* is a further handle of the same file on a bulk connection. It is opened by
path, in the background, and accepted only once FSTAT of it and of the first handle
agree, so that a file that took over the path meanwhile is never mistaken for this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from sftpfs.aio import Slot
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.connection import Connection, Handle
from sftpfs.remote.pool import Pool
from sftpfs.remote.transfer import Read, Write, WritePiece, fail_explained, unavailable
from sftpfs.remote.waiting import opened, when_done
from sftpfs.types import AttributeChange, Attributes, Buffer

BULK_BYTES = 1 << 20
"""A file becomes bulk once this much of it was asked for: what most files are smaller
than, and about what one connection carries in one round trip."""

COMPARISONS = 3
"""FSTAT pairs tried for a stripe: the file may change between two, by us or by others."""

FSYNC = "fsync@openssh.com"

PROTOCOL_FLAGS = {
    OpenFlags.READ: 0x01,
    OpenFlags.WRITE: 0x02,
    OpenFlags.APPEND: 0x04,
    OpenFlags.CREATE: 0x08,
    OpenFlags.TRUNCATE: 0x10,
    OpenFlags.EXCLUSIVE: 0x20,
}
"""SSH_FXF_* (draft-ietf-secsh-filexfer-02 §6.3)."""


def protocol_flags(flags: OpenFlags) -> int:
    """``flags`` as the pflags of SSH_FXP_OPEN."""
    return sum(PROTOCOL_FLAGS[flag] for flag in flags)


class File:
    """See the module. Implements ``remote.api.RemoteFile``.

    INVARIANT: ``_handles`` holds handles of one and the same remote file; the first
    is the primary, for everything but bulk, and the rest are stripes.
    INVARIANT: while ``held`` is a queue, no write is sent.
    """

    __slots__ = (
        "_current_path",
        "_drained",
        "_epoch",
        "_handles",
        "_last_path",
        "_pool",
        "_requested",
        "_striping",
        "closed",
        "flags",
        "held",
        "timeout",
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
    ) -> None:
        self.flags = flags
        self.closed = False
        self.held: deque[WritePiece] | None = None
        """Writes kept back while a stripe is compared."""
        self.writes_under_way = 0
        self.timeout = pool.config.timeout
        """Seconds after which a piece is not sent again."""
        self._pool = pool
        self._handles = [Handle(connection, identifier)]
        self._last_path = path
        self._current_path = current_path
        self._requested = 0
        self._epoch = 0
        self._striping = False
        self._drained: Slot[None] | None = None

    @property
    def ordered(self) -> bool:
        """True while every request travels on one connection, in the order sent."""
        return len(self._handles) == 1 and self.held is None

    @property
    def path(self) -> bytes:
        """Where the file is, or was last known to be."""
        path = self._current_path()
        if path is not None:
            self._last_path = path
        return self._last_path

    def start_read(self, offset: int, length: int) -> Slot[Buffer]:
        """As ``RemoteFile.start_read``."""
        self._account(length)
        return Read(self, offset, length, self._pool.capabilities.limits.read_size).start()

    def start_write(self, offset: int, data: Buffer) -> Slot[None]:
        """As ``RemoteFile.start_write``."""
        self._account(len(data))
        return Write(self, offset, data, self._pool.capabilities.limits.write_size).start()

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""
        handle = self.primary()
        return self._unavailable() if handle is None else handle.session.start_fstat(handle.identifier)

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """As ``RemoteFile.start_setattr``."""
        handle = self.primary()
        return (
            self._unavailable()
            if handle is None
            else handle.session.start_fsetstat(handle.identifier, change)
        )

    def start_fsync(self) -> Slot[None]:
        """As ``RemoteFile.start_fsync``."""
        handle = self.primary()
        if handle is None:
            return self._unavailable()
        if not handle.session.capabilities.has(FSYNC):
            return Slot.of(None)
        explained: Slot[None] = Slot()

        def done(slot: Slot[None]) -> None:
            if slot.error is None:
                explained.set(None)
            else:
                assert isinstance(slot.error, OSError)
                fail_explained(self, 1, slot.error, explained)

        when_done(handle.session.start_fsync(handle.identifier), done)
        return explained

    def close(self) -> None:
        """As ``RemoteFile.close``. Writes kept back are sent before."""
        if self.closed:
            return
        self._release_held()
        self.closed = True
        for handle in self._handles:
            if handle.connection.live:
                handle.session.start_close(handle.identifier)

    # what remote.transfer asks for

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
            if not handle.connection.live:
                handles.remove(handle)
            elif best is None or handle.connection.outstanding < best.connection.outstanding:
                best = handle
        return best or self.primary()

    def drop(self, handle: Handle) -> None:
        """The session of ``handle`` is lost, and the handle with it."""
        if handle in self._handles:
            self._handles.remove(handle)

    def write_ended(self) -> None:
        """A piece of a write was answered."""
        self.writes_under_way -= 1
        if not self.writes_under_way and self._drained is not None:
            drained, self._drained = self._drained, None
            drained.set(None)

    # stripes

    def _account(self, length: int) -> None:
        self._requested += length
        if self._requested > BULK_BYTES and not (self.closed or OpenFlags.APPEND in self.flags):
            pool = self._pool
            pool.demand_bulk()
            if self._epoch != pool.epoch and not self._striping:
                self._epoch = pool.epoch
                self._striping = True
                pool.spawn(self._stripe)

    async def _stripe(self) -> None:
        """Open this file on the bulk connections it is not yet open on."""
        candidates: list[Handle] = []
        try:
            path = self._current_path()
            if path is None:
                return
            candidates = await self._open_candidates(path)
            if candidates and OpenFlags.WRITE in self.flags:
                await self._hold_writes()
            accepted = await self._compare(path, candidates) if candidates else []
            if not self.closed:
                self._handles.extend(accepted)
                candidates = [handle for handle in candidates if handle not in accepted]
        except OSError:
            pass  # a session was lost on the way: the file goes on without
        finally:
            self._striping = False
            self._release_held()
            for handle in candidates:
                if handle.connection.live:
                    handle.session.start_close(handle.identifier)

    async def _open_candidates(self, path: bytes) -> list[Handle]:
        taken = {handle.connection for handle in self._handles}
        connections = [one for one in self._pool.bulk if one.live and one not in taken]
        pflags = protocol_flags(self.flags & (OpenFlags.READ | OpenFlags.WRITE))
        slots = [(one, one.session.start_open(path, pflags, None)) for one in connections]
        candidates = []
        for connection, slot in slots:
            try:
                candidates.append(Handle(connection, await opened(connection.session, slot)))
            except OSError:
                continue
        return candidates

    async def _hold_writes(self) -> None:
        """Keep writes back, and wait for those under way: their size and time would blur the comparison."""
        self.held = deque()
        if self.writes_under_way:
            self._drained = Slot()
            await self._drained.wait()

    async def _compare(self, path: bytes, candidates: list[Handle]) -> list[Handle]:
        """Those of ``candidates`` that are this file, as far as SFTP can tell."""
        alike: list[Handle] = []
        for _ in range(COMPARISONS):
            if self.closed:
                return []
            ours = self.start_fstat()
            theirs = [one.session.start_fstat(one.identifier) for one in candidates]
            reference = await ours.wait()
            pairs = zip(candidates, theirs, strict=True)
            alike = [handle for handle, slot in pairs if same_file(reference, await slot.wait())]
            if self._current_path() != path:
                return []
            if len(alike) == len(candidates):
                break
        return alike

    def _release_held(self) -> None:
        held, self.held = self.held, None
        for piece in held or ():
            piece.send()

    def _unavailable(self) -> Slot[Any]:
        slot: Slot[Any] = Slot()
        slot.fail(unavailable(self))
        return slot


def same_file(one: Attributes, other: Attributes) -> bool:
    """Whether two FSTATs can be of one file; the time of access may differ."""
    return (one.mode, one.size, one.uid, one.gid, one.mtime) == (
        other.mode,
        other.size,
        other.uid,
        other.gid,
        other.mtime,
    )
