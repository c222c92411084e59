"""Keeps what could not be written, and the record of it, until somebody has acknowledged it.

Owns the one thread that writes to the ``store``, so that the front never waits for a disk, and the list of
the mount's losses. A loss is acknowledged when its file is no longer in the store: somebody wrote it back or
took it away (``sftpfs restore``). Nothing is ever removed here.

Used by the composition root, which hands it to the rooms that lose data.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

from sftpfs import clock
from sftpfs.byte_ranges import merged, without
from sftpfs.data.observer import LostBytes
from sftpfs.errors import said
from sftpfs.host.covered_files import reach
from sftpfs.mount import failpoints, salvage_store
from sftpfs.mount.salvage_store import Saved

STORE_BYTES = 1 << 30
"""Bytes kept in all, over all mounts of the user: many times what one mount holds unwritten (32 MiB), and no
burden on a disk."""

SHARE_OF_FREE = 2
"""The store takes at most one part in this many of the free space: the user's own files come first."""

GATHER = 0.25
"""Seconds from the first loss until it is written: what an outage takes is lost within a moment, and so makes
one line in the log."""

CLOSE_LIMIT = 15.0
"""Seconds that the disk gets at the end for what it was given."""

MOST_RANGES = 8
"""Ranges named in a line of the log; the JSON file has all."""

log = logging.getLogger(__name__)


class _Piece(NamedTuple):
    """Bytes of a file. ``kept`` is False if there was no memory for them."""

    path: bytes
    lost: LostBytes
    start: int
    end: int
    kept: bool


class _Narrowed(NamedTuple):
    """Only ``ranges`` of a loss are still missing."""

    incident: int
    ranges: list[tuple[int, int]]


class _VersionNote(NamedTuple):
    """What the file of a loss was left as."""

    incident: int
    version: tuple[int, int] | None


class Loss:
    """Everything that one file lost together.

    INVARIANT: ``saved`` is set by the thread, once there is a file; the rest is the front's.
    """

    __slots__ = ("bytes", "path", "saved")

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.bytes = 0
        self.saved: Saved | None = None

    def acknowledged(self) -> bool:
        """Somebody has taken its file out of the store."""
        return self.saved is not None and not os.path.lexists(reach(self.saved.base))


