"""``idmap=name``: the names of owners are known before attributes are shown.

Stands between vfs and the server as a ``Remote`` itself: whatever brings attributes asks, in
one batch, for the names of ids not met before, and answers once they are mapped. One more
wait for each new owner in the life of the mount. Decides nothing: ``vfs.ownership`` does.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Sequence

import trio

from sftpfs.errors import SessionLostError
from sftpfs.remote.api import (
    CurrentPath,
    Known,
    LinkTarget,
    OpenFlags,
    Over,
    Remote,
    RemoteFile,
    Renamed,
    ServerCopy,
    nothing_known,
)
from sftpfs.server_clock import ServerClock
from sftpfs.types import (
    AttributeChange,
    Attributes,
    FilesystemStatistics,
    Listing,
    OwnerNames,
    ServerCapabilities,
    WholeFile,
)
from sftpfs.vfs.ownership import OwnerMap, local_ids

IDS_TOGETHER = 1000
"""Ids asked for in one request: 4 KiB, and a reply of some 30 KiB at the most usual."""


class NamingRemote:
    """See the module. Implements ``remote.api.Remote``."""

    __slots__ = ("_owners", "_remote")

    def __init__(self, remote: Remote, owners: OwnerMap) -> None:
        self._remote = remote
        self._owners = owners

    @property
    def capabilities(self) -> ServerCapabilities:
        """As ``Remote.capabilities``."""
        return self._remote.capabilities

    @property
    def round_trip(self) -> float:
        """As ``Remote.round_trip``."""
        return self._remote.round_trip

    @property
    def affordable(self) -> float:
        """As ``Remote.affordable``."""
        return self._remote.affordable

    @property
    def clock(self) -> ServerClock:
        """As ``Remote.clock``."""
        return self._remote.clock

    @property
    def name_max(self) -> int:
        """As ``Remote.name_max``."""
        return self._remote.name_max

    @property
    def away(self) -> bool:
        """As ``Remote.away``."""
        return self._remote.away

    @property
    def keeps_case_apart(self) -> bool | None:
        """As ``Remote.keeps_case_apart``."""
        return self._remote.keeps_case_apart

    def case_seen(self, *, apart: bool) -> None:
        """As ``Remote.case_seen``."""
        self._remote.case_seen(apart=apart)

    def sets(self, change: AttributeChange) -> bool:
        """As ``Remote.sets``."""
        return self._remote.sets(change)

    def surely_sets(self, change: AttributeChange) -> bool:
        """As ``Remote.surely_sets``."""
        return self._remote.surely_sets(change)

    def named_by(self, at: Callable[[bytes], CurrentPath | None]) -> None:
        """As ``Remote.named_by``."""
        self._remote.named_by(at)

    async def know(self, attributes: Collection[Attributes], near: bytes) -> None:
        """Map the owners of ``attributes``, found in directory ``near``, unless that was tried before."""
        uids, gids = self._owners.unnamed(attributes)
        if uids or gids:
            await self._ask(uids, gids, near)

    async def _ask(self, uids: list[int], gids: list[int], near: bytes) -> None:
        for start in range(0, max(len(uids), len(gids)), IDS_TOGETHER):
            some = (uids[start : start + IDS_TOGETHER], gids[start : start + IDS_TOGETHER])
            try:
                names = await self._remote.owner_names(*some, near)
            except SessionLostError:
                raise
            except OSError:
                names = OwnerNames({}, {})  # what brought the attributes is worth more than their names
            local = await trio.to_thread.run_sync(local_ids, names)
            self._owners.learn_names(some, names, local)

    async def _known(self, attributes: Attributes, path: bytes) -> Attributes:
        await self.know((attributes,), posixpath.dirname(path))
        return attributes

    async def lstat(self, path: bytes) -> Attributes:
        """As ``Remote.lstat``."""
        return await self._known(await self._remote.lstat(path), path)

    async def stat(self, path: bytes) -> Attributes:
        """As ``Remote.stat``."""
        return await self._known(await self._remote.stat(path), path)

    async def readlink(self, path: bytes) -> bytes:
        """As ``Remote.readlink``."""
        return await self._remote.readlink(path)

    async def realpath(self, path: bytes) -> bytes:
        """As ``Remote.realpath``."""
        return await self._remote.realpath(path)

    async def lstat_many(self, paths: Sequence[bytes]) -> list[Attributes | OSError]:
        """As ``Remote.lstat_many``."""
        found = await self._remote.lstat_many(paths)
        if paths:
            attributes = [one for one in found if isinstance(one, Attributes)]
            await self.know(attributes, posixpath.dirname(paths[0]))
        return found

    async def list_directory(self, path: bytes) -> Listing:
        """As ``Remote.list_directory``."""
        listing = await self._remote.list_directory(path)
        entries = [entry.attributes for entry in listing.entries if entry.attributes is not None]
        await self.know([listing.attributes, *entries], path)
        return listing

    async def owner_names(self, uids: Sequence[int], gids: Sequence[int], near: bytes) -> OwnerNames:
        """As ``Remote.owner_names``."""
        return await self._remote.owner_names(uids, gids, near)

    async def statvfs(self, path: bytes) -> FilesystemStatistics | None:
        """As ``Remote.statvfs``."""
        return await self._remote.statvfs(path)

    async def open(
        self, path: bytes, flags: OpenFlags, mode: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes]:
        """As ``Remote.open``."""
        file, attributes = await self._remote.open(path, flags, mode, current_path)
        try:
            return file, await self._known(attributes, path)
        except BaseException:
            file.close()
            raise

    async def open_whole(
        self, path: bytes, size: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes, WholeFile | None]:
        """As ``Remote.open_whole``."""
        file, attributes, whole = await self._remote.open_whole(path, size, current_path)
        try:
            return file, await self._known(attributes, path), whole
        except BaseException:
            file.close()
            raise

    async def fetch(self, path: bytes, size: int) -> WholeFile | None:
        """As ``Remote.fetch``."""
        whole = await self._remote.fetch(path, size)
        if whole is not None:
            await self._known(whole.attributes, path)
        return whole

    async def open_copy(self, source: bytes, destination: bytes) -> ServerCopy:
        """As ``Remote.open_copy``: of files that are known, and so are their owners."""
        return await self._remote.open_copy(source, destination)

    def open_later(self, current_path: CurrentPath, known: Callable[[], Attributes | None]) -> RemoteFile:
        """As ``Remote.open_later``."""
        return self._remote.open_later(current_path, known)

    async def setattr(
        self, path: bytes, change: AttributeChange, target: LinkTarget = LinkTarget.TARGET
    ) -> Attributes:
        """As ``Remote.setattr``."""
        return await self._known(await self._remote.setattr(path, change, target), path)

    async def mkdir(self, path: bytes, mode: int) -> Attributes:
        """As ``Remote.mkdir``."""
        return await self._known(await self._remote.mkdir(path, mode), path)

    async def symlink(self, target: bytes, path: bytes) -> Attributes:
        """As ``Remote.symlink``."""
        return await self._known(await self._remote.symlink(target, path), path)

    async def link(self, existing: bytes, path: bytes) -> Attributes:
        """As ``Remote.link``."""
        return await self._known(await self._remote.link(existing, path), path)

    async def remove(
        self, path: bytes, known: Known = nothing_known, *, look: bool = False
    ) -> Attributes | None:
        """As ``Remote.remove``."""
        return await self._remote.remove(path, known, look=look)

    async def rmdir(self, path: bytes) -> None:
        """As ``Remote.rmdir``."""
        await self._remote.rmdir(path)

    async def rename(
        self,
        old: bytes,
        new: bytes,
        replace: bool,
        known: Known | None = nothing_known,
        over: Over = nothing_known,
        *,
        look: bool = False,
        look_over: bool = False,
    ) -> Renamed:
        """As ``Remote.rename``."""
        return await self._remote.rename(old, new, replace, known, over, look=look, look_over=look_over)

    async def know_local(self, uid: int | None, gid: int | None, near: bytes) -> None:
        """Before a chown to ``uid`` and ``gid``: SFTP finds no id by name, but they may be the same there."""
        uids = [] if uid is None else [uid]
        gids = [] if gid is None else [gid]
        wanted = self._owners.unmapped_here(uids, gids)
        if any(wanted):
            await self._ask(*wanted, near)
