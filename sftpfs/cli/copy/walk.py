"""The walk through what is copied: named sources and everything below, made in the destination as the walk
meets it.

Owns the set of directories that the run came through. Works by descriptors (``cli.copy.directories``): below
the destination that was typed it follows no link to a directory, on either side, and it writes nothing into a
directory that is being copied.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import NamedTuple, Protocol

from sftpfs.cli.copy.directories import DIRECTORY, Directory, DirectoryCache, DirectoryPair, open_target
from sftpfs.cli.copy.hand_over import HandOver
from sftpfs.cli.copy.metadata import keep
from sftpfs.cli.copy.offload import CopyOffload
from sftpfs.cli.copy.target import CopyError, File, Preserve

MADE_TOGETHER = 64
"""Directories made side by side, if a mount makes them: a tree takes some round trips for its depth, and not
one for each directory. So many of the walk's are known at once, and of a wide tree far more wait anyway."""


class NamedSource(NamedTuple):
    """A source that was named, and where it goes: ``name`` in ``directory``. Paths as typed."""

    source: str
    directory: str
    name: str


class Options(NamedTuple):
    """What a command line asks for."""

    recursive: bool = False
    follow: bool = True
    """Of links that are named, what they lead to is copied."""
    verbose: bool = False
    kept: Preserve = Preserve()


class Run(Protocol):
    """Carries out what the walk finds."""

    problems: list[str]

    @property
    def stopped(self) -> bool:
        """Nothing more is to be begun."""

    def guarded(self, path: Callable[[], str]) -> AbstractContextManager[None]:
        """Makes an error in the block a problem of the run; of ``path``, unless the error names another."""

    def met(self, file: File) -> None:
        """Copies ``file`` at some time, and then calls ``Walk.finish`` for its directory."""

    def say(self, source: str, target: str) -> None:
        """``source`` was copied to ``target``."""


