"""An open file on further connections: opened there, and accepted if it is the same file.

Owned by ``remote.files.pooled_file``, one object a file. A *stripe* is a further handle of the same file on a
bulk connection. It is opened by path, in the background, and accepted only once FSTAT of it and of the first
handle agree. So a file that took over the path meanwhile is never mistaken for this one.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from sftpfs.aio import Slot
from sftpfs.remote.api import CurrentPath
from sftpfs.remote.files.reopen import FileReopener
from sftpfs.remote.pool.connection import Connection, ServerHandle
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests.stat_request import start_stat_open
from sftpfs.remote.slots import handle_or_close
from sftpfs.remote.transfers.send_queue import SendQueue
from sftpfs.types import Attributes, OpenFlags

COMPARISONS = 3
"""FSTAT pairs tried for a stripe: the file may change between two, by us or by others."""


class Striped(Protocol):
    """What is needed of the open file."""

    flags: OpenFlags
    closed: bool
    current_path: CurrentPath
    outbox: SendQueue

    @property
    def connections(self) -> set[Connection]:
        """Where it is open."""

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``."""

    def join(self, stripes: list[ServerHandle]) -> None:
        """Further handles of the file."""


class Stripes:
    """See the module."""

    __slots__ = ("_file", "_pool", "_reopening", "busy")

    def __init__(self, file: Striped, pool: ConnectionPool, reopening: FileReopener) -> None:
        self._file = file
        self._pool = pool
        self._reopening = reopening
        self.busy = False
        """The file is being opened elsewhere, or compared."""

    def begin(self) -> bool:
        """Opens the file on the bulk connections it is not yet open on. False if that has to wait."""
        if self.busy or self._alone:
            return False
        self.busy = True
        self._pool.spawn(self._stripe)
        return True

    def begin_beside(self, target: Connection) -> None:
        """Opens the file on ``target``, because its own connection has not answered."""
        if not (self.busy or self._alone):
            self.busy = True
            self._pool.spawn(partial(self._open_beside, target))

    @property
    def _alone(self) -> bool:
        """The server has one file open at a time, by one handle, or each file must have only one handle."""
        return self._pool.traits.known.one_at_a_time or not self._pool.config.several_handles

    async def _stripe(self) -> None:
        """Open this file on the bulk connections it is not yet open on."""
        candidates: list[ServerHandle] = []
        try:
            path = self._file.current_path()
            if path is None:
                return
            candidates = await self._open_candidates(path)
            if candidates and OpenFlags.WRITE in self._file.flags:
                await self._file.outbox.hold()
            accepted = await self._compare(path, candidates) if candidates else []
            if not self._file.closed:
                self._file.join(accepted)
                candidates = [handle for handle in candidates if handle not in accepted]
        except OSError:
            pass  # a session was lost on the way: the file goes on without
        finally:
            self.busy = False
            self._file.outbox.release()
            for handle in candidates:
                if handle.connection.live:
                    handle.session.start_close(handle.identifier)

    async def _open_beside(self, target: Connection) -> None:
        """Opens this file on ``target`` as well, in the way it is opened after a loss, because the first
        handle cannot be asked what file it is of."""
        try:
            path = self._file.current_path()
            found = await self._reopening.open_same(target, path) if path is not None else None
            if found is None:
                return
            if self._file.closed or self._file.current_path() != path or self._reopening.renaming:
                target.session.start_close(found[0].identifier)
            else:
                self._file.join([found[0]])
        except OSError:
            pass  # refused or lost: the requests wait on for what they are waiting for
        finally:
            self.busy = False

    async def _open_candidates(self, path: bytes) -> list[ServerHandle]:
        taken = self._file.connections
        connections = [one for one in self._pool.bulk.connections if one.live and one not in taken]
        flags = self._file.flags & (OpenFlags.READ | OpenFlags.WRITE)
        slots = [(one, one.session.start_open(path, flags, None)) for one in connections]
        candidates = []
        for connection, slot in slots:
            try:
                candidates.append(ServerHandle(connection, await handle_or_close(connection.session, slot)))
            except OSError:
                continue
        return candidates

    async def _compare(self, path: bytes, candidates: list[ServerHandle]) -> list[ServerHandle]:
        """Those of ``candidates`` that are this file, as far as SFTP can tell."""
        alike: list[ServerHandle] = []
        for _ in range(COMPARISONS):
            if self._file.closed:
                return []
            ours = self._file.start_fstat()
            theirs = [start_stat_open(one.session, one.identifier, path) for one in candidates]
            reference = await ours.wait()
            pairs = zip(candidates, theirs, strict=True)
            alike = [handle for handle, slot in pairs if same_file(reference, await slot.wait())]
            if self._file.current_path() != path:
                return []
            if len(alike) == len(candidates):
                break
        return alike


def same_file(one: Attributes, other: Attributes) -> bool:
    """Whether two FSTATs can be of one file; the time of access may differ."""
    return (one.mode, one.size, one.uid, one.gid, one.mtime) == (
        other.mode,
        other.size,
        other.uid,
        other.gid,
        other.mtime,
    )
