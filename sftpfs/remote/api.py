"""The server as vfs and data see it: paths, open files, and nothing of packets.

Every path is absolute bytes on the server. Every method ends within the mount's deadline, and outlives the
loss of a connection within it. Failures are ``OSError`` with the errno that the kernel shall see, already
diagnosed (``remote.outcome``): EEXIST, ENOTEMPTY, ENOSPC, ... rather than the one FAILURE of SFTP v3.
``SessionLostError`` means that the server could not be reached in time.

Each coroutine costs one dependent wait (one round trip) unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol

from sftpfs.aio import Slot
from sftpfs.server_clock import ServerClock
from sftpfs.types import (
    AttributeChange,
    Attributes,
    Buffer,
    FilesystemStatistics,
    Listing,
    OpenFlags,
    OwnerNames,
    PartialListing,
    WholeFile,
)

AWAY_AFTER = 3.0
"""Seconds without the server after which it counts as away. Connecting again takes less, and a busy server
answers in less; and a person has waited long enough."""


CurrentPath = Callable[[], bytes | None]
"""Where a file is now; None: nowhere. All handles of one file have an equal one, with the same hash, so that
they share what is known of the file."""

Known = Callable[[], Attributes | None]
"""What a name that is changed led to, as the server reported and if we have not changed it since; otherwise
None. It is called as late as possible, because another request of ours may change the file meanwhile."""


class Changed(Enum):
    """See ``Over``."""

    BY_US = auto()


Over = Callable[[], Attributes | Changed | None]
"""As ``Known``, for the new name of a rename. BY_US if a change by that name that we sent meanwhile may have
been made to what was renamed there."""


def nothing_known() -> None:
    """A ``Known`` and an ``Over`` for a name of which the server has reported nothing."""


class Renamed(NamedTuple):
    """What was seen around a rename that was done."""

    both: bool = False
    """The old name is still there: both are names of one file, which rename(2) leaves alone, or another
    client made it."""
    over: Attributes | None = None
    """What had the new name until then, where that is known."""


class HandedOver(NamedTuple):
    """The state of a file that was closed on the server."""

    attributes: Attributes
    """What has its name."""
    refused: BaseException | None = None
    """Why a change that was to be made before was not."""


class RemoteFile(Protocol):
    """One open file on the server; may use several connections underneath.

    The ``start_`` methods send at once and return the slot of the result, so that many go out together and a
    batch costs one round trip. Requests that share a connection are carried out in the order sent;
    ``ordered`` says whether all of this file's do. If the connection is lost, the file is opened again by its
    current path and requests go on. If it is no longer the same file, they fail with ESTALE from then on.
    """

    flags: OpenFlags
    refused: Callable[[OSError], None]
    """Called where the server refuses what was written as a handle is closed for which nobody waits."""

    @property
    def undecided(self) -> bool:
        """Something was written by the present handle, and the server may refuse it when that is closed."""

    @property
    def takes_any_write(self) -> bool:
        """False if the server is known to refuse some writes; ``takes_write`` says which."""

    def takes_write(self, offset: int, end: int) -> bool:
        """False if the server would refuse a write at ``offset`` of the file that ends at ``end``."""

    @property
    def hidden(self) -> bool:
        """It was emptied by the present handle, and the server shows the old content until that is closed."""

    @property
    def unnamed(self) -> bool:
        """It was made by the present handle, and the server gives it its name when that is closed."""

    @property
    def ordered(self) -> bool:
        """True while every request of this file travels on one connection."""

    @property
    def write_limit(self) -> int:
        """Bytes: no more of one write travels as one request; the server may carry out others in between."""

    def start_read(self, offset: int, length: int) -> Slot[Buffer]:
        """Read ``length`` bytes at ``offset``; a shorter result means end of file, never less.

        ``length`` may exceed the server's read limit: it is split and short replies
        are asked again.
        """

    def start_write(self, offset: int, data: Buffer) -> Slot[None]:
        """Writes all of ``data`` at ``offset`` (at the end, in order, if opened with APPEND).

        ``data`` must not change until the slot is filled. ``IncompleteWriteError`` says which bytes the
        server may not have.
        """

    def start_fstat(self) -> Slot[Attributes]:
        """The attributes of the open file, as of some moment among its writes."""

    def start_fstat_behind(self) -> Slot[Attributes]:
        """The attributes of the open file, including every write that was started before through this handle.
        If these all share one connection, the request goes behind them on it."""

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        """FSETSTAT, behind every write started before through this handle."""

    def start_fsync(self) -> Slot[None]:
        """fsync@openssh.com on the first connection's handle, behind every write started before through this
        handle. If the server lacks it, the slot is only filled. EIO, once, if the server came back without
        what it had acknowledged.

        Data written through other connections is covered, because fsync is per file, not per handle.
        """

    def start_hand_over(self, change: AttributeChange | None = None) -> Slot[HandedOver]:
        """CLOSE of what is ``undecided``, behind every write started before through this handle and behind
        ``change`` of its mode or times, and the attributes of what has the name then. Fails with what the
        server says to CLOSE, or with EIO if it has less than it acknowledged. The file is opened again when
        it is used next.
        """

    def confirm(self) -> None:
        """It is the file its ``current_path`` stands for, though another version of it than was known."""

    def close(self) -> None:
        """Send CLOSE for every handle underneath; nobody waits: see ``refused``. Idempotent."""


class ServerCopy(Protocol):
    """Two open files on one session of the server, and copy-data between them (OpenSSH's PROTOCOL §4.10).

    Ends with its session: SessionLostError from then on. ``source`` and ``destination`` are what FSTAT
    told last.
    """

    source: Attributes
    destination: Attributes

    async def run(
        self, start: int, end: int, reached: Callable[[int], None]
    ) -> tuple[Attributes, Attributes]:
        """Copy the bytes from ``start`` to ``end``, in pieces; ``reached`` is called with the end of each.

        Fewer where the source has become shorter. What both files are afterwards; that of the
        destination is known to our open files of it. Raises what a write would.
        """

    def close(self) -> None:
        """Send CLOSE for both; nobody waits. Once."""


class LinkTarget(Enum):
    """Whether an operation takes a symbolic link or what it points to."""

    LINK = auto()
    TARGET = auto()


class Remote(Protocol):
    """Operations by path. One object a mount."""

    @property
    def copies_data(self) -> bool:
        """The server copies between two of its files on request (copy-data)."""

    @property
    def round_trip(self) -> float:
        """Seconds: the least time a request took of those the current sessions had answered."""

    @property
    def affordable(self) -> float:
        """Bytes that may be asked for ahead of need: what a slow link brings in a second or two; infinite if
        the link was not found to be slow."""

    def affords(self, size: int) -> bool:
        """Whether ``size`` bytes of content may be asked for ahead of need: within ``affordable``, and within
        the limit that was set, without a wait."""

    @property
    def opens_together(self) -> int:
        """Files open at once for which the server has room, as far as it tells: at least 1."""

    @property
    def clock(self) -> ServerClock:
        """What is known of the server's clock."""

    @property
    def process_ids(self) -> tuple[int, int] | None:
        """uid and gid of the server's process, and so of what it makes; None if its /proc does not show them.
        Known once a request that was sent after the first session began was answered."""

    @property
    def name_max(self) -> int:
        """Bytes of the longest name worth asking for, as far as is known of the server."""

    @property
    def away(self) -> bool:
        """The server could not be reached, or owed an answer, for the last ``AWAY_AFTER`` seconds.

        It is for callers that then do without the server. Asking counts as wanting the connection back.
        """

    def named_by(self, at: Callable[[bytes], CurrentPath | None]) -> None:
        """``at`` says which file a path leads to now, as far as the caller knows. Called once, before files
        are opened."""

    @property
    def keeps_case_apart(self) -> bool | None:
        """Whether names that differ only in case are two; None if that was not seen yet."""

    def case_seen(self, *, apart: bool) -> None:
        """Names that differ in case alone were seen to be two (``apart``), or one."""

    def sets(self, change: AttributeChange) -> bool:
        """False if the server is known to refuse ``change``; then it is not sent unless somebody asked for
        it."""

    def surely_sets(self, change: AttributeChange) -> bool:
        """Whether the server is known to make ``change`` of an open file of the login's own. Then a program
        may be answered before it is sent."""

    async def lstat(self, path: bytes) -> Attributes:
        """Attributes; of the link itself if ``path`` is one."""

    async def stat(self, path: bytes) -> Attributes:
        """Attributes, links followed by the server."""

    async def readlink(self, path: bytes) -> bytes:
        """The target of a symbolic link, as the server keeps it."""

    async def realpath(self, path: bytes) -> bytes:
        """The canonical absolute path."""

    async def lstat_many(self, paths: Sequence[bytes]) -> list[Attributes | OSError]:
        """LSTAT of every path together: for each its attributes or the error. Raises SessionLostError."""

    async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
        """All entries except ``.`` and ``..``, names checked (no slash, no NUL, not empty). If ``in_parts``,
        of a large directory those that come first, and a rest.

        One or two round trips if the listing fits what is asked for in parallel (one if the handle can be
        predicted); a longer one is bound by bandwidth. The directory handle is closed without waiting.
        """

    async def list_part(self, path: bytes, most: int, leave_out: Collection[bytes] = ()) -> PartialListing:
        """Entries of a directory but those in ``leave_out``: after about ``most`` of them no more are asked
        for. None if ``path`` itself is no directory, but a link to one say. Names as in ``list_directory``.
        """

    async def open(
        self, path: bytes, flags: OpenFlags, mode: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes]:
        """OPEN and LSTAT of ``path`` together.

        ``mode`` is the permission bits for a file that is created. The server's umask may take some of them:
        the attributes show it, and the caller corrects it. ``current_path`` says where the file is later
        (None: nowhere), for opening it on another connection. ELOOP if ``path`` is a link and links are not
        followed, although the server followed it.
        """

    async def open_whole(
        self, path: bytes, size: int, current_path: CurrentPath
    ) -> tuple[RemoteFile, Attributes, WholeFile | None]:
        """``open`` for reading, with all of the file, expected to have ``size`` bytes (more than 0), if that
        takes no further wait. If the handle can be predicted, OPEN, FSTAT and READ go together.

        None if it would take a wait, or if the file has another size or may not be read.
        """

    async def fetch(self, path: bytes, size: int) -> WholeFile | None:
        """All of a file expected to have ``size`` bytes, before anybody asks for it: OPEN, FSTAT and READ.
        Travels beside what somebody waits for if it can.

        One or two round trips. None if the file has another size, or is no regular file.
        """

    def open_later(
        self,
        current_path: CurrentPath,
        known: Callable[[], Attributes | None],
        changed: Callable[[Attributes], None] | None = None,
    ) -> RemoteFile:
        """A file to read, opened by its current path when first used, or after a while. Sends nothing now.

        ESTALE then if it is neither what is ``known`` of it (None: we are changing it), nor that grown: it
        would be another file's bytes. ``changed`` is called if it has grown.
        """

    async def open_copy(self, source: bytes, destination: bytes) -> ServerCopy:
        """Opens two existing files, to copy on the server, beside what somebody waits for if there is another
        connection. Two round trips. EOPNOTSUPP without copy-data."""

    async def setattr(
        self, path: bytes, change: AttributeChange, target: LinkTarget = LinkTarget.TARGET
    ) -> Attributes:
        """SETSTAT and LSTAT together. ``LINK`` needs lsetstat@openssh.com, otherwise EOPNOTSUPP."""

    async def mkdir(self, path: bytes, mode: int) -> Attributes:
        """MKDIR and LSTAT together. EEXIST if the name is taken."""

    async def symlink(self, target: bytes, path: bytes) -> Attributes:
        """SYMLINK (OpenSSH's argument order) and LSTAT together."""

    async def link(self, existing: bytes, path: bytes) -> Attributes:
        """hardlink@openssh.com and LSTAT of the new name together; EOPNOTSUPP without the extension."""

    async def remove(
        self, path: bytes, known: Known = nothing_known, *, look: bool = False
    ) -> Attributes | None:
        """Unlinks a name that is not a directory.

        ``known`` tells the file from another one if the reply is lost. EIO if that cannot be told. ``look``:
        in the same wait, returns what had the name until then; None if that is not known.
        """

    async def rmdir(self, path: bytes) -> None:
        """Remove an empty directory; ENOTEMPTY otherwise."""

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
        """Renames. ``replace``: over an existing name, atomically by posix-rename@openssh.com; without the
        extension the old file is moved aside, and back if the rename fails. Without ``replace``: EEXIST if
        ``new`` is taken (v3's own RENAME). ``known`` as in ``remove``, ``over`` the same for ``new``;
        ``known`` None: there was no ``old``, as far as the server reported.

        The same wait includes ``look``, for ``Renamed.both``, and ``look_over``, for ``Renamed.over``.
        """

    async def owner_names(self, uids: Sequence[int], gids: Sequence[int], near: bytes) -> OwnerNames:
        """The server's names of users and groups, as far as it reports them (users-groups-by-id@openssh.com).

        Without the extension, what the lines of directory ``near`` show, in several waits.
        """

    async def statvfs(self, path: bytes) -> FilesystemStatistics | None:
        """The server's figures, or None if it cannot report them."""
