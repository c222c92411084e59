"""``idmap=name``: the names of owners are known before attributes are shown.

Stands between vfs and the server. A request that brings attributes asks, in one batch, for the names of ids
not met before, and answers once they are mapped. That is one more wait for each new owner in the life of the
mount. Decides nothing: ``vfs.mapping.id_map`` does.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from functools import partial

from sftpfs.aio import in_thread
from sftpfs.errors import SessionLostError
from sftpfs.remote.api import CurrentPath, LinkTarget, Remote, RemoteFile
from sftpfs.remote.wrapper import InFront, converted
from sftpfs.types import (
    AttributeChange,
    Attributes,
    DirectoryEntry,
    Listing,
    OpenFlags,
    OwnerNames,
    PartialListing,
    WholeFile,
)
from sftpfs.vfs.mapping.id_map import IdMap, local_ids

IDS_TOGETHER = 1000
"""Ids asked for in one request: 4 KiB, and a reply of some 30 KiB at the most usual."""

PATIENCE = 5.0
"""Seconds an operation waits for a thread to ask this machine's user database in."""


class OwnerNamesRemote(InFront):
    """See the module."""

    __slots__ = ("_owners",)

    def __init__(self, remote: Remote, owners: IdMap) -> None:
        super().__init__(remote)
        self._owners = owners

    async def know(self, attributes: Collection[Attributes], near: bytes) -> None:
        """Maps the owners of ``attributes``, found in directory ``near``, unless that was tried before."""
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
            local = await in_thread(local_ids, names, patience=PATIENCE)
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

    async def lstat_many(self, paths: Sequence[bytes]) -> list[Attributes | OSError]:
        """As ``Remote.lstat_many``."""
        found = await self._remote.lstat_many(paths)
        if paths:
            attributes = [one for one in found if isinstance(one, Attributes)]
            await self.know(attributes, posixpath.dirname(paths[0]))
        return found

    async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
        """As ``Remote.list_directory``."""
        listing = await self._remote.list_directory(path, in_parts=in_parts)
        return await converted(listing, partial(self._known_entries, path, listing.attributes))

    async def _known_entries(
        self, path: bytes, own: Attributes, entries: list[DirectoryEntry]
    ) -> list[DirectoryEntry]:
        await self.know([own, *(one.attributes for one in entries if one.attributes is not None)], path)
        return entries

    async def list_part(self, path: bytes, most: int, leave_out: Collection[bytes] = ()) -> PartialListing:
        """As ``Remote.list_part``; of who owns the entries nothing is shown."""
        part = await self._remote.list_part(path, most, leave_out)
        await self.know([part.attributes], path)
        return part

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

    async def know_local(self, uid: int | None, gid: int | None, near: bytes) -> None:
        """Runs before a chown to ``uid`` and ``gid``: SFTP finds no id by name, but the numbers may be the
        same there."""
        uids = [] if uid is None else [uid]
        gids = [] if gid is None else [gid]
        wanted = self._owners.unmapped_here(uids, gids)
        if any(wanted):
            await self._ask(*wanted, near)
