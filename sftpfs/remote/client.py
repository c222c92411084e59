"""The server: ``remote.api.Remote`` on the sessions of a pool.

Owns how each operation travels: what goes out together, and what is looked at after a failure. Used by
``vfs`` and ``data`` through ``remote.api``. Operations by path all take the metadata connection. The server
carries out its requests in order, so the LSTAT sent behind a change sees the change.
``remote.operations.retry`` carries operations over the loss of the connection.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Sequence
from functools import partial

from sftpfs import clock, operation
from sftpfs.errors import StatusError, error
from sftpfs.remote.api import CurrentPath, LinkTarget, RemoteFile, ServerCopy
from sftpfs.remote.files.lazy_open import LazyFiles
from sftpfs.remote.files.pooled_file import PooledFile
from sftpfs.remote.files.read_write_pair import TwoHandles
from sftpfs.remote.files.reopen_mode import ACCESS, OwnMode
from sftpfs.remote.handles.open_files import OpenInode
from sftpfs.remote.operations.batch_lstat import lstat_batch
from sftpfs.remote.operations.list_directory import list_directory
from sftpfs.remote.operations.list_part import list_part
from sftpfs.remote.operations.name_bytes import check_name
from sftpfs.remote.operations.name_changes import NameChanges
from sftpfs.remote.operations.open_file import PERMISSIONS, open_file
from sftpfs.remote.operations.retry import retry_idempotent, retry_resolved
from sftpfs.remote.operations.server_copy import open_copy
from sftpfs.remote.operations.setattr_by_path import change_attributes
from sftpfs.remote.outcome import errno_probe, lost_reply_probe
from sftpfs.remote.outcome.lost_reply_rules import Again
from sftpfs.remote.paths import check_link_target, check_path
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests import time_trust
from sftpfs.remote.requests.owner_names import owner_names
from sftpfs.remote.requests.setattr_request import surely_sets
from sftpfs.remote.requests.stat_request import canonical_path, of_directory, start_following
from sftpfs.remote.requests.whole_file_fetch import fetch_whole
from sftpfs.remote.slots import value_or_none
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.types import (
    LONGEST_NAME,
    NAME_MAX,
    AttributeChange,
    Attributes,
    FilesystemStatistics,
    Listing,
    OpenFlags,
    OwnerNames,
    PartialListing,
    WholeFile,
)

MANY_HANDLES = 1000
"""Handles that a server has room for if it does not tell: most take all that a process may have open."""


class SftpRemote(NameChanges):
    """See the module. One object a mount.

    ``follow_symlinks``: what a path leads to is shown in place of a link.
    """

    def __init__(self, pool: ConnectionPool, follow_symlinks: bool = False) -> None:
        super().__init__(pool)
        self._late_files = LazyFiles(self.open_one, pool, self._open_files)
        self._look = start_following if follow_symlinks else Session.start_lstat
        self._open_one = partial(open_file, pool, self._open_files, follow=follow_symlinks)

    @property
    def copies_data(self) -> bool:
        """As ``Remote.copies_data``."""
        return self._pool.capabilities.has(extensions.COPY_DATA)

    @property
    def round_trip(self) -> float:
        """As ``Remote.round_trip``."""
        return self._pool.round_trip

    @property
    def affordable(self) -> float:
        """As ``Remote.affordable``."""
        return 0.0 if self._pool.traits.known.one_at_a_time else self._pool.link.affordable

    def affords(self, size: int) -> bool:
        """As ``Remote.affords``."""
        return size <= self.affordable and size <= self._pool.link.down.spare(clock.awake())

    @property
    def opens_together(self) -> int:
        """As ``Remote.opens_together``."""
        if self._pool.traits.known.one_at_a_time:
            return 1
        return max(1, self._pool.capabilities.limits.open_handles or MANY_HANDLES)

    @property
    def process_ids(self) -> tuple[int, int] | None:
        """As ``Remote.process_ids``."""
        return self._pool.process_ids

    @property
    def name_max(self) -> int:
        """As ``Remote.name_max``."""
        return NAME_MAX if self._pool.traits.known.keeps_names_short else LONGEST_NAME

    def _made(self, mtime: int, sent: float) -> None:
        """A name we asked for at ``sent`` has ``mtime``."""
        time_trust.of_now(self._pool.traits, self.clock, mtime)
        self.clock.made(mtime, sent, clock.now())

    @property
    def away(self) -> bool:
        """As ``Remote.away``."""
        return self._pool.away

    def named_by(self, at: Callable[[bytes], CurrentPath | None]) -> None:
        """As ``Remote.named_by``."""
        self._open_files.at = at

    @property
    def keeps_case_apart(self) -> bool | None:
        """As ``Remote.keeps_case_apart``."""
        traits = self._pool.traits
        if not traits.known.keeps_case_apart:
            return False
        return True if traits.held("keeps_case_apart") else None

    def case_seen(self, *, apart: bool) -> None:
        """As ``Remote.case_seen``."""
        if apart:
            self._pool.traits.seen(["keeps_case_apart"])
        else:
            self._pool.traits.contradict("keeps_case_apart", "a name leads to the file of another case")

    def surely_sets(self, change: AttributeChange) -> bool:
        """As ``Remote.surely_sets``."""
        return surely_sets(self._pool.traits, change)

    # names and attributes

    async def lstat(self, path: bytes) -> Attributes:
        """As ``Remote.lstat``."""
        check_path(path)
        await check_name(self._pool, path)
        return await retry_idempotent(
            self._pool, lambda connection: self._look(connection.session, path).wait(), self._pool.looking()
        )

    async def stat(self, path: bytes) -> Attributes:
        """As ``Remote.stat``. A missing name costs a second wait, to tell a loop of links."""
        check_path(path)

        async def work(connection: Connection) -> Attributes:
            try:
                return await of_directory(connection.session, path)
            except StatusError as failed:
                raise await errno_probe.following(connection.session, failed, path) from None

        return await retry_idempotent(self._pool, work, self._pool.looking())

    async def readlink(self, path: bytes) -> bytes:
        """As ``Remote.readlink``."""
        check_path(path)
        target = await retry_idempotent(
            self._pool,
            lambda connection: connection.session.start_readlink(path).wait(),
            self._pool.looking(),
        )
        check_link_target(target)
        return target

    async def realpath(self, path: bytes) -> bytes:
        """As ``Remote.realpath``; ``path`` may be relative to where the server starts us."""
        if b"\0" in path:
            raise error(errno.EINVAL)
        canonical = await retry_idempotent(
            self._pool,
            lambda connection: canonical_path(connection.session, path),
            self._pool.looking(),
        )
        check_path(canonical)
        return canonical

    async def lstat_many(self, paths: Sequence[bytes]) -> list[Attributes | OSError]:
        """As ``Remote.lstat_many``."""
        return await lstat_batch(self._pool, self._look, paths)

    async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
        """As ``Remote.list_directory``."""
        check_path(path)
        return await list_directory(self._pool, self._open_files.handle_limit, path, in_parts=in_parts)

    async def list_part(self, path: bytes, most: int, leave_out: Collection[bytes] = ()) -> PartialListing:
        """As ``Remote.list_part``."""
        return await list_part(self._pool, self._open_files.handle_limit, path, most, leave_out)

    async def _ready(self, inode: OpenInode | None) -> None:
        """As ``OpenFiles.ready``, no longer than the operation may wait."""
        if inode is not None and inode.late:
            await self._before_changing(self._open_files.ready(inode))

    async def _hold(self, inode: OpenInode | None) -> None:
        """As ``OpenInode.hold``, no longer than the operation may wait. It runs before each attempt, because
        the loss of a connection causes an attempt, and then the next. Raises SessionLostError."""
        if inode is not None and inode.lost():
            await self._pool.silence.within(operation.begun(), inode.hold())

    async def setattr(
        self, path: bytes, change: AttributeChange, target: LinkTarget = LinkTarget.TARGET
    ) -> Attributes:
        """As ``Remote.setattr``."""
        check_path(path)

        await self._ready(self._open_files.found_at(path))
        matters = change.size is not None or change.mtime is not None

        async def work(connection: Connection) -> Attributes:
            if matters:
                await self._hold(self._open_files.found_at(path))
            return await change_attributes(connection, self._open_files, self._look, path, change, target)

        return await retry_idempotent(self._pool, work)

    async def statvfs(self, path: bytes) -> FilesystemStatistics | None:
        """As ``Remote.statvfs``."""
        check_path(path)

        async def work(connection: Connection) -> FilesystemStatistics | None:
            session = connection.session
            if not session.capabilities.has(extensions.STATVFS):
                return None
            return await value_or_none(session.start_statvfs(path))

        return await retry_idempotent(self._pool, work, self._pool.looking())

    async def owner_names(self, uids: Sequence[int], gids: Sequence[int], near: bytes) -> OwnerNames:
        """As ``Remote.owner_names``."""
        check_path(near)
        return await retry_idempotent(
            self._pool, lambda connection: owner_names(connection.session, uids, gids, near)
        )

    # files

    async def open(
        self, path: bytes, flags: OpenFlags, mode: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes]:
        """As ``Remote.open``.

        Costs a second wait if LSTAT did not show what was opened.
        """
        if OpenFlags.EXCLUSIVE not in flags:
            await self._ready(self._open_files.find(current_path))
        return await self.open_one(path, flags, mode, current_path)

    async def open_one(
        self, path: bytes, flags: OpenFlags, mode: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes]:
        """``open`` of only this one, whatever else of the file is open in memory."""
        check_path(path)
        new = OpenFlags.EXCLUSIVE in flags
        if new:
            await check_name(self._pool, path)

        async def work(connection: Connection) -> tuple[RemoteFile, Attributes]:
            if OpenFlags.TRUNCATE in flags:
                await self._hold(self._open_files.find(current_path))
            sent = clock.now()
            file, attributes, _ = await self._open_one(connection, path, flags, mode, current_path, new=new)
            if OpenFlags.EXCLUSIVE in flags:
                self._made(attributes.mtime, sent)
            return self._as_asked(file, flags), attributes

        if not new:
            # To empty it twice is only one open that took longer: nothing was written through it yet.
            changes = flags & (OpenFlags.CREATE | OpenFlags.TRUNCATE)
            return await retry_idempotent(self._pool, work, None if changes else self._pool.looking())
        asked, own = clock.now(), OwnMode()

        async def look(connection: Connection) -> tuple[RemoteFile, Attributes] | Again:
            session, most = connection.session, (mode | own.owed) & PERMISSIONS
            found = await lost_reply_probe.create(session, path, most, asked, self.clock)
            if isinstance(found, Again):
                return found
            wanted = flags & ACCESS
            attempt = partial(self._open_one, connection, path, wanted, mode, current_path, new=True)
            file, attributes, _ = await own.open(session, path, wanted, found, attempt, _handle)
            return self._as_asked(file, flags), attributes._replace(mode=attributes.mode & ~own.owed)

        return await retry_resolved(self._pool, work, look)

    def _as_asked(self, file: PooledFile, flags: OpenFlags) -> RemoteFile:
        """``file``, of what is to be open for ``flags``."""
        if OpenFlags.READ in flags & ~file.flags:
            alone = self._pool.traits.known.one_at_a_time
            return TwoHandles(self._late_files, file, alone=alone)
        return file

    async def open_whole(
        self, path: bytes, size: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes, WholeFile | None]:
        """As ``Remote.open_whole``."""
        check_path(path)
        await self._ready(self._open_files.find(current_path))

        async def work(connection: Connection) -> tuple[RemoteFile, Attributes, WholeFile | None]:
            return await self._open_one(connection, path, OpenFlags.READ, 0, current_path, size)

        return await retry_idempotent(self._pool, work, self._pool.looking())

    async def fetch(self, path: bytes, size: int) -> WholeFile | None:
        """As ``Remote.fetch``; on a bulk connection where there is one."""
        check_path(path)
        if self._pool.traits.known.one_at_a_time:
            return None
        self._open_files.handle_limit.unowned += 1
        try:
            return await retry_idempotent(
                self._pool,
                lambda connection: fetch_whole(connection.session, path, size, self._pool.read_sizes.limit),
                self._pool.bulk.least_busy(),
            )
        finally:
            self._open_files.handle_limit.unowned -= 1

    def open_later(
        self,
        current_path: CurrentPath,
        known: Callable[[], Attributes | None],
        changed: Callable[[Attributes], None] | None = None,
    ) -> RemoteFile:
        """As ``Remote.open_later``."""
        return self._late_files.make(current_path, known, changed)

    async def open_copy(self, source: bytes, destination: bytes) -> ServerCopy:
        """As ``Remote.open_copy``; on a bulk connection where there is one."""
        check_path(source)
        check_path(destination)
        await self._ready(self._open_files.found_at(destination))

        async def work(connection: Connection) -> ServerCopy:
            known = connection.session.traits.known
            apart = known.one_at_a_time or not known.closes_without_a_word  # two handles, and nobody waits
            if apart or not connection.session.capabilities.has(extensions.COPY_DATA):
                raise error(errno.EOPNOTSUPP)
            await self._hold(self._open_files.found_at(destination))
            return await open_copy(connection, self._open_files, source, destination)

        return await retry_idempotent(self._pool, work, self._pool.bulk.least_busy())


def _handle(opened: tuple[PooledFile, Attributes, WholeFile | None]) -> bytes | None:
    handle = opened[0].primary()
    return None if handle is None else handle.identifier
