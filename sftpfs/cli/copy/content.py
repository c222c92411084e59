"""Copies the content of one file, whole or not at all, and the attributes that are kept. Used by many
threads."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import NamedTuple, Protocol

from sftpfs.cli.copy.directories import DirectoryPair
from sftpfs.cli.copy.metadata import keep
from sftpfs.cli.copy.offload import CopyOffload, StoppedError
from sftpfs.cli.copy.target import CopyError, File, Preserve, Target, Targets

BLOCK = 4 << 20
"""Bytes of one read and write when the data passes through here."""

ONE_READ = 128 << 10
"""Bytes that a mount reads with one request, so no change comes between. For a larger file an open, a round
trip, shows whether it was changed meanwhile."""

ATTEMPTS = 2
"""How often a file that changes while it is copied is copied. A file that is always being written to would
otherwise have no end."""


class ByteCounter(Protocol):
    """What one file adds to the run's counters."""

    begun: bool
    """The destination may have lost its content."""

    def advance(self, done: int, *, on_server: bool = False) -> None:
        """``done`` bytes of the file are copied."""

    def restart(self) -> None:
        """Nothing counts as done."""


class CopyResult(NamedTuple):
    """The content was copied."""

    size: int
    """Bytes."""
    before: os.stat_result
    """The source's attributes before any of it was read, and after all of it was."""
    after: os.stat_result

    @property
    def changed(self) -> bool:
        """What was copied may be neither version."""
        before, after = self.before, self.after
        return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


class SmallFile(NamedTuple):
    """A file that was read whole."""

    content: bytes
    before: os.stat_result
    """The source's attributes before any of it was read."""
    changed: bool
    """It never stood still."""


class ContentCopier:
    """Copies regular files."""

    def __init__(self, server: CopyOffload, stopped: threading.Event, kept: Preserve) -> None:
        self._server = server
        self._stopped = stopped
        self._kept = kept
        self._targets = Targets(kept)

    def copy(self, file: File, pair: DirectoryPair, counted: ByteCounter) -> str:
        """Copies ``file``. Returns a remark about a finished copy, or nothing.

        Raises CopyError, OSError and StoppedError; half a file is then removed.
        """
        try:
            return self._copy(file, pair, counted)
        except CopyError as problem:
            if problem.errno != errno.ESTALE or counted.begun:
                raise
        # A name leads elsewhere by now: an open by name makes the kernel look it up again.
        os.close(os.open(file.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=pair.source))
        return self._copy(file, pair, counted)

    def _copy(self, file: File, pair: DirectoryPair, counted: ByteCounter) -> str:
        origin, found = _origin(file, pair)
        try:
            with self._targets.open(file, pair, found) as target:
                return self._write(file, pair, origin, target, counted)
        finally:
            os.close(origin)

    def _write(
        self, file: File, pair: DirectoryPair, origin: int, target: Target, counted: ByteCounter
    ) -> str:
        try:
            lost, changed = self._whole(file, origin, target, counted)
            try:
                target.close()
            except OSError as problem:  # some of the content is not there
                raise _writing(file, problem) from None
        except BaseException as problem:
            if (target.new or counted.begun) and not self._remove(target, file, pair):
                left = f"what there is of '{file.target_path}' could not be removed"
                if isinstance(problem, CopyError):
                    left = f"{problem.strerror}; {left}"
                raise CopyError(getattr(problem, "errno", None) or errno.EIO, left) from None
            raise
        if changed:
            return f"changed while it was copied: '{file.source_path}'"
        return f"copied, but {lost}: '{file.target_path}'" if lost else ""

    def _remove(self, target: Target, file: File, pair: DirectoryPair) -> bool:
        """As ``Target.remove``. Does not remove what another client has put under the name, of which its
        mount need not know yet."""
        self._server.look_again(file.target_path)
        return target.remove(file, pair)

    def _whole(self, file: File, origin: int, target: Target, counted: ByteCounter) -> tuple[str, bool]:
        """Copies all of the content and what is kept. Returns what could not be kept, and whether the source
        never stood still."""
        for _ in range(ATTEMPTS):
            copied = self._once(file, origin, target, counted)
            if not copied.changed:
                break
        # The times from before the content was read: later changes must not look as if they had been copied
        owners = self._kept.owners
        return keep(target.descriptor, copied.before, owners=owners, asked=owners), copied.changed

    def _once(self, file: File, origin: int, target: Target, counted: ByteCounter) -> CopyResult:
        counted.restart()
        copied = self._on_server(file, origin, target, counted)
        if copied is None:
            counted.restart()
            copied = self._through_here(file, origin, target, counted)
        if os.fstat(target.descriptor).st_size != copied.size:
            try:
                os.ftruncate(target.descriptor, copied.size)
            except OSError as problem:
                raise _writing(file, problem) from None
        return copied

    def _on_server(self, file: File, origin: int, target: Target, counted: ByteCounter) -> CopyResult | None:
        before = os.fstat(origin)
        try:
            size = self._server.copy(file.source_path, origin, target.descriptor, counted.advance)
        except OSError as problem:
            raise _writing(file, problem) from None
        return None if size is None else CopyResult(size, before, os.fstat(origin))

    def _through_here(self, file: File, origin: int, target: Target, counted: ByteCounter) -> CopyResult:
        source = _opened_to_read(file, origin)
        try:
            before = os.fstat(source)
            block = BLOCK if before.st_size > ONE_READ else ONE_READ
            size = self._pass(file, source, before.st_size, memoryview(bytearray(block)), target, counted)
            if size > ONE_READ:
                os.close(_opened_to_read(file, origin))
            return CopyResult(size, before, os.fstat(source))
        finally:
            os.close(source)

    def _pass(
        self, file: File, source: int, size: int, buffer: memoryview, target: Target, counted: ByteCounter
    ) -> int:
        """Reads and writes all of the file, or what it had when this began. Returns its size in bytes.

        A file that grows as fast as it is read has no end, and is found to be changed.
        """
        done = 0
        os.lseek(target.descriptor, 0, os.SEEK_SET)
        while not 0 < size <= done:
            try:
                count = os.readv(source, [buffer])
            except OSError as problem:
                raise CopyError(problem, f"error reading '{file.source_path}'") from None
            if not count:
                return done
            if self._stopped.is_set():
                raise StoppedError
            counted.begun = True
            try:
                _write_all(target.descriptor, buffer[:count])
            except OSError as problem:
                raise _writing(file, problem) from None
            done += count
            counted.advance(done)
            size = size or os.fstat(source).st_size  # files in /proc show 0, whatever is in them
        return done


