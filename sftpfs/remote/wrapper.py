"""A ``Remote`` that stands before another one, which answers whatever this one does not.

It is for objects that change a thing or two of every request (``vfs.mapping.owner_names_remote``,
``remote.iconv_names``), so that a mount that needs neither pays nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from sftpfs.remote.api import (
    CurrentPath,
    Known,
    LinkTarget,
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
    DirectoryEntry,
    FilesystemStatistics,
    Listing,
    ListingPart,
    OpenFlags,
    OwnerNames,
    PartialListing,
    RestOfListing,
    WholeFile,
)

Convert = Callable[[list[DirectoryEntry]], Awaitable[list[DirectoryEntry]]]


class _ConvertedRest:
    """A ``RestOfListing`` with other entries."""

    __slots__ = ("_convert", "_rest")

    def __init__(self, rest: RestOfListing, convert: Convert) -> None:
        self._rest = rest
        self._convert = convert

    @property
    def steady(self) -> bool:
        """As ``RestOfListing.steady``."""
        return self._rest.steady

    async def more(self) -> ListingPart | None:
        """As ``RestOfListing.more``."""
        part = await self._rest.more()
        if part is None:
            return None
        try:
            return ListingPart(await self._convert(part.entries), part.asked)
        except BaseException:
            self._rest.close()
            raise

    def close(self) -> None:
        """As ``RestOfListing.close``."""
        self._rest.close()


async def converted(listing: Listing, convert: Convert) -> Listing:
    """``listing`` with the entries that ``convert`` makes of its own, also of those that come later."""
    rest = listing.rest
    try:
        entries = await convert(listing.entries)
    except BaseException:
        if rest is not None:
            rest.close()
        raise
    return Listing(listing.attributes, entries, None if rest is None else _ConvertedRest(rest, convert))


class InFront:
    """See the module. Implements ``remote.api.Remote``."""

    __slots__ = ("_remote",)

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    @property
    def copies_data(self) -> bool:
        """As ``Remote.copies_data``."""
        return self._remote.copies_data

    @property
    def round_trip(self) -> float:
        """As ``Remote.round_trip``."""
        return self._remote.round_trip

    @property
    def affordable(self) -> float:
        """As ``Remote.affordable``."""
        return self._remote.affordable

    def affords(self, size: int) -> bool:
        """As ``Remote.affords``."""
        return self._remote.affords(size)

    @property
    def opens_together(self) -> int:
        """As ``Remote.opens_together``."""
        return self._remote.opens_together

    @property
    def clock(self) -> ServerClock:
        """As ``Remote.clock``."""
        return self._remote.clock

    @property
    def process_ids(self) -> tuple[int, int] | None:
        """As ``Remote.process_ids``."""
        return self._remote.process_ids

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

    async def lstat(self, path: bytes) -> Attributes:
        """As ``Remote.lstat``."""
        return await self._remote.lstat(path)

    async def stat(self, path: bytes) -> Attributes:
        """As ``Remote.stat``."""
        return await self._remote.stat(path)

    async def readlink(self, path: bytes) -> bytes:
        """As ``Remote.readlink``."""
        return await self._remote.readlink(path)

    async def realpath(self, path: bytes) -> bytes:
        """As ``Remote.realpath``."""
        return await self._remote.realpath(path)

    async def lstat_many(self, paths: Sequence[bytes]) -> list[Attributes | OSError]:
        """As ``Remote.lstat_many``."""
        return await self._remote.lstat_many(paths)

    async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
        """As ``Remote.list_directory``."""
        return await self._remote.list_directory(path, in_parts=in_parts)

    async def list_part(self, path: bytes, most: int, leave_out: Collection[bytes] = ()) -> PartialListing:
        """As ``Remote.list_part``."""
        return await self._remote.list_part(path, most, leave_out)

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
        return await self._remote.open(path, flags, mode, current_path)

    async def open_whole(
        self, path: bytes, size: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes, WholeFile | None]:
        """As ``Remote.open_whole``."""
        return await self._remote.open_whole(path, size, current_path)

    async def fetch(self, path: bytes, size: int) -> WholeFile | None:
        """As ``Remote.fetch``."""
        return await self._remote.fetch(path, size)

    def open_later(
        self,
        current_path: CurrentPath,
        known: Callable[[], Attributes | None],
        changed: Callable[[Attributes], None] | None = None,
    ) -> RemoteFile:
        """As ``Remote.open_later``."""
        return self._remote.open_later(current_path, known, changed)

    async def open_copy(self, source: bytes, destination: bytes) -> ServerCopy:
        """As ``Remote.open_copy``."""
        return await self._remote.open_copy(source, destination)

    async def setattr(
        self, path: bytes, change: AttributeChange, target: LinkTarget = LinkTarget.TARGET
    ) -> Attributes:
        """As ``Remote.setattr``."""
        return await self._remote.setattr(path, change, target)

    async def mkdir(self, path: bytes, mode: int) -> Attributes:
        """As ``Remote.mkdir``."""
        return await self._remote.mkdir(path, mode)

    async def symlink(self, target: bytes, path: bytes) -> Attributes:
        """As ``Remote.symlink``."""
        return await self._remote.symlink(target, path)

    async def link(self, existing: bytes, path: bytes) -> Attributes:
        """As ``Remote.link``."""
        return await self._remote.link(existing, path)

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
