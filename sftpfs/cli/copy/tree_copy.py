"""Copies trees as cp(1) does; the server copies the content if a mount offers that.

One thread walks (``cli.copy.walk``), many copy, because each file costs some round trips. Names, modes and
times go through the kernel like any program's. Only content is asked of the mount, by inode numbers, while
the destination is held open. Owns the threads and the counts; shows nothing.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest

from sftpfs.cli.copy import way
from sftpfs.cli.copy.content import ContentCopier, SmallFile, read_small
from sftpfs.cli.copy.directories import Directory, DirectoryCache, DirectoryPair
from sftpfs.cli.copy.hand_over import HandOver, check, goes_again, opened
from sftpfs.cli.copy.metadata import keep, keep_of_link
from sftpfs.cli.copy.offload import CopyOffload, StoppedError
from sftpfs.cli.copy.target import CopyError, File
from sftpfs.cli.copy.tree_stream import Answer, Answered
from sftpfs.cli.copy.walk import NamedSource, Options, Walk
from sftpfs.control.tree_records import LARGEST_CONTENT

THREADS = 12
"""Files copied at once: far fewer than the clients that a mount serves, and enough for round trips to
overlap."""

MOST_QUEUED = 1000
"""Files found and not begun. A walk through millions must not hold them all in memory."""

GATHERED = 256
"""Files found before they are begun. The kernel creates files of one directory one at a time, a round trip
each, so those of several directories should be made side by side."""


class TreeCopy:
    """One run. Its counters, problems and lines may be read while it runs.

    INVARIANT: ``finished`` is set once nothing runs any more.
    """

    def __init__(self, options: Options) -> None:
        self.files_found = self.files_done = 0
        self.bytes_found = self.bytes_done = 0
        self.on_server = 0
        """Bytes of ``bytes_done`` that did not travel."""
        self.listed = False
        self.problems: list[str] = []
        """A line each, in the order met; only ever appended to."""
        self.lines: deque[str] = deque()
        """With -v a line for each copy, and each asked of a server in vain, to be taken by who shows it."""
        self.finished = threading.Event()
        self._options = options
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_QUEUED)
        self._pool = ThreadPoolExecutor(THREADS)
        self._server = CopyOffload(self._stopped, self._report)
        self._contents = ContentCopier(self._server, self._stopped, options.kept)
        self._places = DirectoryCache()
        self._mounts = HandOver(self._server, options.kept, recursive=options.recursive)
        self._walk = Walk(options, self._server, self._places, self._mounts, self)
        self._gathered: dict[Directory, list[File]] = {}
        self._count = 0
        self._begun = 0
        self._quiet = threading.Condition(self._lock)
        """All that was begun is done."""
        self._walker = threading.Thread(target=self._run)
        self._named: list[NamedSource] = []

    def start(self, named: list[NamedSource]) -> None:
        """Copy each of ``named``; once."""
        self._named = named
        self._walker.start()

    def stop(self) -> None:
        """Ends soon, finished or not, and waits for the threads. What was being copied is then removed."""
        self._stopped.set()
        self._mounts.withdraw()
        if self._walker.ident is not None:
            self._walker.join()

    # -- for the walk ------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Nothing more is to be begun."""
        return self._stopped.is_set()

    @contextmanager
    def guarded(self, path: Callable[[], str]) -> Iterator[None]:
        """As ``Run.guarded``."""
        try:
            yield
        except StoppedError:
            pass
        except CopyError as problem:
            self.problems.append(f"not copied: {problem.strerror}")
        except OSError as problem:
            self.problems.append(f"not copied: '{path()}': {problem.strerror or problem}")
        except Exception as problem:  # a thread's would be lost, and the file taken for copied
            self.problems.append(f"not copied: '{path()}': internal error, please report it: {problem!r}")

    def met(self, file: File) -> None:
        """Collects ``file``, and begins when there are enough; at once if the mount makes its names."""
        with self._lock:
            self.files_found += 1
            self.bytes_found += _size(file.found)
        if file.directory.taker is not None:
            self._submit(file)
            return
        self._gathered.setdefault(file.directory, []).append(file)
        self._count += 1
        if self._count == GATHERED:
            self._begin()

    def say(self, source: str, target: str) -> None:
        """A line of -v."""
        self._report(f"'{source}' -> '{target}'")

    def _report(self, line: str) -> None:
        if self._options.verbose:
            self.lines.append(line)

    # -- the threads -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            list(self._pool.map(self._server.refresh, [named.source for named in self._named]))
            for named in self._named:
                if not self.stopped:
                    with self.guarded(partial(str, named.source)):
                        self._walk.named(named, len(self._named) > 1)
            self.listed = True
            self._begin()
        finally:
            with self._quiet:
                self._quiet.wait_for(lambda: self.files_done == self._begun)
            self._mounts.finish()
            self._pool.shutdown()
            self._walk.close()
            self.finished.set()

    def _begin(self) -> None:
        """Starts copying what was collected, files of different directories side by side."""
        for row in zip_longest(*self._gathered.values()):
            for each in row:
                if each is not None:
                    self._submit(each)
        self._gathered.clear()
        self._count = 0

    def _submit(self, file: File) -> None:
        self._room.acquire()
        self._begun += 1
        self._pool.submit(self._one, file)

    def _one(self, file: File) -> None:
        """A file or a link, in a thread of the pool."""
        handed_over = False
        try:
            if not self.stopped:
                with self.guarded(lambda: file.source_path), self._places.opened(file.directory) as pair:
                    handed_over = self._hand_over(file, pair)
                    if not handed_over:
                        self._copy(file, pair)
        finally:
            if not handed_over:
                self._done(file)

    def _done(self, file: File) -> None:
        """Nothing of ``file`` is left to do, and so perhaps of its directory."""
        self._room.release()
        self._walk.finish(file.directory)
        with self._quiet:
            self.files_done += 1
            if self.files_done == self._begun:
                self._quiet.notify_all()

    def _hand_over(self, file: File, pair: DirectoryPair) -> bool:
        """Gives ``file`` to the mount that it goes to, which answers some time. False if it must be copied
        here."""
        taker = file.directory.taker
        if taker is None or file.directory.root is not None or not way.hands_over(file.found):
            return False
        if stat.S_ISLNK(file.found.st_mode):
            leads = _leads(file, pair)
            self._mounts.link(file, taker, leads, self._answers(file, None))
            return True
        small = read_small(file, pair, LARGEST_CONTENT)
        if small is None:
            return False
        self._mounts.file(file, taker, small, self._answers(file, small))
        return True

    def _answers(self, file: File, small: SmallFile | None) -> Answered:
        """Takes the answer to what was handed over; the rest is done in a thread of the pool."""

        def answered(answer: Answer | None) -> None:
            self._pool.submit(self._answered, file, small, answer)

        return answered

    def _answered(self, file: File, small: SmallFile | None, answer: Answer | None) -> None:
        try:
            with self.guarded(lambda: file.source_path):
                if answer is None or goes_again(answer):
                    if not self.stopped:
                        with self._places.opened(file.directory) as pair:
                            self._copy(file, pair)
                else:
                    self._conclude(file, small, answer)
        finally:
            self._done(file)

    def _conclude(self, file: File, small: SmallFile | None, answer: Answer) -> None:
        """The mount has made the copy, or could not."""
        if answer.errno == errno.ETIMEDOUT:
            self._server_is_gone()
        lost = ""
        if check(file, answer):
            with self._places.opened(file.directory) as pair:
                lost = self._keep(file, pair, small)
        if small is not None:
            counted = _FileCounter(self, file.found.st_size)
            counted.complete()
            if small.changed:
                self.problems.append(f"changed while it was copied: '{file.source_path}'")
        if lost:
            self.problems.append(f"copied, but {lost}: '{file.target_path}'")
        self.say(file.source_path, file.target_path)

    def _keep(self, file: File, pair: DirectoryPair, small: SmallFile | None) -> str:
        """Gives the copy what the mount could not. Returns what could not be kept, in words."""
        owners = self._options.kept.owners
        if small is None:
            keep_of_link(pair.target, file.target, file.found, owners=owners)
            return ""
        copy = opened(file, pair)
        try:
            return keep(copy, small.before, owners=owners, asked=owners)
        finally:
            os.close(copy)

    def _server_is_gone(self) -> None:
        """It was away for as long as a mount waits: every further file would take that long once more."""
        with self._lock:
            first = not self._stopped.is_set()
            self._stopped.set()
        if first:
            self.problems.append("the server is away: what was not begun is not copied")

    def _copy(self, file: File, pair: DirectoryPair) -> None:
        if stat.S_ISLNK(file.found.st_mode):
            self._link(file, pair)
        else:
            counted = _FileCounter(self, file.found.st_size)
            try:
                said = self._contents.copy(file, pair, counted)
            finally:
                counted.complete()
            if said:
                self.problems.append(said)
        self.say(file.source_path, file.target_path)

    def _link(self, file: File, pair: DirectoryPair) -> None:
        leads = _leads(file, pair)
        try:
            _make_way(file, pair)
            try:
                os.symlink(leads, file.target, dir_fd=pair.target)
            except FileExistsError:  # a mount believed it missing, and looks again now
                _make_way(file, pair)
                os.symlink(leads, file.target, dir_fd=pair.target)
        except CopyError:
            raise
        except OSError as problem:
            raise CopyError(problem, f"cannot create symbolic link '{file.target_path}'") from None
        keep_of_link(pair.target, file.target, file.found, owners=self._options.kept.owners)