def read_small(file: File, pair: DirectoryPair, largest: int) -> SmallFile | None:
    """All of ``file``; None if it has more than ``largest`` bytes. Raises CopyError and OSError."""
    origin, _ = _origin(file, pair)
    try:
        small = None
        for _ in range(ATTEMPTS):
            small = _read_once(file, origin, largest)
            if small is None or not small.changed:
                break
        return small
    finally:
        os.close(origin)


def _read_once(file: File, origin: int, largest: int) -> SmallFile | None:
    source = _opened_to_read(file, origin)
    try:
        before = os.fstat(source)
        parts: list[bytes] = []
        left = largest + 1
        try:
            while left and (part := os.read(source, min(left, max(ONE_READ, before.st_size + 1)))):
                parts.append(part)
                left -= len(part)
        except OSError as problem:
            raise CopyError(problem, f"error reading '{file.source_path}'") from None
        result = CopyResult(largest + 1 - left, before, os.fstat(source))
        return SmallFile(b"".join(parts), before, result.changed) if left else None
    finally:
        os.close(source)


def _origin(file: File, pair: DirectoryPair) -> tuple[int, os.stat_result]:
    """The source, held without an open that would look like a reader's, and what it is."""
    flags = os.O_PATH | os.O_CLOEXEC | (0 if file.follow else os.O_NOFOLLOW)
    try:
        origin = os.open(file.source, flags, dir_fd=pair.source)
    except OSError as problem:
        raise CopyError(problem, f"cannot stat '{file.source_path}'") from None
    found = os.fstat(origin)
    if not stat.S_ISREG(found.st_mode):
        os.close(origin)
        raise CopyError(errno.ESTALE, f"'{file.source_path}' was replaced while it was copied")
    return origin, found


def _opened_to_read(file: File, origin: int) -> int:
    try:
        return os.open(f"/proc/self/fd/{origin}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise CopyError(problem, f"cannot open '{file.source_path}' for reading") from None


def _writing(file: File, problem: OSError) -> CopyError:
    return CopyError(problem, f"error writing '{file.target_path}'")


def _write_all(target: int, data: memoryview) -> None:
    while data:
        data = data[os.write(target, data) :]
