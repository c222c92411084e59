"""Keeping what could not be written: one file a lost file, below the user's state directory.

Owns the directory and the one thread that writes there, so that the front never waits for
a disk. Beside each file, whose bytes are at the offsets they were meant for, a JSON file
says what it is. Nothing here is ever removed by us.

Used by the composition root, which hands ``keep`` to the rooms that lose data.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from sftpfs import clock
from sftpfs.data.lost import LostBytes, merged

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

SYSTEM_DIRECTORY = "/var/lib/sftpfs"

log = logging.getLogger(__name__)


def state_directory(environment: Mapping[str, str], uid: int) -> str:
    """Where a user's state belongs (XDG Base Directory Specification), root's and a homeless one's."""
    chosen = environment.get("XDG_STATE_HOME", "")
    if os.path.isabs(chosen):
        return os.path.join(chosen, "sftpfs")
    home = environment.get("HOME", "")
    if uid == 0 or not os.path.isabs(home):
        return SYSTEM_DIRECTORY
    return os.path.join(home, ".local/state/sftpfs")


class _Piece(NamedTuple):
    """Bytes of a file; ``kept`` False where there was no memory for them."""

    path: bytes
    lost: LostBytes
    start: int
    end: int
    kept: bool


class _Saved:
    """One incident's file."""

    __slots__ = ("base", "lost", "path", "ranges", "since")

    def __init__(self, path: bytes, lost: LostBytes, base: str) -> None:
        self.path = path
        self.lost = lost
        self.base = base
        self.since = clock.wall()
        self.ranges: list[tuple[int, int]] = []
        """What the file holds."""


class Salvage:
    """See the module. ``keep`` and ``close`` are called by one thread, the rest runs in the other.

    INVARIANT: ``_held`` is the sum of the bytes queued or being written, at most ``room``.
    """

    def __init__(self, directory: str, server: str, mountpoint: str, room: int) -> None:
        """``room``: bytes that may wait for the disk."""
        self._directory = os.path.realpath(os.path.join(directory, "lost"))
        # What cannot be written to the mount cannot be saved on it either.
        self._on_mount = os.path.commonpath([self._directory, mountpoint]) == mountpoint
        self._server = server
        self._mountpoint = mountpoint
        self._room = room
        self._held = 0
        self._queue: list[_Piece] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._saved: dict[int, _Saved] = {}

    def keep(self, path: bytes, lost: LostBytes) -> None:
        """Save ``lost`` of the file at ``path`` on the server, soon. Never waits, never raises."""
        size = len(lost.data)
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
        if self._thread is None:
            # A daemon: a disk that hangs must not keep the process.
            self._thread = threading.Thread(target=self._run, name="salvage", daemon=True)
            self._thread.start()

    def close(self) -> dict[bytes, list[str]]:
        """Finish, waiting for the disk a while. By path on the server the files that hold what was lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_LIMIT)
            if self._thread.is_alive():
                log.error("lost data is still being saved in %s; the disk does not answer", self._directory)
        files: dict[bytes, list[str]] = {}
        for saved in list(self._saved.values()):
            if saved.ranges:
                files.setdefault(saved.path, []).append(saved.base)
        return files

    # the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                self._changed.wait_for(lambda: self._closing, GATHER)
                pieces, self._queue = self._queue, []
            if not pieces:
                return
            self._save(pieces)
            with self._changed:
                self._held -= sum(len(piece.lost.data) for piece in pieces)

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
            self._tell(those, done, self._saved.get(number), problem)

    def _write(self, number: int, pieces: list[_Piece], done: list[_Piece]) -> None:
        """Bring ``pieces`` of one incident to the disk; ``done`` are those that are there."""
        self._prepare()
        saved = self._saved.get(number)
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        if saved is None:
            saved = _Saved(pieces[0].path, pieces[0].lost, self._name(number, pieces[0].path))
            flags |= os.O_CREAT | os.O_EXCL
        problem: OSError | None = None
        written: list[_Piece] = []
        with open(os.open(saved.base, flags, 0o600), "wb", buffering=0) as file:
            self._saved[number] = saved
            try:
                self._fill(file.fileno(), pieces, written)
            except OSError as failure:
                problem = failure
            os.fsync(file.fileno())
        done += written
        saved.ranges = merged([*saved.ranges, *((piece.start, piece.end) for piece in written)])
        self._describe(saved)
        if problem is not None:
            raise problem

    def _fill(self, fd: int, pieces: list[_Piece], written: list[_Piece]) -> None:
        room = self._free()
        for piece in pieces:
            if not piece.kept:
                continue
            room -= piece.end - piece.start
            if room < 0:
                raise OSError(
                    errno.EDQUOT, f"{self._directory} holds enough; remove what is not needed there"
                )
            _write_at(fd, piece.lost.data, piece.start)
            written.append(piece)

    def _prepare(self) -> None:
        """The directory, ours alone. Raises OSError where it is not."""
        if self._on_mount:
            raise OSError(errno.ELOOP, f"{self._directory} lies in the mount itself")
        os.makedirs(os.path.dirname(self._directory), 0o700, exist_ok=True)
        try:
            os.mkdir(self._directory, 0o700)
        except FileExistsError:
            found = os.lstat(self._directory)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise OSError(errno.EPERM, f"{self._directory} is not a directory of ours") from None
            os.chmod(self._directory, 0o700)

    def _free(self) -> int:
        """Bytes that may be added."""
        with os.scandir(self._directory) as entries:
            used = sum(entry.stat(follow_symlinks=False).st_blocks for entry in entries) * 512
        figures = os.statvfs(self._directory)
        return min(STORE_BYTES - used, figures.f_bavail * figures.f_frsize // SHARE_OF_FREE)

    def _name(self, number: int, path: bytes) -> str:
        """A file name nobody else takes, that tells a person when and what."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        last = re.sub(r"[^A-Za-z0-9._-]", "_", os.fsdecode(path).rpartition("/")[2])[:80]
        return os.path.join(self._directory, f"{moment}-{os.getpid()}-{number}-{last}")

    def _describe(self, saved: _Saved) -> None:
        """The JSON file beside; whole or as it was before."""
        failure = saved.lost.failure
        text = {
            "server": self._server,
            "path": os.fsdecode(saved.path),
            "mountpoint": self._mountpoint,
            "ranges": saved.ranges,
            "appended": saved.lost.appended,
            "reason": failure.strerror or str(failure),
            "errno": failure.errno,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(saved.since)),
        }
        temporary = f"{saved.base}.json.new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            json.dump(text, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(fd)
        os.rename(temporary, f"{saved.base}.json")

    def _tell(
        self, pieces: list[_Piece], done: list[_Piece], saved: _Saved | None, problem: Exception | None
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
            log.error("what %s is could not be noted beside it: %s", saved and saved.base, problem)


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