class _FileCounter:
    """What one file adds to the run's counters: in the end exactly the size that it was found with."""

    __slots__ = ("_counted", "_expected", "_run", "begun")

    def __init__(self, run: TreeCopy, expected: int) -> None:
        self.begun = False
        """The destination has perhaps lost what it had."""
        self._run = run
        self._expected = expected
        self._counted = 0

    def advance(self, done: int, *, on_server: bool = False) -> None:
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


def _leads(file: File, pair: DirectoryPair) -> str:
    try:
        return os.readlink(file.source, dir_fd=pair.source)
    except OSError as problem:
        raise CopyError(problem, f"cannot read symbolic link '{file.source_path}'") from None


def _make_way(file: File, pair: DirectoryPair) -> None:
    """Removes what has the name of a link that is to be made."""
    try:
        there = os.stat(file.target, dir_fd=pair.target, follow_symlinks=False)
    except FileNotFoundError:
        return
    if os.path.samestat(file.found, there):
        raise CopyError(0, f"'{file.source_path}' and '{file.target_path}' are the same file")
    if stat.S_ISDIR(there.st_mode):
        raise CopyError(0, f"cannot overwrite directory '{file.target_path}' with non-directory")
    os.unlink(file.target, dir_fd=pair.target)


def _size(found: os.stat_result) -> int:
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
