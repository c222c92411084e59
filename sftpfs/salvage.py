"""Keeping what could not be written, and the record of it, until somebody has acknowledged it.

Owns the one thread that writes to the ``store``, so that the front never waits for a disk, and the list of
the mount's losses. One is acknowledged when its file is no longer in the store: somebody wrote it back or
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

from sftpfs import clock, store
from sftpfs.beneath import reach
from sftpfs.data.lost import LostBytes
from sftpfs.errors import said
from sftpfs.ranges import merged, without
from sftpfs.store import Saved

STORE_BYTES = 1 << 30
"""Kept in all, over all mounts of the user: many times what one mount holds unwritten (32 MiB),
and no burden on a disk."""

SHARE_OF_FREE = 2
"""At most one part in so many of what is free is taken: the user's own files come first."""

GATHER = 0.25
"""Seconds from the first loss until it is written: what an outage takes is lost within a moment, and
makes one line of log."""

CLOSE_LIMIT = 15.0
"""Seconds the disk gets at the end for what it was handed."""

MOST_RANGES = 8
"""Named in a line of log; the JSON file has all."""

log = logging.getLogger(__name__)


class _Piece(NamedTuple):
    """Bytes of a file; ``kept`` False where there was no memory for them."""

    path: bytes
    lost: LostBytes
    start: int
    end: int
    kept: bool


class _Remains(NamedTuple):
    """No more than ``ranges`` of a loss is missing still."""

    incident: int
    ranges: list[tuple[int, int]]


class _Left(NamedTuple):
    """What the file of a loss was left as."""

    incident: int
    version: tuple[int, int] | None