class Walk:
    """Goes through what is to be copied, in one thread. All threads may call ``finish``.

    INVARIANT: a directory gets its mode and times once, after everything in it is done.
    """

    def __init__(
        self, options: Options, server: CopyOffload, places: DirectoryCache, mounts: HandOver, run: Run
    ) -> None:
        self._options = options
        self._server = server
        self._mounts = mounts
        self._places = places
        self._run = run
        self._lock = threading.Lock()
        self._walked: set[tuple[int, int]] = set()
        """Device and inode number of each source directory."""
        self._made: set[tuple[int, int]] = set()
        """As ``_walked``, of the directories this run made: they are nothing to copy."""
        self._roots: dict[str, Directory] = {}
        """By the path of the destination's directory."""

    def named(self, named: NamedSource, several: bool) -> None:
        """Walks everything of one named source, one of ``several``."""
        root = self._root(named, several)
        try:
            found = os.stat(named.source, follow_symlinks=self._options.follow)
        except OSError as problem:
            raise CopyError(problem, f"cannot stat '{named.source}'") from None
        if not stat.S_ISDIR(found.st_mode):
            self._file(root, named.source, named.name, found)
        elif self._options.recursive:
            _refuse_into_itself(root, named, found)
            self._server.refresh(root.target_path(named.name))
            assert root.root is not None
            root.taker = self._mounts.taker(found, root.root.target)
            self._tree(Directory(root, named.source, named.name, found))
        else:
            raise CopyError(0, f"-r not specified; omitting directory '{named.source}'")

    def finish(self, directory: Directory | None) -> None:
        """One task less in ``directory``. After the last one it gets its mode and times, and so on
        upwards."""
        while directory is not None and directory.root is None:
            with self._lock:
                directory.unfinished -= 1
                if directory.unfinished:
                    return
            with self._run.guarded(directory.target_path):
                self._give(directory)
            self._places.forget(directory)
            directory = directory.parent

    def close(self) -> None:
        """Everything is finished, or never will be."""
        self._places.close()
        for root in self._roots.values():
            assert root.root is not None
            root.root.close()

    # -- down --------------------------------------------------------------------------------

    def _root(self, named: NamedSource, several: bool) -> Directory:
        """Where the names of a named source are looked up. Links on the way are followed."""
        root = self._roots.get(named.directory)
        if root is None:
            root = Directory(None, "", named.directory)
            try:
                there = os.open(named.directory or ".", DIRECTORY)
            except OSError as problem:
                raise CopyError(
                    problem, f"cannot create regular file '{root.target_path(named.name)}'"
                ) from None
            root.root = DirectoryPair(os.open(".", DIRECTORY), there)
            self._roots[named.directory] = root
            root.linked = self._linked(root) if several else frozenset()
        return root

    def _tree(self, top: Directory) -> None:
        """Walks everything in ``top``, without recursion: directories may be nested deeper than any stack."""
        waiting = [top]
        while waiting and not self._run.stopped:
            together = waiting[-MADE_TOGETHER:]
            del waiting[-MADE_TOGETHER:]
            made = self._mounts.directories(together)
            for directory in together:
                if self._run.stopped:
                    return
                with self._run.guarded(directory.source_path):
                    self._enter(directory, made.get(directory))
                    self._list(directory, waiting)
                self.finish(directory)

    def _enter(self, directory: Directory, made: bool | OSError | None) -> None:
        """Makes it in the destination, and opens it on both sides. ``made``: what came of making it, if that
        was tried."""
        assert directory.parent is not None
        with self._places.opened(directory.parent) as above:
            try:
                source = os.open(directory.source, DIRECTORY | os.O_NOFOLLOW, dir_fd=above.source)
            except OSError as problem:
                raise CopyError(problem, f"cannot access '{directory.source_path()}'") from None
            try:
                self._check_source(directory, os.fstat(source))
                directory.made = self._make(directory, above) if made is None else _made(directory, made)
                target = _open_made(directory, above)
            except BaseException:
                os.close(source)
                raise
        # Once added, others that need descriptors may close them
        there = os.fstat(target)
        directory.taker = self._mounts.taker(os.fstat(source), target)
        self._places.add(directory, DirectoryPair(source, target))
        self._check_target(directory, there)
        directory.entered = True
        if not directory.made:
            directory.linked = self._linked(directory)
        elif self._options.verbose:
            self._run.say(directory.source_path(), directory.target_path())

    def _make(self, directory: Directory, above: DirectoryPair) -> bool:
        """Returns False if it existed."""
        assert directory.found is not None
        mode = 0 if self._options.kept.owners else stat.S_IMODE(directory.found.st_mode) & 0o777
        try:
            os.mkdir(directory.target, 0o700 | mode, dir_fd=above.target)
        except FileExistsError:
            return False
        except OSError as problem:
            raise CopyError(problem, f"cannot create directory '{directory.target_path()}'") from None
        return True

    def _check_source(self, directory: Directory, found: os.stat_result) -> None:
        key = found.st_dev, found.st_ino
        if key in self._made:
            raise _into_itself(directory.source_path(), directory.target_path())
        self._walked.add(key)
        above = directory.parent.found if directory.parent is not None else None
        if above is not None and above.st_dev != found.st_dev:  # another mount begins here
            self._server.refresh(directory.source_path())

    def _check_target(self, directory: Directory, there: os.stat_result) -> None:
        """Refuses to write into what is being copied, however it came to be there."""
        key = there.st_dev, there.st_ino
        if key in self._walked:
            raise _into_itself(directory.source_path(), directory.target_path())
        if directory.made:
            self._made.add(key)

    def _linked(self, directory: Directory) -> frozenset[str]:
        """Names in the destination that share their file with others: a mount tells in its listings only."""
        with self._places.opened(directory) as pair:
            if not self._server.serves(os.fstat(pair.target).st_dev):
                return frozenset()
            listed = _open_to_list(pair.target)
        try:
            with os.scandir(listed) as entries:
                return frozenset(entry.name for entry in entries if _has_names(entry))
        except OSError:
            return frozenset()  # what cannot be listed may be written to all the same
        finally:
            os.close(listed)

    # -- what is in it -----------------------------------------------------------------------

    def _list(self, directory: Directory, waiting: list[Directory]) -> None:
        """Gives its files to the threads that copy, and its directories to ``waiting``."""
        with self._places.opened(directory) as pair:
            try:
                listed = _open_to_list(pair.source)
            except OSError as problem:
                raise CopyError(problem, f"cannot access '{directory.source_path()}'") from None
        try:
            with os.scandir(listed) as entries:
                for entry in entries:
                    if self._run.stopped:
                        return
                    with self._run.guarded(partial(directory.source_path, entry.name)):
                        self._entry(directory, entry, waiting)
        finally:
            os.close(listed)

    def _entry(self, directory: Directory, entry: os.DirEntry[str], waiting: list[Directory]) -> None:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError as problem:
            raise CopyError(problem, f"cannot stat '{directory.source_path(entry.name)}'") from None
        if stat.S_ISDIR(found.st_mode):
            with self._lock:
                directory.unfinished += 1
            waiting.append(Directory(directory, entry.name, entry.name, found))
        else:
            self._file(directory, entry.name, entry.name, found)

    def _file(self, directory: Directory, source: str, target: str, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
            raise CopyError(0, f"'{directory.source_path(source)}' is no file, directory or link")
        with self._lock:
            directory.unfinished += 1
        follow = directory.root is not None and self._options.follow
        self._run.met(File(directory, source, target, follow, found))

    def _give(self, directory: Directory) -> None:
        if not directory.entered or self._run.stopped:
            return
        assert directory.found is not None
        owners = self._options.kept.owners
        with self._places.opened(directory) as pair:
            lost = keep(pair.target, directory.found, owners=owners, asked=owners)
        if lost:
            self._run.problems.append(f"copied, but {lost}: '{directory.target_path()}'")


def _made(directory: Directory, made: bool | OSError) -> bool:
    if isinstance(made, OSError):
        raise CopyError(made, f"cannot create directory '{directory.target_path()}'")
    return made


def _open_made(directory: Directory, above: DirectoryPair) -> int:
    try:
        return open_target(above, directory.target)
    except NotADirectoryError:
        source, target = directory.source_path(), directory.target_path()
        raise CopyError(0, f"cannot overwrite non-directory '{target}' with directory '{source}'") from None
    except OSError as problem:
        raise CopyError(problem, f"cannot access '{directory.target_path()}'") from None


def _open_to_list(directory: int) -> int:
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)


def _has_names(entry: os.DirEntry[str]) -> bool:
    """More than one, as far as is told."""
    try:
        return entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_nlink > 1
    except OSError:
        return False


def _refuse_into_itself(root: Directory, named: NamedSource, found: os.stat_result) -> None:
    """A directory is not copied to itself or below."""
    path = os.path.realpath(root.target_path(named.name))
    while True:
        with suppress(FileNotFoundError):
            if os.path.samestat(found, os.stat(path)):
                raise _into_itself(named.source, root.target_path(named.name))
        if path == "/":
            return
        path = os.path.dirname(path)


def _into_itself(source: str, target: str) -> CopyError:
    return CopyError(0, f"cannot copy a directory, '{source}', into itself, '{target}'")
