"""What a file is copied to: opened by its name in a directory, written by one at a time, removed where it is
no whole copy. Used by many threads.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from sftpfs.cli.copy_places import Directory, Pair

PRIVATE = 0o600
"""Mode of what has another owner in the end: nobody reads meanwhile what he may not read then."""


class CopyError(OSError):
    """What goes wrong: ``strerror`` is a whole line for a person, in cp's words where it has any."""

    def __init__(self, problem: OSError | int, text: str) -> None:
        """``text``, and what ``problem`` says where it is not just a number."""
        number = problem if isinstance(problem, int) else problem.errno
        said = "" if isinstance(problem, int) else f": {problem.strerror or problem}"
        super().__init__(number or 0, text + said)


class Kept(NamedTuple):
    """What the command's options ask for of each file."""

    owners: bool = False
    """-p and -a: owners as well; and what cannot be kept is told."""
    links: bool = False
    """-d and -a: a destination of several names is replaced, as cp does, so that the others keep theirs."""
    force: bool = False
    """-f: what cannot be opened is removed."""


class File(NamedTuple):
    """A file or link to copy: a name in ``directory`` on either side."""

    directory: Directory
    source: str
    target: str
    follow: bool
    """A link that was named, without -r: what it leads to."""
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
    """What is written to."""

    __slots__ = ("_closed", "descriptor", "found", "new")

    def __init__(self, descriptor: int, *, new: bool) -> None:
        self.descriptor = descriptor
        self.new = new
        self.found = os.fstat(descriptor)
        self._closed = False

    def close(self) -> None:
        """Raises what close(2) says. Idempotent: the number may be another file's by now."""
        if not self._closed:
            self._closed = True
            os.close(self.descriptor)

    def close_quietly(self) -> None:
        """Where something worse is told already."""
        with suppress(OSError):
            self.close()

    def remove(self, file: File, pair: Pair) -> bool:
        """Close it, and remove it if it has its name still; False where it may be left."""
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
        """Nobody else writes that file within the block."""
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
    """Opens what is written to."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._writers = Writers()

    @contextmanager
    def open(self, file: File, pair: Pair, found: os.stat_result) -> Iterator[Target]:
        """The destination of ``file``, which is ``found``: not emptied, and by nobody else written meanwhile.

        Raises CopyError; ESTALE where the name leads elsewhere by now.
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

    def _opened(self, file: File, pair: Pair, found: os.stat_result, held: ExitStack) -> Target:
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

    def _open_existing(self, file: File, pair: Pair, there: os.stat_result, held: ExitStack) -> Target | None:
        """None where it is to be removed instead."""
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

    def _make(self, file: File, pair: Pair, found: os.stat_result, held: ExitStack) -> Target:
        mode = PRIVATE | (0 if self._kept.owners else stat.S_IMODE(found.st_mode) & 0o777)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = Target(os.open(file.target, flags, mode, dir_fd=pair.target), new=True)
        held.enter_context(self._writers.alone(target.found))
        return target


def _existing(file: File, pair: Pair, found: os.stat_result) -> os.stat_result | None:
    """What has the name of the destination, if it may be written over; None where nothing has."""
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
