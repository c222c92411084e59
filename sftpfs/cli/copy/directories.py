"""The directories that a copy goes through, each as a pair of descriptors: of the source, and of the
destination.

Every name is looked up in such a descriptor, never by a path. So nothing that is swapped in meanwhile leads
elsewhere, however deep it is. Owns the descriptors: a bounded number, which are opened again as they are
needed.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sftpfs.cli.copy.tree_stream import TreeStream

MOST_OPEN = 64
"""Pairs kept open beside those in use. A process may have 1024 descriptors, and copying files takes some."""

KEPT_ABOVE = MOST_OPEN // 2
"""How many directories above one that is opened again stay open, too."""

DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags to open a directory only to look names up in it: the mount is not asked."""


class DirectoryPair(NamedTuple):
    """Descriptors of one directory."""

    source: int
    target: int

    def close(self) -> None:
        """Both."""
        os.close(self.source)
        os.close(self.target)


class Taker(NamedTuple):
    """Takes what is new in one directory: the mount that it is in, and its inode number there."""

    stream: TreeStream
    number: int


class Directory:
    """One directory of the walk: ``source`` and ``target`` are its names in those of ``parent``.

    A named source has a parent that is only there to look names up: the working directory, and the directory
    that it goes to (``root``). There ``source`` and ``target`` are paths, as typed.

    INVARIANT: ``unfinished`` counts what must end before the directory gets its mode and times: its own walk,
    its files, its directories.
    """

    __slots__ = (
        "entered",
        "found",
        "linked",
        "made",
        "parent",
        "root",
        "source",
        "taker",
        "target",
        "unfinished",
    )

    def __init__(
        self, parent: Directory | None, source: str, target: str, found: os.stat_result | None = None
    ) -> None:
        self.parent = parent
        self.source = source
        self.target = target
        self.found = found
        """What the source was when it was met."""
        self.root: DirectoryPair | None = None
        """Open as long as its named source is copied."""
        self.entered = False
        """It is in the destination."""
        self.made = False
        """It was not there before."""
        self.linked: frozenset[str] = frozenset()
        """Names in the destination that share their file with others, which inode numbers may not tell."""
        self.taker: Taker | None = None
        """Who takes what is new in it; None if that goes through the kernel."""
        self.unfinished = 1

    def source_path(self, name: str = "") -> str:
        """The path of ``name`` in it, for a person."""
        return self._path("source", name)

    def target_path(self, name: str = "") -> str:
        """As ``source_path``, in the destination."""
        return self._path("target", name)

    def _path(self, side: str, name: str) -> str:
        names = [name] if name else []
        at: Directory | None = self
        while at is not None:
            names.append(getattr(at, side))
            at = at.parent
        return os.path.join(*reversed(names))


class _Held:
    __slots__ = ("pair", "users")

    def __init__(self, pair: DirectoryPair) -> None:
        self.pair = pair
        self.users = 1


class DirectoryCache:
    """The open pairs. Used by many threads.

    INVARIANT: at most MOST_OPEN pairs that nobody uses, those used longest ago first in ``_held``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[Directory, _Held] = OrderedDict()

    @contextmanager
    def opened(self, directory: Directory) -> Iterator[DirectoryPair]:
        """Its descriptors, open until the block ends. Raises OSError if it no longer exists."""
        if directory.root is not None:
            yield directory.root
            return
        held = self._use(directory, None) or self._open(directory)
        try:
            yield held.pair
        finally:
            self._release(held)

    def add(self, directory: Directory, pair: DirectoryPair) -> None:
        """``pair`` was opened for ``directory``."""
        held = self._use(directory, pair)
        assert held is not None
        self._release(held)

    def forget(self, directory: Directory) -> None:
        """It is finished: nobody uses it."""
        with self._lock:
            held = self._held.pop(directory, None)
        if held is not None:
            held.pair.close()

    def close(self) -> None:
        """Nothing is used any more."""
        for directory in list(self._held):
            self.forget(directory)

    def _use(self, directory: Directory, pair: DirectoryPair | None) -> _Held | None:
        """What is open of it, otherwise ``pair``; None if there is neither."""
        with self._lock:
            held = self._held.get(directory)
            if held is not None:
                held.users += 1
                self._held.move_to_end(directory)
            elif pair is not None:
                held = self._held[directory] = _Held(pair)
                pair = None
        if pair is not None:  # another thread was quicker
            pair.close()
        return held

    def _release(self, held: _Held) -> None:
        with self._lock:
            held.users -= 1
            closing = self._surplus()
        for pair in closing:
            pair.close()

    def _surplus(self) -> list[DirectoryPair]:
        """Takes out the pairs that nobody uses and that are too many."""
        idle = [directory for directory, held in self._held.items() if not held.users]
        return [self._held.pop(directory).pair for directory in idle[: max(0, len(idle) - MOST_OPEN)]]

    def _open(self, directory: Directory) -> _Held:
        """Down from the next directory above that is open, one name at a time; to be released.

        The last ones on the way are kept: who comes back from below needs them next.
        """
        names: list[Directory] = []
        at = directory
        pair: DirectoryPair | None = None
        while pair is None:
            names.append(at)
            assert at.parent is not None  # a root is open
            at = at.parent
            pair = self._copy(at)
        held: _Held | None = None
        for left, each in zip(range(len(names), 0, -1), reversed(names), strict=True):
            try:
                below = open_pair(pair, each.source, each.target)
            finally:
                if held is None:
                    pair.close()
                else:
                    self._release(held)
            held = self._use(each, below) if left <= KEPT_ABOVE else None
            pair = below if held is None else held.pair
        assert held is not None
        return held

    def _copy(self, directory: Directory) -> DirectoryPair | None:
        """Duplicates of its descriptors, if it is open."""
        with self._lock:
            held = self._held.get(directory)
            pair = directory.root or (held.pair if held is not None else None)
            return DirectoryPair(os.dup(pair.source), os.dup(pair.target)) if pair is not None else None


def open_pair(above: DirectoryPair, source: str, target: str) -> DirectoryPair:
    """A directory of ``above``: no link is followed on either side. Raises OSError."""
    opened = os.open(source, DIRECTORY | os.O_NOFOLLOW, dir_fd=above.source)
    try:
        return DirectoryPair(opened, open_target(above, target))
    except BaseException:
        os.close(opened)
        raise


def open_target(above: DirectoryPair, name: str) -> int:
    """The directory ``name`` of the destination; NotADirectoryError for a link, too."""
    try:
        return os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=above.target)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        raise