class Loss:
    """What one file lost together.

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
    """See the module. ``keep`` and ``close`` are called by one thread, the rest runs in the other.

    INVARIANT: ``_held`` is the sum of the bytes queued or being written, at most ``room``.
    """

    def __init__(self, directory: str, server: str, mountpoint: str, room: int) -> None:
        """``directory``: the store's, without links; ``room``: bytes that may wait for the disk."""
        self.directory = directory
        self.root = b""
        """The directory on the server, once it is known."""
        self._server = server
        self._mountpoint = mountpoint
        self._room = room
        self._held = 0
        self._queue: list[_Piece | _Remains | _Left] = []
        self._changed = threading.Condition()
        self._closing = False
        self._busy = False
        self._hurried = False
        self._since = 0.0
        self._losses: dict[int, Loss] = {}
        """By incident, in the order of the losses."""
        # Now, for there may be no thread to be had as something is lost. A daemon: a disk that hangs must not
        # keep the process.
        self._thread = threading.Thread(target=self._run, name="salvage", daemon=True)
        self._thread.start()

    def keep(self, path: bytes, lost: LostBytes) -> None:
        """Save ``lost`` of the file at ``path`` on the server, soon. Never waits, never raises."""
        size = len(lost.data)
        self._losses.setdefault(lost.incident, Loss(path)).bytes += size
        if self._closing:
            late = OSError(errno.ESHUTDOWN, "the mount has ended")
            self._tell([_Piece(path, lost, lost.offset, lost.offset + size, False)], [], None, late)
            return
        with self._changed:
            kept = self._held + size <= self._room
            if kept:
                self._held += size
            else:
                lost = lost._replace(data=b"")
            self._queue.append(_Piece(path, lost, lost.offset, lost.offset + size, kept))
            self._changed.notify()

    def remains(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """Of ``incident`` no more than ``ranges`` is missing, by what was kept so far: the rest is not to be
        written back over what has its place by now. Never waits, never raises."""
        self._note([_Remains(incident, ranges)])

    def left(self, incidents: list[int], version: tuple[int, int] | None) -> None:
        """The file that lost ``incidents`` has this size and mtime (seconds) since; None where nobody knows.
        Never waits, never raises."""
        self._note([_Left(incident, version) for incident in incidents])

    def _note(self, noted: Sequence[_Remains | _Left]) -> None:
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
        """Whether all that the file at ``path`` lost was acknowledged; False where it lost no bytes."""
        those = [loss for loss in self._losses.values() if loss.path == path]
        return bool(those) and all(loss.acknowledged() for loss in those)

    def files(self, path: bytes) -> list[str]:
        """The files that hold what the file at ``path`` lost."""
        saved = [loss.saved for loss in self._losses.values() if loss.path == path]
        return [one.base for one in saved if one is not None and one.missing]

    def settle(self) -> None:
        """Wait, in a thread, until what was handed over is saved, but not for a disk that does not answer."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._queue and not self._busy, CLOSE_LIMIT)
            self._hurried = False

    def close(self) -> None:
        """Finish, waiting for the disk a while."""
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

    def _describe(self, noted: list[_Remains | _Left]) -> None:
        """Note beside the losses what has become known of them."""
        for number in {one.incident for one in noted}:
            loss = self._losses[number]
            if loss.saved is None or loss.acknowledged():
                continue
            saved = loss.saved
            for one in noted:
                if one.incident != number:
                    continue
                if isinstance(one, _Left):
                    saved = saved._replace(left=one.version)
                    if saved.end is None and one.version is not None:
                        saved = saved._replace(end=one.version[0])
                else:
                    newer = without(saved.ranges, one.ranges)
                    saved = saved._replace(newer=merged([*saved.newer, *newer]))
            loss.saved = saved
            try:
                fd = store.hold(saved)
                if fd is not None:
                    with open(fd, "wb"):
                        store.describe(saved)
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
            except Exception as failure:  # whatever it is, the loss must be told
                problem = failure
            self._tell(those, done, self._losses[number].saved, problem)

    def _write(self, number: int, pieces: list[_Piece], done: list[_Piece]) -> None:
        """Bring ``pieces`` of one incident to the disk; ``done`` are those that are there."""
        self._prepare()
        loss = self._losses[number]
        saved = loss.saved
        fd = None if saved is None else store.hold(saved)
        if saved is None or fd is None:
            saved = self._begun(number, pieces[0])
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
            done += written
            ranges = merged([*saved.ranges, *((piece.start, piece.end) for piece in written)])
            newer = without(saved.newer, [(piece.start, piece.end) for piece in written])
            until = max(clock.wall(), saved.since)
            loss.saved = saved = saved._replace(ranges=ranges, newer=newer, until=until)
            store.describe(saved)
        if problem is not None:
            raise problem

    def _begun(self, number: int, piece: _Piece) -> Saved:
        """A file to come for what ``piece`` is the first of."""
        # Of two losses the later has the later moment, whatever becomes of this machine's time.
        self._since = since = max(clock.wall(), self._since + 1e-6)
        failure = piece.lost.failure
        return Saved(
            os.path.join(self.directory, store.file_name(since, os.getpid(), number, piece.path)),
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
        room = self._free()
        for piece in pieces:
            if not piece.kept:
                continue
            room -= piece.end - piece.start
            if room < 0:
                raise OSError(
                    errno.EDQUOT, f"{self.directory} holds enough; sftpfs restore writes back or removes"
                )
            _write_at(fd, piece.lost.data, piece.start)
            written.append(piece)

    def _prepare(self) -> None:
        """The directory, ours alone. Raises OSError where it is not."""
        directory = reach(self.directory)
        os.makedirs(os.path.dirname(directory), 0o700, exist_ok=True)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            found = os.lstat(directory)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise OSError(errno.EPERM, f"{self.directory} is not a directory of ours") from None
            os.chmod(directory, 0o700)

    def _free(self) -> int:
        """Bytes that may be added."""
        used = 0
        with os.scandir(reach(self.directory)) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # restored just now, or noted anew by another mount
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
        figures = os.statvfs(reach(self.directory))
        return min(STORE_BYTES - used, figures.f_bavail * figures.f_frsize // SHARE_OF_FREE)

    def _tell(
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
