"""Copying trees as cp(1) does, the content by the server where a mount offers it.

One thread walks, many copy: each file costs some round trips. Names, modes and times go through the
kernel like any program's; only content is asked of the mount, by inode numbers, while the destination
is held open. Owns the counting; shows nothing.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import zip_longest

from sftpfs.cli.server_side import ServerSide, StoppedError

THREADS = 12
"""Files at once: far below the clients a mount serves, and round trips overlap well enough."""

BLOCK = 4 << 20
"""Bytes of one read and write where the data passes through here."""

MOST_QUEUED = 1000
"""Files found and not begun: a walk through millions must not be held in memory."""

GATHERED = 256
"""Files found before they are begun: the kernel creates one file of a directory at a time, a round trip
each, so that those of several directories are to be made side by side."""

PRIVATE = 0o600
"""Mode of what is under way, so that nobody reads what he may not read in the end."""


class Copying:
    """One run. The counters and problems may be read while it runs.

    INVARIANT: ``finished`` is set once nothing runs any more.
    """

    def __init__(self, *, recursive: bool, owners: bool) -> None:
        self.files_found = self.files_done = 0
        self.bytes_found = self.bytes_done = 0
        self.on_server = 0
        """Bytes of ``bytes_done`` that did not travel."""
        self.listed = False
        self.problems: list[str] = []
        """A line each, in the order met; only ever appended to."""
        self.finished = threading.Event()
        self._recursive = recursive
        self._owners = owners
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_QUEUED)
        self._pool = ThreadPoolExecutor(THREADS)
        self._server = ServerSide(self._stopped)
        self._gathered: dict[str, list[tuple[str, str, os.stat_result]]] = {}
        self._count = 0
        self._directories: list[tuple[str, os.stat_result]] = []
        self._walker = threading.Thread(target=self._run)
        self._targets: list[tuple[str, str]] = []

    def start(self, targets: list[tuple[str, str]]) -> None:
        """Copy each (source, destination); once."""
        self._targets = targets
        self._walker.start()

    def stop(self) -> None:
        """End soon, done or not, and wait for the threads: what was under way is removed then."""
        self._stopped.set()
        if self._walker.ident is not None:
            self._walker.join()

    # -- walking -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for source, destination in self._targets:
                self._guarded(source, self._top, source, destination)
            self.listed = True
            self._begin()
        finally:
            self._pool.shutdown()
            for path, found in reversed(self._directories):
                if not self._stopped.is_set():
                    self._guarded(path, self._give, path, found, path)
            self.finished.set()

    def _guarded(self, path: str, work: Callable[..., None], *arguments: object) -> None:
        """``work``; what goes wrong is a problem of ``path``, unless it says of which."""
        try:
            if not self._stopped.is_set():
                work(*arguments)
        except StoppedError:
            pass
        except _DestinationError as problem:
            self.problems.append(f"{problem.path}: {problem.strerror}")
        except OSError as problem:
            self.problems.append(f"{path}: {problem.strerror or problem}")
        except Exception as problem:  # a thread's would be lost, and the file taken for copied
            self.problems.append(f"{path}: internal error, please report it: {problem!r}")

    def _top(self, source: str, destination: str) -> None:
        """A source that was named."""
        found = os.stat(source, follow_symlinks=not self._recursive)
        if stat.S_ISDIR(found.st_mode):
            if not self._recursive:
                raise OSError(errno.EISDIR, "is a directory, and -r was not given")
            _refuse_into_itself(found, destination)
        self._entry(source, destination, found)

    def _entry(self, source: str, destination: str, found: os.stat_result) -> None:
        if stat.S_ISDIR(found.st_mode):
            self._tree(source, destination, found)
        elif stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
            with self._lock:
                self.files_found += 1
                self.bytes_found += _size(found)
            self._gathered.setdefault(os.path.dirname(destination), []).append((source, destination, found))
            self._count += 1
            if self._count == GATHERED:
                self._begin()
        else:
            raise OSError(errno.EINVAL, "no file, directory or link")

    def _begin(self) -> None:
        """Have what was gathered copied, files of different directories side by side."""
        for row in zip_longest(*self._gathered.values()):
            for each in row:
                if each is not None:
                    self._room.acquire()
                    self._pool.submit(self._one, *each)
        self._gathered.clear()
        self._count = 0

    def _tree(self, source: str, destination: str, found: os.stat_result) -> None:
        try:
            os.mkdir(destination, 0o700)
        except FileExistsError:
            if not os.path.isdir(destination):
                raise _DestinationError(
                    destination, OSError(errno.ENOTDIR, "is there and no directory")
                ) from None
        except OSError as problem:
            raise _DestinationError(destination, problem) from None
        self._directories.append((destination, found))
        with os.scandir(source) as entries:
            for entry in entries:
                self._guarded(entry.path, self._listed_entry, entry, os.path.join(destination, entry.name))

    def _listed_entry(self, entry: os.DirEntry[str], destination: str) -> None:
        self._entry(entry.path, destination, entry.stat(follow_symlinks=False))

    # -- one of them -------------------------------------------------------------------------

    def _one(self, source: str, destination: str, found: os.stat_result) -> None:
        """A file or a link, in a thread of the pool."""
        try:
            work = self._link if stat.S_ISLNK(found.st_mode) else self._file
            self._guarded(source, work, source, destination, found)
        finally:
            self._room.release()
            with self._lock:
                self.files_done += 1

    def _link(self, source: str, destination: str, found: os.stat_result) -> None:
        target = os.readlink(source)
        try:
            there = _there(destination, follow=False)
            if there is not None:
                _refuse_same(found, there, destination)
                if stat.S_ISDIR(there.st_mode):
                    raise OSError(errno.EISDIR, "is a directory")
                os.unlink(destination)
            os.symlink(target, destination)
            self._give_link(destination, found)
        except OSError as problem:
            raise _DestinationError(destination, problem) from None

    def _file(self, source: str, destination: str, found: os.stat_result) -> None:
        counted = _Counted(self, found.st_size)
        try:
            self._contents(source, destination, counted)
        except OSError as problem:
            if problem.errno != errno.ESTALE or counted.begun:
                raise
            # Its name leads elsewhere by now: an open by name makes the kernel look again.
            os.close(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            self._contents(source, destination, counted)
        finally:
            counted.complete()

    def _contents(self, source: str, destination: str, counted: _Counted) -> None:
        origin = os.open(source, os.O_PATH | os.O_CLOEXEC)  # opened only where it is to be read here
        try:
            there = _there(destination)
            if there is not None:
                _refuse_same(os.fstat(origin), there, destination)
            self._to(origin, destination, there is None, counted)
        finally:
            os.close(origin)

    def _to(self, origin: int, destination: str, new: bool, counted: _Counted) -> None:
        """Copy to ``destination``; half a file is removed."""
        create = os.O_CREAT | os.O_EXCL if new else 0
        try:
            target = os.open(destination, os.O_WRONLY | os.O_CLOEXEC | create, PRIVATE)
        except OSError as problem:
            raise _DestinationError(destination, problem) from None
        whole = False
        try:
            try:
                self._content(origin, target, destination, counted)
                whole = True
                self._give(target, os.fstat(origin), destination)
            finally:
                _close(target, destination)
        except OSError as problem:
            whole = whole and not isinstance(problem, _UnwrittenError)
            raise
        finally:
            if not whole and (new or counted.begun):
                with suppress(OSError):
                    os.unlink(os.path.realpath(destination))

    def _content(self, origin: int, target: int, destination: str, counted: _Counted) -> None:
        try:
            size = self._server.copy(origin, target, counted.told)
        except OSError as problem:
            raise _DestinationError(destination, problem) from None
        if size is None:
            counted.restart()
            size = self._through_here(origin, target, destination, counted)
        if os.fstat(target).st_size != size:
            os.ftruncate(target, size)

    def _through_here(self, origin: int, target: int, destination: str, counted: _Counted) -> int:
        """Read and write all of it; its size in bytes."""
        source = os.open(f"/proc/self/fd/{origin}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            buffer = memoryview(bytearray(BLOCK))
            done = 0
            while count := os.readv(source, [buffer]):
                if self._stopped.is_set():
                    raise StoppedError
                counted.begun = True
                try:
                    _write(target, buffer[:count])
                except OSError as problem:
                    raise _DestinationError(destination, problem) from None
                done += count
                counted.told(done)
            return done
        finally:
            os.close(source)

    def _give(self, target: int | str, found: os.stat_result, name: str) -> None:
        """Owner, mode and times of the source, to an open file or a directory: ``name`` for a person."""
        try:
            there = os.stat(target)
            owned = (there.st_uid, there.st_gid) == (found.st_uid, found.st_gid)
            if self._owners and not owned:
                with suppress(PermissionError):
                    os.chown(target, found.st_uid, found.st_gid)
                    owned = True
            mode = stat.S_IMODE(found.st_mode)
            if not owned:
                mode &= ~(stat.S_ISUID | stat.S_ISGID)  # they would be rights of somebody else
            os.chmod(target, mode)
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        except OSError as problem:
            raise _DestinationError(name, problem) from None

    def _give_link(self, path: str, found: os.stat_result) -> None:
        """As ``_give``, to a link, as far as the server can: one that cannot loses little by it."""
        with suppress(OSError):
            if self._owners:
                os.lchown(path, found.st_uid, found.st_gid)
        with suppress(OSError):
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


class _Counted:
    """What one file adds to the run's counters: in the end exactly the size it was found with."""

    __slots__ = ("_counted", "_expected", "_run", "begun")

    def __init__(self, run: Copying, expected: int) -> None:
        self.begun = False
        """The destination has perhaps lost what it had."""
        self._run = run
        self._expected = expected
        self._counted = 0

    def told(self, done: int, *, on_server: bool = False) -> None:
        """``done`` bytes of the file are copied."""
        self.begun = True
        more = min(done, self._expected) - self._counted
        with self._run._lock:
            self._run.bytes_done += more
            self._run.on_server += more * on_server
        self._counted += more

    def restart(self) -> None:
        """The server gave up: nothing counts as done."""
        with self._run._lock:
            self._run.bytes_done -= self._counted
            self._run.on_server -= self._counted
        self._counted = 0

    def complete(self) -> None:
        """Nothing of the file is left to do."""
        with self._run._lock:
            self._run.bytes_done += self._expected - self._counted
        self._counted = self._expected


