"""The content of one file, whole or not at all, and with it what is kept of the file. For many threads."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import NamedTuple, Protocol

from sftpfs.cli.copy_kept import keep
from sftpfs.cli.copy_places import Pair
from sftpfs.cli.copy_target import CopyError, File, Kept, Target, Targets
from sftpfs.cli.server_side import ServerSide, StoppedError

BLOCK = 4 << 20
"""Bytes of one read and write where the data passes through here."""

ONE_READ = 128 << 10
"""Bytes a mount reads with one request: no change comes between. Whether a larger file was changed meanwhile
is asked with an open, a round trip."""

ATTEMPTS = 2
"""Copies of a file that changes while it is copied: one that is always written to would have no end."""


class Counted(Protocol):
    """What one file adds to the run's counters."""

    begun: bool
    """The destination has perhaps lost what it had."""

    def told(self, done: int, *, on_server: bool = False) -> None:
        """``done`` bytes of the file are copied."""

    def restart(self) -> None:
        """Nothing counts as done."""


class Once(NamedTuple):
    """The content was copied."""

    size: int
    """Bytes."""
    before: os.stat_result
    """What the source was before any of it was read, and after all of it was."""
    after: os.stat_result

    @property
    def changed(self) -> bool:
        """What was copied is perhaps neither version."""
        before, after = self.before, self.after
        return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


class Contents:
    """Copies regular files."""

    def __init__(self, server: ServerSide, stopped: threading.Event, kept: Kept) -> None:
        self._server = server
        self._stopped = stopped
        self._kept = kept
        self._targets = Targets(kept)

    def copy(self, file: File, pair: Pair, counted: Counted) -> str:
        """Copy ``file``; what is to be said of a copy that is there, or nothing.

        Raises CopyError, OSError and StoppedError; half a file is removed then.
        """
        try:
            return self._copy(file, pair, counted)
        except CopyError as problem:
            if problem.errno != errno.ESTALE or counted.begun:
                raise
        # A name leads elsewhere by now: an open by name makes the kernel look again.
        os.close(os.open(file.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=pair.source))
        return self._copy(file, pair, counted)

    def _copy(self, file: File, pair: Pair, counted: Counted) -> str:
        flags = os.O_PATH | os.O_CLOEXEC | (0 if file.follow else os.O_NOFOLLOW)
        try:
            origin = os.open(
                file.source, flags, dir_fd=pair.source
            )  # opened to read it would look like a reader
        except OSError as problem:
            raise CopyError(problem, f"cannot stat '{file.source_path}'") from None
        try:
            found = os.fstat(origin)
            if not stat.S_ISREG(found.st_mode):
                raise CopyError(errno.ESTALE, f"'{file.source_path}' was replaced while it was copied")
            with self._targets.open(file, pair, found) as target:
                return self._write(file, pair, origin, target, counted)
        finally:
            os.close(origin)

    def _write(self, file: File, pair: Pair, origin: int, target: Target, counted: Counted) -> str:
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

    def _remove(self, target: Target, file: File, pair: Pair) -> bool:
        """As ``Target.remove``: not what another client has put under its name, of which its mount need not
        know yet."""
        self._server.look_again(file.target_path)
        return target.remove(file, pair)

    def _whole(self, file: File, origin: int, target: Target, counted: Counted) -> tuple[str, bool]:
        """All of the content and what is kept: what could not be, and if the source never stood still."""
        for _ in range(ATTEMPTS):
            copied = self._once(file, origin, target, counted)
            if not copied.changed:
                break
        # Of before the content was read: what was changed since must not look as if it had been copied
        owners = self._kept.owners
        return keep(target.descriptor, copied.before, owners=owners, asked=owners), copied.changed

    def _once(self, file: File, origin: int, target: Target, counted: Counted) -> Once:
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

    def _on_server(self, file: File, origin: int, target: Target, counted: Counted) -> Once | None:
        before = os.fstat(origin)
        try:
            size = self._server.copy(file.source_path, origin, target.descriptor, counted.told)
        except OSError as problem:
            raise _writing(file, problem) from None
        return None if size is None else Once(size, before, os.fstat(origin))

    def _through_here(self, file: File, origin: int, target: Target, counted: Counted) -> Once:
        source = _opened_to_read(file, origin)
        try:
            before = os.fstat(source)
            block = BLOCK if before.st_size > ONE_READ else ONE_READ
            size = self._pass(file, source, before.st_size, memoryview(bytearray(block)), target, counted)
            if size > ONE_READ:
                os.close(_opened_to_read(file, origin))
            return Once(size, before, os.fstat(source))
        finally:
            os.close(source)

    def _pass(
        self, file: File, source: int, size: int, buffer: memoryview, target: Target, counted: Counted
    ) -> int:
        """Read and write all of it, or what it had as this began: its size in bytes.

        One that grows as fast as it is read has no end, and is found to be changed.
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
            counted.told(done)
            size = size or os.fstat(source).st_size  # of files in /proc 0 is told, whatever there is
        return done


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
