"""What is known of one file's content, and what belongs to the mount as a whole.

Pure transitions between clean (the server's version rules) and dirty (ours rules).
Shared by the reader and the writer of a file; changed nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sftpfs import clock
from sftpfs.aio import ByteGate
from sftpfs.config import DataConfig
from sftpfs.data.chunks import ChunkStore, ReadAheadBudget
from sftpfs.data.lost import LostBytes
from sftpfs.data.read_ahead import LinkEstimate, ReadAheadWindow
from sftpfs.remote.api import RemoteFile
from sftpfs.server_clock import ServerClock
from sftpfs.types import MTIME_GRAIN, Attributes

if TYPE_CHECKING:
    from sftpfs.data.writer import ContentWriter


class ContentObserver(Protocol):
    """Who is told when a file's writes are on the server."""

    def content_settled(self, number: int, attributes: Attributes) -> None:
        """``attributes`` are the server's own, after all our writes to inode ``number``."""

    def content_told(self, number: int, attributes: Attributes) -> None:
        """``attributes`` are the server's own of inode ``number``, beneath what is not there yet."""

    def content_unknown(self, number: int) -> None:
        """Writes to inode ``number`` failed, and what it was told to be settled at is from before them."""

    def content_lost(self, number: int, lost: LostBytes) -> None:
        """Inode ``number`` loses bytes for good; whose writer was or will be told of the error."""

    def content_remains(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """Of what was lost as ``incident`` (``LostBytes``) no more than ``ranges`` is missing: the rest was
        written again, or cut off."""

    def content_left(self, incidents: list[int], attributes: Attributes | None) -> None:
        """The file that lost ``incidents`` is ``attributes`` now, with all that was written to it; None
        where the server could not be asked."""

    def content_untold(self, number: int, failure: OSError) -> None:
        """A write of inode ``number`` failed for good, and no program was told that surely listened."""

    def content_made_good(self, number: int) -> None:
        """All that inode ``number`` had lost is on the server after all, or belongs to it no longer."""

    def content_outdated(self, number: int, attributes: Attributes) -> None:
        """A read found inode ``number`` changed on the server: it has ``attributes`` now."""


class MountContent:
    """What all files of the mount share: memory, its bounds, and who has something to send."""

    __slots__ = (
        "budget",
        "chunks",
        "clock",
        "config",
        "dirty",
        "failed",
        "gate",
        "incidents",
        "link",
        "observer",
        "undecided_bytes",
    )

    def __init__(self, config: DataConfig, observer: ContentObserver, server_clock: ServerClock) -> None:
        self.config = config
        self.clock = server_clock
        self.observer = observer
        self.gate = ByteGate(config.dirty_bytes)
        self.budget = ReadAheadBudget(min(config.read_ahead_bytes, config.cache_bytes // 2))
        self.chunks = ChunkStore(config.cache_bytes, self.budget)
        self.link = LinkEstimate()
        # INVARIANT: exactly the writers whose file is dirty, by inode number, oldest first.
        self.dirty: dict[int, ContentWriter] = {}
        self.failed: dict[int, OSError] = {}
        """By inode number the first failed write of those that nobody was told of: see ``untold``."""
        self.incidents = 0
        self.undecided_bytes = 0
        """Kept of what the server may refuse as the file is closed (``data.undecided``)."""

    def new_incident(self) -> int:
        """A number for what one file loses together."""
        self.incidents += 1
        return self.incidents

    def untold(self, number: int, failure: OSError) -> None:
        """A write of inode ``number`` failed, and the handle that was to tell is gone. ``close`` may have
        told, and nobody have listened: a child's, or that of a program that just ends."""
        self.failed.setdefault(number, failure)
        self.observer.content_untold(number, failure)

    def made_good(self, number: int) -> None:
        """All that inode ``number`` had lost was written again since, or cut off."""
        self.failed.pop(number, None)
        self.observer.content_made_good(number)

    def send_all(self) -> None:
        """Send what is dirty of every file, so that the gate opens."""
        for writer in list(self.dirty.values()):
            writer.send_all()


class HandleState:
    """What reader and writer know of one open file."""

    __slots__ = (
        "append",
        "created",
        "direct",
        "doubtful",
        "drops_pages",
        "error",
        "fsync_error",
        "fsync_writes",
        "heard",
        "listened",
        "part_end",
        "picky",
        "readable",
        "remote",
        "reports",
        "synchronous",
        "unheard",
        "window",
        "writable",
    )

    def __init__(
        self,
        remote: RemoteFile,
        *,
        readable: bool,
        writable: bool,
        append: bool,
        synchronous: bool,
        direct: bool,
    ) -> None:
        self.remote = remote
        self.readable = readable
        self.writable = writable
        self.append = append
        self.direct = direct
        self.synchronous = synchronous
        """Every write waits for the server."""
        self.picky = writable and not remote.takes_any_write
        """The server is known to refuse some writes: ``RemoteFile.takes_write`` is asked before each."""
        self.reports = self.synchronous
        """What fails now ``write`` itself reports: the program has the bytes."""
        self.doubtful = False
        """A write failed, and none of this handle's was acknowledged since: each waits for the server, so
        that no program's position moves over bytes that will not be there."""
        self.fsync_writes = False
        """And for the server's disk (O_SYNC)."""
        self.created = False
        """It made the file, which therefore is ours: changes of mode and times may ride with its writes."""
        self.drops_pages = False
        """The kernel was told to drop the file's pages at this open, and has not used the handle since: it
        may not have done it yet, and another open that kept them would read the old ones."""
        self.error: OSError | None = None
        """The first write that failed while this handle was open for writing, until ``write`` or ``fsync``
        tells it. ``close`` tells it, too, and clears nothing: it comes for every copy of the descriptor."""
        self.unheard = False
        """``error`` is of something written since ``write`` or ``fsync`` last told of a failure."""
        self.listened = False
        """The last close that told ``error`` was of a program that lives on."""
        self.heard = 0
        """The number of the batch of writes that was the current one then."""
        self.fsync_error: OSError | None = None
        """A failed write that ``fsync`` alone is to tell: the handle only reads, or it failed before this
        open and no program was told by then."""
        self.part_end = -1
        """Where the last write ended, if one that goes on there may be the rest of the same write(2)."""
        self.window = ReadAheadWindow()


class ContentState:
    """Version, size and trust of one file.

    INVARIANT: ``dirty`` False implies no dirty extent and ``size`` None.
    INVARIANT: while clean and ``trusted``, every cached chunk and every fetch of the current generation was
    asked for after ``attributes`` were told, so its bytes are of that version or newer, never older.
    """

    __slots__ = (
        "_clock",
        "appending",
        "attributes",
        "dates_late",
        "dirty",
        "epoch",
        "generation",
        "number",
        "pages_stale",
        "resizes",
        "server_dated",
        "set_mtime",
        "size",
        "trusted",
        "verify",
        "witnessed",
        "written_at",
    )

    def __init__(self, number: int, server_clock: ServerClock) -> None:
        self.number = number
        self._clock = server_clock
        self.epoch = 0
        self.generation = 0
        """Counts the times the content was found or made another; a read across such a point is repeated."""
        self.resizes = 0
        """Counts the sizes we set: what the server told of one before says nothing any more."""
        self.attributes: Attributes | None = None
        """The server's, last told; while dirty what lies beneath. None: not known."""
        self.dirty = False
        self.appending = False
        """What is dirty goes to the end, wherever that is: its offsets mean nothing."""
        self.size: int | None = None
        self.set_mtime = 0
        """Seconds since 1970: of a dirty file that is not ``server_dated``."""
        self.dates_late = False
        """What was written since the file was clean takes long to be dated: somebody waited in vain."""
        self.written_at = 0.0
        """When it was last written (``clock.now``): of one that is."""
        self.server_dated = False
        """The mtime is, or will be, what the server's clock said of our last write, no time we set."""
        self.witnessed: float | None = None
        """What the server's clock showed at least at the earliest fetch of bytes that we or the kernel may
        still hold, by what was known of it then."""
        self.trusted = True
        """False once we changed the file ourselves: its new times hide a change by others."""
        self.pages_stale = False
        """The kernel may hold pages of a version we dropped."""
        self.verify = False
        """The next fetch is to bring FSTAT along."""

    @property
    def server_size(self) -> int:
        """Size on the server when last told, bytes."""
        return self.attributes.size if self.attributes is not None else 0

    @property
    def shown_size(self) -> int:
        """The size that rules: ours while dirty, else the server's."""
        return self.size if self.size is not None else self.server_size

    @property
    def undated(self) -> bool:
        """The server will date the file by our last write, and has not told the time yet."""
        return self.dirty and self.server_dated

    @property
    def mtime(self) -> int | None:
        """Seconds since 1970, while dirty: what was set, or what the server's clock showed most likely as the
        file was last written. None while clean."""
        if not self.dirty:
            return None
        return int(self._clock.estimate(self.written_at)) if self.server_dated else self.set_mtime

    def same_version(self, attributes: Attributes) -> bool:
        """True where ``attributes`` tell the size and mtime we know."""
        known = self.attributes
        return known is not None and known.size == attributes.size and known.mtime == attributes.mtime

    def unchanged(self, attributes: Attributes) -> bool:
        """True only where ``attributes`` prove that what was fetched is what the server holds.

        Bytes fetched within the grain of the file's mtime may have changed since
        without a trace in it.
        """
        if not self.same_version(attributes) or not self.trusted or self.pages_stale:
            return False
        if self._clock.proves_nothing or not attributes.mtime:
            return False
        return self.witnessed is None or attributes.mtime + MTIME_GRAIN < self.witnessed

    def fetching(self, asked: float | None = None) -> None:
        """Bytes are being asked for now, or were at ``asked`` (``clock.now``)."""
        earliest = self._clock.earliest(clock.now() if asked is None else asked)
        if self.witnessed is None or earliest < self.witnessed:
            self.witnessed = earliest

    def outdated(self) -> None:
        """What is held is of another version; the caller drops it from the caches and the kernel's."""
        self.generation += 1
        self.witnessed = None
        self.trusted = True

    def touch(self) -> None:
        """First change since clean: from now on our size and mtime rule."""
        self.dirty = True
        self.trusted = False
        self.server_dated = self.dates_late = False
        self.set_mtime = self.attributes.mtime if self.attributes is not None else 0
        self.size = self.server_size

    def written(self) -> None:
        """Bytes were written just now, while dirty: the server is to date them."""
        self.written_at = clock.now()
        self.server_dated = True
        self.epoch += 1

    def settled(self, attributes: Attributes) -> None:
        """Everything is on the server, which tells ``attributes``."""
        self.dirty = self.appending = False
        self.size = None
        self.trusted = False
        self.epoch += 1
        self.attributes = attributes