class _DestinationError(OSError):
    """Something is wrong with what is written to."""

    def __init__(self, path: str, problem: OSError) -> None:
        super().__init__(problem.errno, problem.strerror)
        self.path = path


class _UnwrittenError(_DestinationError):
    """What close(2) says: some of the content is not there."""


def _write(target: int, data: memoryview) -> None:
    """All of ``data``."""
    while data:
        data = data[os.write(target, data) :]


def _close(target: int, name: str) -> None:
    try:
        os.close(target)
    except OSError as problem:
        raise _UnwrittenError(name, problem) from None


def _size(found: os.stat_result) -> int:
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _there(path: str, *, follow: bool = True) -> os.stat_result | None:
    """What has the name of a destination; None where nothing has."""
    try:
        return os.stat(path, follow_symlinks=follow)
    except FileNotFoundError:
        if follow and os.path.islink(path):
            raise _DestinationError(path, OSError(errno.ENOENT, "is a link that leads nowhere")) from None
        return None
    except OSError as problem:
        raise _DestinationError(path, problem) from None


def _refuse_same(found: os.stat_result, there: os.stat_result, destination: str) -> None:
    if os.path.samestat(found, there):
        raise OSError(errno.EINVAL, f"the same file as {destination}")
    if stat.S_ISREG(found.st_mode) and not stat.S_ISREG(there.st_mode):
        kind = "a directory" if stat.S_ISDIR(there.st_mode) else "no file"
        raise _DestinationError(destination, OSError(errno.EISDIR, f"is {kind}"))


def _refuse_into_itself(found: os.stat_result, destination: str) -> None:
    """A directory is not copied to itself or below."""
    path = os.path.realpath(destination)
    while True:
        with suppress(FileNotFoundError):
            if os.path.samestat(found, os.stat(path)):
                raise OSError(errno.EINVAL, f"a directory cannot be copied into itself, to {destination}")
        if path == "/":
            return
        path = os.path.dirname(path)
