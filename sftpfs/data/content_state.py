"""What is known of one file's content, and what belongs to the mount as a whole.

Pure transitions between clean (the server's version counts) and dirty (ours counts). Shared by the reader and
the writer of a file; changed nowhere else.
"""

from __future__ import annotations

from typing import Protocol

from sftpfs import clock
from sftpfs.aio import ByteGate
from sftpfs.config import DataConfig
from sftpfs.data.buffers.chunk_cache import ChunkCache, ReadAheadBudget
from sftpfs.data.buffers.dirty_extents import DirtyExtents
from sftpfs.data.buffers.read_ahead import LinkEstimate, ReadAheadWindow
from sftpfs.data.observer import ContentObserver
from sftpfs.remote.api import RemoteFile
from sftpfs.server_clock import ServerClock
from sftpfs.types import MTIME_GRAIN, Attributes, OpenMode


class DirtyFile(Protocol):
    """What is needed here of the writer of a file that has something to send: see ``ContentWriter``."""

    @property
    def extents(self) -> DirtyExtents[HandleState]:
        """What is not on the server yet."""

    @property
    def number(self) -> int:
        """The inode's number."""

    def send_all(self) -> None:
        """Send every extent."""

    async def settle(self) -> Attributes | None:
        """All written so far is acknowledged. The file is then clean, unless more was written meanwhile."""

    async def flush(self, handle: HandleState | None) -> OSError | None:
        """All written so far is acknowledged or failed. Returns the first failure."""

    def give_up(self, failure: OSError) -> None:
        """Whatever is not on the server is lost, because of ``failure``."""

    def flush_idle(self, now_ns: int) -> None:
        """Send what has waited for long."""


class SharedBuffers:
    """What all files of the mount share: memory, its bounds, and the files that have something to send."""

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
        self.chunks = ChunkCache(config.cache_bytes, self.budget)
        self.link = LinkEstimate()
        # INVARIANT: exactly the writers whose file is dirty, by inode number, oldest first.
        self.dirty: dict[int, DirtyFile] = {}
        self.failed: dict[int, OSError] = {}
        """By inode number, the first failed write that nobody was told of: see ``unreported``."""
        self.incidents = 0
        self.undecided_bytes = 0
        """Bytes kept that the server may refuse as the file is closed (``data.writing.close_refusals``)."""

    def new_incident(self) -> int:
        """A number for what one file loses together."""
        self.incidents += 1
        return self.incidents

    def unreported(self, number: int, failure: OSError) -> None:
        """A write of inode ``number`` failed, and the handle that should report it is gone. ``close`` may
        have reported it without anybody listening: a child's ``close``, or that of a program that just ends.
        """
        self.failed.setdefault(number, failure)
        self.observer.content_unreported(number, failure)

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
        mode: OpenMode,
    ) -> None:
        self.remote = remote
        self.readable = mode.readable
        self.writable = mode.writable
        self.append = mode.append
        self.direct = mode.direct
        self.synchronous = mode.synchronous or mode.direct
        """Every write waits for the server."""
        self.picky = mode.writable and not remote.takes_any_write
        """The server is known to refuse some writes: ``RemoteFile.takes_write`` is asked before each."""
        self.reports = self.synchronous
        """``write`` itself reports what fails now: the program still has the bytes."""
        self.doubtful = False
        """A write failed, and none of this handle's was acknowledged since. Each write waits for the server,
        so that no program's position moves over bytes that will not be there."""
        self.fsync_writes = False
        """Writes also wait for the server's disk (O_SYNC)."""
        self.created = False
        """This handle made the file, which therefore is ours: changes of mode and times may travel with its
        writes."""
        self.drops_pages = False
        """The kernel was told to drop the file's pages at this open, and has not used the handle since. It
        may not have done it yet, and another open that kept the pages would read the old ones."""
        self.error: OSError | None = None
        """The first write that failed while this handle was open for writing, until ``write`` or ``fsync``
        reports it. ``close`` reports it, too, and clears nothing, because it comes for every copy of the
        descriptor."""
        self.unheard = False
        """``error`` is about something written since ``write`` or ``fsync`` last reported a failure."""
        self.listened = False
        """The last close that reported ``error`` came from a program that lives on."""
        self.heard = 0
        """The number of the batch of writes that was the current one then."""
        self.fsync_error: OSError | None = None
        """A failed write that only ``fsync`` reports: the handle only reads, or the write failed before this
        open and no program had been told."""
        self.part_end = -1
        """Where the last write ended, if a write that goes on there may be the rest of the same write(2)."""
        self.window = ReadAheadWindow()


