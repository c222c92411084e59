"""``modules=iconv``: the one place that converts names between those of vfs and the server's.

vfs and data use every path as it is shown here; the rest of ``remote`` uses every path as the server keeps
it. ``character_sets`` decides which name stands for which. A name that cannot exist on the server is ENOENT
when looked for, and EILSEQ when it would be made. Sends no requests of its own.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from sftpfs.character_sets import NameConversion
from sftpfs.errors import error
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
from sftpfs.remote.paths import check_link_target
from sftpfs.remote.wrapper import InFront, converted
from sftpfs.types import (
    LONGEST_NAME,
    AttributeChange,
    Attributes,
    DirectoryEntry,
    FilesystemStatistics,
    Listing,
    OpenFlags,
    OwnerNames,
    PartialListing,
    WholeFile,
)

NAMES_AT_ONCE = 64
"""Names of a listing converted before others get a turn: those of a hostile server may take 2 ms each."""

log = logging.getLogger("sftpfs.remote")


@dataclass(frozen=True, slots=True)
class _KeptPath:
    """A ``CurrentPath`` as the server keeps it: equal, with the same hash, if those of vfs are."""

    shown: CurrentPath
    names: NameConversion

    def __call__(self) -> bytes | None:
        path = self.shown()
        return None if path is None else self.names.kept_path(path)


class ConvertedRemote(InFront):
    """See the module."""

    __slots__ = ("_names", "_warned")

    def __init__(self, remote: Remote, names: NameConversion) -> None:
        super().__init__(remote)
        self._names = names
        self._warned = False

    def _found(self, path: bytes) -> bytes:
        """``path`` as the server keeps it. Raises ENOENT."""
        kept = self._names.kept_path(path)
        if kept is None:
            raise error(errno.ENOENT)
        return kept

    def _made(self, path: bytes) -> bytes:
        """``path`` of what will be made, or a link's target, as the server must keep it. Raises EILSEQ."""
        kept = self._names.kept_path(path)
        if kept is None:
            raise error(errno.EILSEQ)
        return kept

    def _current(self, current_path: CurrentPath) -> CurrentPath:
        return _KeptPath(current_path, self._names)

    @property
    def name_max(self) -> int:
        """As ``Remote.name_max``: how long it is on the server is seen there."""
        return LONGEST_NAME

    def named_by(self, at: Callable[[bytes], CurrentPath | None]) -> None:
        """As ``Remote.named_by``."""

        def kept_at(path: bytes) -> CurrentPath | None:
            current_path = at(self._names.shown_path(path))
            return None if current_path is None else self._current(current_path)

        self._remote.named_by(kept_at)

    async def lstat(self, path: bytes) -> Attributes:
        """As ``Remote.lstat``."""
        return await self._remote.lstat(self._found(path))

    async def stat(self, path: bytes) -> Attributes:
        """As ``Remote.stat``."""
        return await self._remote.stat(self._found(path))

    async def readlink(self, path: bytes) -> bytes:
        """As ``Remote.readlink``: each name of the target is converted, so that it leads there."""
        target = self._names.shown_path(await self._remote.readlink(self._found(path)))
        check_link_target(target)
        return target

    async def realpath(self, path: bytes) -> bytes:
        """As ``Remote.realpath``."""
        return self._names.shown_path(await self._remote.realpath(self._found(path)))

    async def lstat_many(self, paths: Sequence[bytes]) -> list[Attributes | OSError]:
        """As ``Remote.lstat_many``."""
        kept = [self._names.kept_path(path) for path in paths]
        found = iter(await self._remote.lstat_many([path for path in kept if path is not None]))
        return [error(errno.ENOENT) if path is None else next(found) for path in kept]

    async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
        """As ``Remote.list_directory``."""
        listing = await self._remote.list_directory(self._found(path), in_parts=in_parts)
        return await converted(listing, partial(self._shown, path))

    async def list_part(self, path: bytes, most: int, leave_out: Collection[bytes] = ()) -> PartialListing:
        """As ``Remote.list_part``."""
        kept = {name for shown in leave_out if (name := self._names.kept_path(shown)) is not None}
        part = await self._remote.list_part(self._found(path), most, kept)
        return part._replace(entries=await self._shown(path, part.entries))

    async def _shown(self, path: bytes, entries: list[DirectoryEntry]) -> list[DirectoryEntry]:
        shown: list[DirectoryEntry] = []
        for start in range(0, len(entries), NAMES_AT_ONCE):
            for entry in entries[start : start + NAMES_AT_ONCE]:
                name = self._names.shown(entry.name)
                if len(name) <= LONGEST_NAME:
                    shown.append(DirectoryEntry(name, entry.attributes))
                else:
                    self._cannot_show(path, len(entry.name))
            await trio.lowlevel.checkpoint()
        return shown

    def _cannot_show(self, directory: bytes, length: int) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "a name of %d bytes in %r is too long to be shown in another character set; "
                "mount without modules=iconv to use it, and others like it",
                length,
                directory,
            )

    async def owner_names(self, uids: Sequence[int], gids: Sequence[int], near: bytes) -> OwnerNames:
        """As ``Remote.owner_names``."""
        return await self._remote.owner_names(uids, gids, self._found(near))

    async def statvfs(self, path: bytes) -> FilesystemStatistics | None:
        """As ``Remote.statvfs``."""
        return await self._remote.statvfs(self._found(path))

    async def open(
        self, path: bytes, flags: OpenFlags, mode: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes]:
        """As ``Remote.open``."""
        kept = self._made(path) if OpenFlags.CREATE in flags else self._found(path)
        return await self._remote.open(kept, flags, mode, self._current(current_path))

    async def open_whole(
        self, path: bytes, size: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes, WholeFile | None]:
        """As ``Remote.open_whole``."""
        return await self._remote.open_whole(self._found(path), size, self._current(current_path))

    async def fetch(self, path: bytes, size: int) -> WholeFile | None:
        """As ``Remote.fetch``."""
        return await self._remote.fetch(self._found(path), size)

    def open_later(
        self,
        current_path: CurrentPath,
        known: Callable[[], Attributes | None],
        changed: Callable[[Attributes], None] | None = None,
    ) -> RemoteFile:
        """As ``Remote.open_later``."""
        return self._remote.open_later(self._current(current_path), known, changed)

    async def open_copy(self, source: bytes, destination: bytes) -> ServerCopy:
        """As ``Remote.open_copy``."""
        return await self._remote.open_copy(self._found(source), self._found(destination))

    async def setattr(
        self, path: bytes, change: AttributeChange, target: LinkTarget = LinkTarget.TARGET
    ) -> Attributes:
        """As ``Remote.setattr``."""
        return await self._remote.setattr(self._found(path), change, target)

    async def mkdir(self, path: bytes, mode: int) -> Attributes:
        """As ``Remote.mkdir``."""
        return await self._remote.mkdir(self._made(path), mode)

    async def symlink(self, target: bytes, path: bytes) -> Attributes:
        """As ``Remote.symlink``."""
        return await self._remote.symlink(self._made(target), self._made(path))

    async def link(self, existing: bytes, path: bytes) -> Attributes:
        """As ``Remote.link``."""
        return await self._remote.link(self._found(existing), self._made(path))

    async def remove(
        self, path: bytes, known: Known = nothing_known, *, look: bool = False
    ) -> Attributes | None:
        """As ``Remote.remove``."""
        return await self._remote.remove(self._found(path), known, look=look)

    async def rmdir(self, path: bytes) -> None:
        """As ``Remote.rmdir``."""
        await self._remote.rmdir(self._found(path))

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
        names = self._found(old), self._made(new)
        return await self._remote.rename(*names, replace, known, over, look=look, look_over=look_over)
