"""The destination of one file: opened by its name in a directory, written by one thread at a time, removed if
it is no whole copy. Used by many threads."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from sftpfs.cli.copy.directories import Directory, DirectoryPair

PRIVATE = 0o600
"""Mode of a copy that gets another owner in the end: until then nobody reads what they may not read
afterwards."""


class CopyError(OSError):
    """A failure whose ``strerror`` is a whole line for a person, in cp's words if cp has any."""

    def __init__(self, problem: OSError | int, text: str) -> None:
        """``text``, and what ``problem`` says where it is not just a number."""
        number = problem if isinstance(problem, int) else problem.errno
        said = "" if isinstance(problem, int) else f": {problem.strerror or problem}"
        super().__init__(number or 0, text + said)


class Preserve(NamedTuple):
    """What the command's options ask for of each file."""

    owners: bool = False
    """-p and -a: owners as well; and what cannot be kept is told."""
    links: bool = False
    """-d and -a: a destination of several names is replaced, as cp does, so that the others keep theirs."""
    force: bool = False
    """-f: what cannot be opened is removed."""


class File(NamedTuple):
    """A file or link to copy: a name in ``directory``, the same on either side."""

    directory: Directory
    source: str
    target: str
    follow: bool
    """It is a link that was named without -r: what it leads to is copied."""
    found: os.stat_result

    @property
    def source_path(self) -> str:
        """For a person."""
        return self.directory.source_path(self.source)

    @property
    def target_path(self) -> str:
        """For a person."""
        return self.directory.target_path(self.target)


class Target:
    """The open destination of one file."""

    __slots__ = ("_closed", "descriptor", "found", "new")

    def __init__(self, descriptor: int, *, new: bool) -> None:
        self.descriptor = descriptor
        self.new = new
        self.found = os.fstat(descriptor)
        self._closed = False

    def close(self) -> None:
        """Raises what close(2) reports. Idempotent, because the number may be another file's by now."""
        if not self._closed:
            self._closed = True
            os.close(self.descriptor)

    def close_quietly(self) -> None:
        """Closes it when a worse failure was reported already."""
        with suppress(OSError):
            self.close()

    def remove(self, file: File, pair: DirectoryPair) -> bool:
        """Closes it, and removes it if it still has its name. Returns False if it may still be there."""
        name, directory = file.target, pair.target
        try:
            if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                name = os.readlink(f"/proc/self/fd/{self.descriptor}")
            self.close_quietly()
            if not os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), self.found):
                return False
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class Writers:
    """Who writes which file: one at a time.

    Names that share a file with others are written one after the other on each device: on a mount two of
    them show two inode numbers.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._written: set[tuple[int, int]] = set()

    @contextmanager
    def alone(self, there: os.stat_result, *, linked: bool = False) -> Iterator[None]:
        """Nobody else writes that file during the block."""
        key = (there.st_dev, 0 if linked else there.st_ino)
        with self._free:
            self._free.wait_for(lambda: key not in self._written)
            self._written.add(key)
        try:
            yield
        finally:
            with self._free:
                self._written.discard(key)
                self._free.notify_all()


class Targets:
    """Opens destinations."""

    def __init__(self, kept: Preserve) -> None:
        self._kept = kept
        self._writers = Writers()

    @contextmanager
    def open(self, file: File, pair: DirectoryPair, found: os.stat_result) -> Iterator[Target]:
        """Opens the destination of ``file``, which is ``found``. It is not emptied, and nobody else writes it
        meanwhile.

        Raises CopyError; ESTALE if the name leads elsewhere by now.
        """
        with ExitStack() as held:
            try:
                target = self._opened(file, pair, found, held)
            except CopyError:
                raise
            except OSError as problem:
                raise CopyError(problem, f"cannot create regular file '{file.target_path}'") from None
            held.callback(target.close_quietly)
            yield target

    def _opened(self, file: File, pair: DirectoryPair, found: os.stat_result, held: ExitStack) -> Target:
        there = _existing(file, pair, found)
        if there is None:
            try:
                return self._make(file, pair, found, held)
            except FileExistsError:  # a mount believed it missing, and looks again now
                there = _existing(file, pair, found)
        if there is not None:
            target = self._open_existing(file, pair, there, held)
            if target is not None:
                return target
            os.unlink(file.target, dir_fd=pair.target)
        return self._make(file, pair, found, held)

    def _open_existing(
        self, file: File, pair: DirectoryPair, there: os.stat_result, held: ExitStack
    ) -> Target | None:
        """None if it must be removed instead."""
        linked = there.st_nlink > 1 or file.target in file.directory.linked
        held.enter_context(self._writers.alone(there, linked=linked))
        if linked and self._kept.links:
            return None
        # Without waiting, should a FIFO have taken the name meanwhile
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            target = Target(os.open(file.target, flags, dir_fd=pair.target), new=False)
        except OSError:
            if self._kept.force:
                return None
            raise
        if not os.path.samestat(there, target.found):
            target.close_quietly()
            raise CopyError(errno.ESTALE, f"'{file.target_path}' was replaced meanwhile")
        return target

    def _make(self, file: File, pair: DirectoryPair, found: os.stat_result, held: ExitStack) -> Target:
        mode = PRIVATE | (0 if self._kept.owners else stat.S_IMODE(found.st_mode) & 0o777)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = Target(os.open(file.target, flags, mode, dir_fd=pair.target), new=True)
        held.enter_context(self._writers.alone(target.found))
        return target


def _existing(file: File, pair: DirectoryPair, found: os.stat_result) -> os.stat_result | None:
    """What has the name of the destination, if it may be overwritten; None if nothing has it."""
    try:
        there = os.stat(file.target, dir_fd=pair.target)
    except FileNotFoundError:
        try:
            os.stat(file.target, dir_fd=pair.target, follow_symlinks=False)
        except FileNotFoundError:
            return None
        text = f"not writing through dangling symlink '{file.target_path}'"
        raise CopyError(errno.ENOENT, text) from None
    except OSError as problem:
        raise CopyError(problem, f"cannot stat '{file.target_path}'") from None
    if os.path.samestat(found, there):
        raise CopyError(errno.EINVAL, f"'{file.source_path}' and '{file.target_path}' are the same file")
    if stat.S_ISDIR(there.st_mode):
        raise CopyError(errno.EISDIR, f"cannot overwrite directory '{file.target_path}' with non-directory")
    if not stat.S_ISREG(there.st_mode):
        raise CopyError(errno.EINVAL, f"'{file.target_path}' is no regular file")
    return there
