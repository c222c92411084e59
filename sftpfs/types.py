"""Plain values that cross rooms: attributes, directory entries, limits.

Owns no behaviour beyond construction. Every room may import it; it imports nothing of sftpfs.
"""

from __future__ import annotations

import math
import stat
from dataclasses import dataclass, field
from enum import IntFlag
from typing import NamedTuple, Protocol

Buffer = bytes | bytearray | memoryview

NAME_MAX = 255
"""Bytes of one name on Linux's own file systems; ``server_traits`` knows of servers with longer ones."""

LONGEST_NAME = 1024
"""Bytes of one name that FUSE takes (FUSE_NAME_MAX, include/uapi/linux/fuse.h and fs/fuse/fuse_i.h)."""

UNKNOWN_ID = -1
"""A uid, gid or nlink the server did not tell."""

MTIME_GRAIN = 2.0
"""Seconds after its mtime within which a file or directory may have changed again without showing it: SFTP v3
tells whole seconds, and FAT keeps even ones. By the server's clock (``server_clock.earliest``)."""


class OpenFlags(IntFlag):
    """How a file is opened: the pflags of SSH_FXP_OPEN (draft-ietf-secsh-filexfer-02 §6.3)."""

    READ = 0x01
    WRITE = 0x02
    APPEND = 0x04
    CREATE = 0x08
    TRUNCATE = 0x10
    EXCLUSIVE = 0x20

    def __or__(self, other: int) -> OpenFlags:
        return _OPEN_FLAGS[self._value_ | other]

    def __and__(self, other: int) -> OpenFlags:
        return _OPEN_FLAGS[self._value_ & other]


_OPEN_FLAGS = [OpenFlags(value) for value in range(2 * OpenFlags.EXCLUSIVE)]
"""All that there are. IntFlag looks for them in a way that takes five times as long, 20 times an open."""


class OpenMode(NamedTuple):
    """How a program opened a file (open(2))."""

    readable: bool = True
    writable: bool = False
    append: bool = False
    synchronous: bool = False
    """O_SYNC or O_DSYNC."""
    direct: bool = False
    """O_DIRECT."""


class Attributes(NamedTuple):
    """What the server says of one file (draft-ietf-secsh-filexfer-02 §5).

    Complete by construction: ``mode`` carries the file type, ``size`` is bytes,
    times are whole seconds since 1970. The decoder raises rather than invent a
    type or a size; ids it was not told are ``UNKNOWN_ID``, times 0.
    """

    mode: int
    size: int
    uid: int
    gid: int
    atime: int
    mtime: int
    nlink: int = UNKNOWN_ID

    @property
    def kind(self) -> int:
        """The file type bits of ``mode`` (``stat.S_IFMT``)."""
        return stat.S_IFMT(self.mode)


class DirectoryEntry(NamedTuple):
    """One name of a listing. ``attributes`` is None where the server told too little of it."""

    name: bytes
    attributes: Attributes | None


class ListingPart(NamedTuple):
    """Entries of a directory that were not in an earlier part, and when they were asked for
    (``clock.now``)."""

    entries: list[DirectoryEntry]
    asked: float


class RestOfListing(Protocol):
    """What of a listing has not come yet; the server has the directory open for it. Read by one task."""

    @property
    def steady(self) -> bool:
        """Whether the server is known to leave out nothing that stays if names are removed meanwhile."""

    async def more(self) -> ListingPart | None:
        """Waits for further entries; None at the end, after which it is closed.

        Raises SessionLostError if names may be missing, also where the session lives: the directory must be
        listed anew. Raises OSError with the reason if the server does not let us read on.
        """

    def close(self) -> None:
        """Nobody reads on. Does nothing if it is closed."""


class Listing(NamedTuple):
    """A directory's entries, and its own attributes from just before the first was read. If there is a
    ``rest``, whoever gets the listing must read it to its end, or close it."""

    attributes: Attributes
    entries: list[DirectoryEntry]
    rest: RestOfListing | None = None


class PartialListing(NamedTuple):
    """Some of a directory's entries."""

    attributes: Attributes
    """What had the path just before the first was read, links not followed."""
    entries: list[DirectoryEntry]
    """Without attributes where the server reports none."""
    complete: bool
    """These are all that were asked for."""


class OwnerNames(NamedTuple):
    """The server's names of ids; one it has no name for, or does not tell, is missing."""

    users: dict[int, bytes]
    groups: dict[int, bytes]


class WholeFile(NamedTuple):
    """All of a small file, and the attributes it had then."""

    attributes: Attributes
    data: Buffer


class Bandwidth(NamedTuple):
    """What content may take, in bytes a second to the server and from it; infinite: not limited."""

    up: float = math.inf
    down: float = math.inf


class Operation(NamedTuple):
    """One request of the kernel's, answered: for whoever watches the mount."""

    at: float
    """When it came, seconds since 1970."""
    name: str
    path: str
    """From the root of the mount."""
    detail: str
    outcome: str
    """``ok``, a number of bytes, or the errno's name."""
    seconds: float


class RunningOperation(NamedTuple):
    """One that waits for its answer, for ``seconds`` so far."""

    name: str
    path: str
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """What a SETSTAT is to change; None leaves a thing as it is.

    SFTP v3 carries uid with gid and atime with mtime: whoever sets one fills in
    the other from what it knows (the caller's duty, not the encoder's).
    """

    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    atime: int | None = None
    mtime: int | None = None


class FilesystemStatistics(NamedTuple):
    """statvfs(3) as the server's statvfs@openssh.com tells it; sizes in units of ``frsize`` bytes."""

    bsize: int
    frsize: int
    blocks: int
    bfree: int
    bavail: int
    files: int
    ffree: int
    favail: int
    namemax: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may carry (limits@openssh.com, or what every server takes).

    Without the extension 32 KiB is the size every v3 server must accept
    (draft-ietf-secsh-filexfer-02 §6.4).
    """

    read_size: int = 32768
    write_size: int = 32768
    packet_size: int = 34000
    open_handles: int = 0
    """0: the server sets none, or does not tell."""


@dataclass(frozen=True, slots=True)
class ServerCapabilities:
    """What the server offers beyond SFTP v3, and the limits in force."""

    extensions: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)

    def has(self, extension: str) -> bool:
        """True where the server advertised ``extension`` in a version we speak."""
        return extension in self.extensions


class Unwritten(NamedTuple):
    """A file some of which could not be written."""

    path: bytes
    """On the server."""
    failure: OSError