class ContentState:
    """Version, size and trust of one file.

    INVARIANT: ``dirty`` False implies no dirty extent and ``size`` None.
    INVARIANT: while clean and ``trusted``, every cached chunk and every fetch of the current generation was
    asked for after ``attributes`` were reported, so its bytes are of that version or newer, never older.
    """

    __slots__ = (
        "_clock",
        "appending",
        "attributes",
        "dates_late",
        "dirty",
        "earliest_fetch",
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
        "written_at",
    )

    def __init__(self, number: int, server_clock: ServerClock) -> None:
        self.number = number
        self._clock = server_clock
        self.epoch = 0
        self.generation = 0
        """Counts how often the content was found or made another one; a read across such a point is
        repeated."""
        self.resizes = 0
        """Counts the sizes that we set: what the server reported of an earlier size no longer says
        anything."""
        self.attributes: Attributes | None = None
        """The server's, as last reported; while dirty, those of what lies beneath. None: not known."""
        self.dirty = False
        self.appending = False
        """What is dirty goes to the end, wherever that is; its offsets mean nothing."""
        self.size: int | None = None
        self.set_mtime = 0
        """Seconds since 1970: of a dirty file that is not ``server_dated``."""
        self.dates_late = False
        """The server takes long to date what was written since the file was clean: somebody waited in
        vain."""
        self.written_at = 0.0
        """When it was last written (``clock.now``), for a file that is ``server_dated``."""
        self.server_dated = False
        """The mtime is, or will be, that of the server's clock at our last write, not a time that we set."""
        self.earliest_fetch: float | None = None
        """The least that the server's clock showed, by what was known of it then, at the earliest fetch of
        bytes that we or the kernel may still hold."""
        self.trusted = True
        """False once we changed the file ourselves: its new times hide a change by others."""
        self.pages_stale = False
        """The kernel may hold pages of a version we dropped."""
        self.verify = False
        """The next fetch must bring FSTAT along."""

    @property
    def server_size(self) -> int:
        """Size on the server as last reported, bytes."""
        return self.attributes.size if self.attributes is not None else 0

    @property
    def shown_size(self) -> int:
        """The size that counts: ours while dirty, otherwise the server's."""
        return self.size if self.size is not None else self.server_size

    @property
    def undated(self) -> bool:
        """The server will date the file by our last write, and has not reported the time yet."""
        return self.dirty and self.server_dated

    @property
    def mtime(self) -> int | None:
        """Seconds since 1970, while dirty: the time that was set, or the most likely time of the server's
        clock at the last write. None while clean."""
        if not self.dirty:
            return None
        return int(self._clock.estimate(self.written_at)) if self.server_dated else self.set_mtime

    def same_version(self, attributes: Attributes) -> bool:
        """True if ``attributes`` show the size and mtime that we know."""
        known = self.attributes
        return known is not None and known.size == attributes.size and known.mtime == attributes.mtime

    def unchanged(self, attributes: Attributes) -> bool:
        """True only if ``attributes`` prove that what was fetched is what the server holds.

        Bytes fetched within the grain of the file's mtime may have changed since without a trace in it.
        """
        if not self.same_version(attributes) or not self.trusted or self.pages_stale:
            return False
        if self._clock.proves_nothing or not attributes.mtime:
            return False
        return self.earliest_fetch is None or attributes.mtime + MTIME_GRAIN < self.earliest_fetch

    def fetching(self, asked: float | None = None) -> None:
        """Bytes are being asked for now, or were at ``asked`` (``clock.now``)."""
        earliest = self._clock.earliest(clock.now() if asked is None else asked)
        if self.earliest_fetch is None or earliest < self.earliest_fetch:
            self.earliest_fetch = earliest

    def outdated(self) -> None:
        """What is held is of another version. The caller drops it from the caches, ours and the kernel's."""
        self.generation += 1
        self.earliest_fetch = None
        self.trusted = True

    def touch(self) -> None:
        """The first change since clean: from now on our size and mtime count."""
        self.dirty = True
        self.trusted = False
        self.server_dated = self.dates_late = False
        self.set_mtime = self.attributes.mtime if self.attributes is not None else 0
        self.size = self.server_size

    def written(self) -> None:
        """Bytes were written just now, while dirty; the server will date them."""
        self.written_at = clock.now()
        self.server_dated = True
        self.epoch += 1

    def settled(self, attributes: Attributes) -> None:
        """Everything is on the server, which reports ``attributes``."""
        self.dirty = self.appending = False
        self.size = None
        self.trusted = False
        self.epoch += 1
        self.attributes = attributes
