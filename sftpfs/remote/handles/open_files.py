"""The open files of a mount, grouped by the file they are of.

A *file* here is what the owner of the paths (vfs) takes for one, an inode: its ``current_path`` is equal. All
handles of a file share what they know of it, as one expected version (``remote.handles.expected_version``),
because a file is what all of them made of it. Nothing here costs more if more other files are open.

Owned by ``remote.client``; ``remote.files.pooled_file`` and ``remote.files.lazy_open`` say what is open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sftpfs.aio import Slot
from sftpfs.remote.api import CurrentPath
from sftpfs.remote.handles.expected_version import Change, ExpectedVersion
from sftpfs.remote.handles.handle_limit import HandleLimit
from sftpfs.remote.pool.connection import HandleOwner, ServerHandle
from sftpfs.remote.slots import on_filled
from sftpfs.server_clock import ServerClock
from sftpfs.types import Attributes, OpenFlags


class Late(Protocol):
    """What is needed of a file open in memory alone (``remote.files.lazy_open``)."""

    def open_soon(self) -> None:
        """Open it on the server, unless that is being done; ``OpenFiles.not_late`` follows."""

    @property
    def open_yet(self) -> bool:
        """It was opened on the server, or found to be another there."""


class OpenFile(HandleOwner, Protocol):
    """What is needed of a file open on the server."""

    closed: bool
    current_path: CurrentPath
    reader: Late | None
    """A handle to read of its own, made as something is read, or before the name goes by which it is made."""

    @property
    def version(self) -> ExpectedVersion | None:
        """What it must be like, as far as that is known."""

    @property
    def undecided(self) -> bool:
        """As ``RemoteFile.undecided``."""

    def primary(self) -> ServerHandle | None:
        """A handle on a connection that lives."""

    def start_fstat(self) -> Slot[Attributes]:
        """As ``RemoteFile.start_fstat``: needs such a handle, and waits for one."""

    def give_up(self) -> None:
        """Its handles are another file's: it is stale for good."""


class OpenInode:
    """What is open of one file.

    INVARIANT: every one of ``files`` has ``version`` as its own.
    INVARIANT: ``_then`` is empty where ``late`` is.
    """

    __slots__ = ("_then", "changes", "files", "late", "opening", "version")

    def __init__(self) -> None:
        self.version: ExpectedVersion | None = None
        self.opening = 0
        """OPENs under way."""
        self.changes = 0
        """Changes of ours sent while nothing was known yet: what an OPEN brings may be from before."""
        self.files: dict[OpenFile, None] = {}
        self.late: dict[Late, None] = {}
        """Open in memory alone, or just being opened."""
        self._then: list[Callable[[], None]] = []

    def readable(self) -> OpenFile | None:
        """One that is open to read, on a connection that lives."""
        for file in self.files:
            if OpenFlags.READ in file.flags and not file.closed and file.primary() is not None:
                return file
        return None

    def lost(self) -> list[OpenFile]:
        """Those without a handle on a connection that lives."""
        return [file for file in self.files if file.primary() is None]

    async def hold(self) -> None:
        """Opens those again, while the server's attributes of the file are not of our making. After a size or
        a time that we set by name, another file of that name could not be told from it. Whether that succeeds
        is not the caller's concern."""
        for asked in [file.start_fstat() for file in self.lost()]:
            try:
                await asked.wait()
            except OSError:
                pass

    def open_late(self, then: Callable[[], None] | None) -> None:
        """The file is about to be changed: what is open of it in memory alone is opened on the server.
        ``then`` is called once that was tried."""
        if then is not None:
            self._then.append(then)
        for late in list(self.late):
            late.open_soon()
        self.late_tried()

    def late_tried(self) -> None:
        """Go on where nothing is open in memory alone."""
        while not self.late and self._then:
            self._then.pop(0)()


class OpenFiles:
    """See the module.

    INVARIANT: ``_inodes`` are those of which something is open.
    """

    def __init__(self, server_clock: ServerClock) -> None:
        self.handle_limit = HandleLimit()
        self.clock = server_clock
        self.at: Callable[[bytes], CurrentPath | None] = _nowhere
        """Which file a path leads to, as far as the owner of the paths knows."""
        self.renames = 0
        """Renames whose outcome the owner of the paths has not been told."""
        self._inodes: dict[CurrentPath, OpenInode] = {}

    def find(self, current_path: CurrentPath) -> OpenInode | None:
        """What is open of a file."""
        return self._inodes.get(current_path)

    def found_at(self, path: bytes) -> OpenInode | None:
        """What is open of the file at ``path``."""
        current_path = self.at(path)
        return None if current_path is None else self._inodes.get(current_path)

    def opening(self, current_path: CurrentPath) -> OpenInode:
        """An OPEN of the file is about to be sent; ``opened`` follows."""
        inode = self._inodes.setdefault(current_path, OpenInode())
        inode.opening += 1
        return inode

    def opened(self, current_path: CurrentPath, inode: OpenInode) -> None:
        """The OPEN was answered, and what came of it has joined."""
        inode.opening -= 1
        self._tidy(current_path, inode)

    def joined(self, file: OpenFile) -> OpenInode:
        """``file`` is open, of the file its ``current_path`` stands for; until ``closed``."""
        inode = self._inodes.setdefault(file.current_path, OpenInode())
        inode.files[file] = None
        return inode

    def closed(self, file: OpenFile, inode: OpenInode) -> None:
        """``file`` is open no more."""
        inode.files.pop(file, None)
        self._tidy(file.current_path, inode)

    def late(self, late: Late, current_path: CurrentPath) -> None:
        """``late`` is open in memory, until ``not_late``."""
        self._inodes.setdefault(current_path, OpenInode()).late[late] = None

    def not_late(self, late: Late, current_path: CurrentPath) -> None:
        """``late`` is open on the server, or closed."""
        inode = self._inodes.get(current_path)
        if inode is not None:
            inode.late.pop(late, None)
            inode.late_tried()
            self._tidy(current_path, inode)

    def _tidy(self, current_path: CurrentPath, inode: OpenInode) -> None:
        if inode.files or inode.late or inode.opening:
            return
        if self._inodes.get(current_path) is inode:
            del self._inodes[current_path]

    async def ready(self, inode: OpenInode | None) -> None:
        """The file is about to be changed: what is open of it in memory alone is opened first. Whether that
        succeeds is not the caller's concern."""
        if inode is not None and inode.late:
            tried: Slot[None] = Slot()
            inode.open_late(lambda: tried.set(None))
            await tried.wait()

    async def hold(self, path: bytes) -> None:
        """``path`` is about to lead elsewhere: what is open there, in memory alone or with a lost connection,
        is opened while that is possible. Whether that succeeds is not the caller's concern."""
        inode = self.found_at(path)
        if inode is None:
            return
        readers = [file.reader for file in inode.files if file.reader is not None]
        inode.late.update((reader, None) for reader in readers if not reader.open_yet)
        await self.ready(inode)
        await inode.hold()


def noted(version: ExpectedVersion, change: Change, slot: Slot[Any]) -> None:
    """``change`` is under way until ``slot`` is filled."""
    on_filled(slot, lambda answer: version.ended(change, answer.error is None))


def _nowhere(_: bytes) -> None:
    """Nobody has said who owns the paths."""