class Salvage:
    """See the module. ``record_loss`` and ``close`` are called by one thread, the rest runs in the other.

    INVARIANT: ``_held`` is the sum of the bytes queued or being written, at most ``room``.
    """

    def __init__(self, directory: str, server: str, mountpoint: str, room: int) -> None:
        """``directory``: the store's, without links. ``room``: bytes that may wait for the disk."""
        self.directory = directory
        self.root = b""
        """The directory on the server, once it is known."""
        self._server = server
        self._mountpoint = mountpoint
        self._room = room
        self._held = 0
        self._queue: list[_Piece | _Narrowed | _VersionNote] = []
        self._changed = threading.Condition()
        self._closing = False
        self._busy = False
        self._hurried = False
        self._since = 0.0
        self._losses: dict[int, Loss] = {}
        """By incident, in the order of the losses."""
        # Started now, because no thread may be available when something is lost. A daemon thread, so that a
        # disk that hangs does not keep the process.
        self._thread = threading.Thread(target=self._run, name="salvage", daemon=True)
        self._thread.start()

    def record_loss(self, path: bytes, lost: LostBytes) -> None:
        """Saves ``lost`` of the file at ``path`` on the server, soon. Never waits, never raises."""
        size = len(lost.data)
        self._losses.setdefault(lost.incident, Loss(path)).bytes += size
        if self._closing:
            late = OSError(errno.ESHUTDOWN, "the mount has ended")
            self._log([_Piece(path, lost, lost.offset, lost.offset + size, False)], [], None, late)
            return
        with self._changed:
            kept = self._held + size <= self._room
            if kept:
                self._held += size
            else:
                lost = lost._replace(data=b"")
            self._queue.append(_Piece(path, lost, lost.offset, lost.offset + size, kept))
            self._changed.notify()

    def narrow_loss(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """Only ``ranges`` of ``incident`` are still missing, of what was kept so far. The rest must not be
        written back over what has its place by now. Never waits, never raises."""
        self._note([_Narrowed(incident, ranges)])

    def note_version(self, incidents: list[int], version: tuple[int, int] | None) -> None:
        """The file that lost ``incidents`` has this size and mtime (seconds) since; None if nobody knows.
        Never waits, never raises."""
        self._note([_VersionNote(incident, version) for incident in incidents])

    def _note(self, noted: Sequence[_Narrowed | _VersionNote]) -> None:
        with self._changed:
            if not self._closing:
                self._queue += noted
                self._changed.notify()

    def losses(self) -> list[Loss]:
        """What was lost and nobody has acknowledged, the oldest first."""
        return [loss for loss in self._losses.values() if not loss.acknowledged()]

    def statistics(self) -> dict[str, object]:
        """Counts of ``losses``, and the store's directory."""
        losses = self.losses()
        return {
            "pieces": len(losses),
            "files": len({loss.path for loss in losses}),
            "bytes": sum(loss.bytes for loss in losses),
            "directory": self.directory,
        }

    def acknowledged(self, path: bytes) -> bool:
        """Whether all that the file at ``path`` lost was acknowledged. False if it lost no bytes."""
        those = [loss for loss in self._losses.values() if loss.path == path]
        return bool(those) and all(loss.acknowledged() for loss in those)

    def files(self, path: bytes) -> list[str]:
        """The files that hold what the file at ``path`` lost."""
        saved = [loss.saved for loss in self._losses.values() if loss.path == path]
        return [one.base for one in saved if one is not None and one.missing]

    def wait_saved(self) -> None:
        """Waits, in a thread, until what was handed over is saved, but not for a disk that does not
        answer."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._queue and not self._busy, CLOSE_LIMIT)
            self._hurried = False

    def close(self) -> None:
        """Finishes, waiting for the disk for a while."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_LIMIT)
        if self._thread.is_alive():
            log.error("lost data is still being saved in %s; the disk does not answer", self.directory)

    # the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                self._changed.wait_for(lambda: self._closing or self._hurried, GATHER)
                pieces, self._queue = self._queue, []
                self._busy = True
            if not pieces:
                return
            for saving, those in groupby(pieces, lambda one: isinstance(one, _Piece)):
                if saving:
                    self._save([one for one in those if isinstance(one, _Piece)])
                else:
                    self._describe([one for one in those if not isinstance(one, _Piece)])
            with self._changed:
                self._held -= sum(len(piece.lost.data) for piece in pieces if isinstance(piece, _Piece))
                self._busy = False
                self._changed.notify_all()

    def _describe(self, noted: list[_Narrowed | _VersionNote]) -> None:
        """Notes beside the losses what has become known of them."""
        for number in {one.incident for one in noted}:
            loss = self._losses[number]
            if loss.saved is None or loss.acknowledged():
                continue
            saved = loss.saved
            for one in noted:
                if one.incident != number:
                    continue
                if isinstance(one, _VersionNote):
                    saved = saved._replace(left=one.version)
                    if saved.end is None and one.version is not None:
                        saved = saved._replace(end=one.version[0])
                else:
                    newer = without(saved.ranges, one.ranges)
                    saved = saved._replace(newer=merged([*saved.newer, *newer]))
            loss.saved = saved
            try:
                fd = salvage_store.lock(saved)
                if fd is not None:
                    with open(fd, "wb"):
                        salvage_store.describe(saved)
            except OSError as problem:
                log.error("what %s is could not be noted beside it: %s", saved.base, said(problem))

    def _save(self, pieces: list[_Piece]) -> None:
        incidents: dict[int, list[_Piece]] = {}
        for piece in pieces:
            incidents.setdefault(piece.lost.incident, []).append(piece)
        for number, those in incidents.items():
            problem: Exception | None = None
            done: list[_Piece] = []
            try:
                self._write(number, those, done)
            except Exception as failure:  # whatever it is, the loss must be reported
                problem = failure
            self._log(those, done, self._losses[number].saved, problem)

    def _write(self, number: int, pieces: list[_Piece], done: list[_Piece]) -> None:
        """Writes ``pieces`` of one incident to the disk. ``done`` are those that were written."""
        self._prepare()
        loss = self._losses[number]
        saved = loss.saved
        fd = None if saved is None else salvage_store.lock(saved)
        if saved is None or fd is None:
            saved = self._open_file(number, pieces[0])
            flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL
            fd = os.open(reach(saved.base), flags, 0o600)
        problem: OSError | None = None
        written: list[_Piece] = []
        with open(fd, "wb", buffering=0) as file:
            loss.saved = saved
            try:
                self._fill(file.fileno(), pieces, written)
            except OSError as failure:
                problem = failure
            os.fsync(file.fileno())
            failpoints.reached(failpoints.SALVAGE_AFTER_DATA)
            done += written
            ranges = merged([*saved.ranges, *((piece.start, piece.end) for piece in written)])
            newer = without(saved.newer, [(piece.start, piece.end) for piece in written])
            until = max(clock.wall(), saved.since)
            loss.saved = saved = saved._replace(ranges=ranges, newer=newer, until=until)
            salvage_store.describe(saved)
        if problem is not None:
            raise problem

    def _open_file(self, number: int, piece: _Piece) -> Saved:
        """A new file for the loss that begins with ``piece``."""
        # Of two losses the later one has the later moment, whatever happens to this machine's time.
        self._since = since = max(clock.wall(), self._since + 1e-6)
        failure = piece.lost.failure
        return Saved(
            os.path.join(self.directory, salvage_store.file_name(since, os.getpid(), number, piece.path)),
            self._server,
            self.root,
            piece.path,
            self._mountpoint,
            [],
            piece.lost.appended,
            failure.strerror or str(failure),
            failure.errno or 0,
            since,
            since,
            number,
        )

    def _fill(self, fd: int, pieces: list[_Piece], written: list[_Piece]) -> None:
        room = self._room_left()
        for piece in pieces:
            if not piece.kept:
                continue
            room -= piece.end - piece.start
            if room < 0:
                raise OSError(
                    errno.EDQUOT,
                    f"{self.directory} is full; sftpfs restore writes back or removes what it holds",
                )
            _write_at(fd, piece.lost.data, piece.start)
            written.append(piece)

    def _prepare(self) -> None:
        """Makes the directory, ours alone. Raises OSError if that fails."""
        directory = reach(self.directory)
        os.makedirs(os.path.dirname(directory), 0o700, exist_ok=True)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            found = os.lstat(directory)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise OSError(errno.EPERM, f"{self.directory} is not a directory of ours") from None
            os.chmod(directory, 0o700)

    def _room_left(self) -> int:
        """Bytes that may be added."""
        used = 0
        with os.scandir(reach(self.directory)) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # restored just now, or noted anew by another mount
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
        figures = os.statvfs(reach(self.directory))
        return min(STORE_BYTES - used, figures.f_bavail * figures.f_frsize // SHARE_OF_FREE)

    def _log(
        self, pieces: list[_Piece], done: list[_Piece], saved: Saved | None, problem: Exception | None
    ) -> None:
        """A line for what was saved, and one for what was not."""
        failure = pieces[0].lost.failure
        what = f"{pieces[0].path.decode(errors='backslashreplace')} on {self._server}"
        reason = failure.strerror or failure
        if done and saved is not None:
            log.error("%s: %s could not be written: %s; saved in %s", what, _bytes(done), reason, saved.base)
        saved_ones = set(map(id, done))
        left = [piece for piece in pieces if id(piece) not in saved_ones]
        if left:
            why = "there was too much at once" if problem is None else getattr(problem, "strerror", problem)
            log.error(
                "%s: %s could not be written: %s; lost, as they could not be saved either: %s",
                what,
                _bytes(left),
                reason,
                why,
            )
        elif problem is not None:
            log.error("what %s is could not be noted beside it: %s", saved and saved.base, said(problem))


def _write_at(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def _bytes(pieces: list[_Piece]) -> str:
    """The ranges of ``pieces`` in words."""
    ranges = merged([(piece.start, piece.end) for piece in pieces])
    named = ", ".join(f"{start} to {end}" for start, end in ranges[:MOST_RANGES])
    more = len(ranges) - MOST_RANGES
    return f"bytes {named}" + (f" and {more} ranges more" if more > 0 else "")
