"""Watches the kernel's requests one by one while somebody looks, at no cost otherwise.

The handlers are wrapped on the instance of ``Operations`` when the first watcher comes, and unwrapped when
the last one goes. Owns nothing of the requests themselves.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyfuse3 import FUSEError, SetattrFields

from sftpfs import clock
from sftpfs.fuse.operations import Operations
from sftpfs.types import Operation, RunningOperation
from sftpfs.vfs.filesystem import Filesystem
from sftpfs.vfs.tree.inode import Inode

ACCESS_WORDS = {os.O_RDONLY: "read", os.O_WRONLY: "write", os.O_RDWR: "read and write"}

Watcher = Callable[[Operation], None]
Arguments = tuple[Any, ...]
Description = tuple[str, str]
"""Path from the root of the mount, and what else a person wants to know."""


class Tracer:
    """Reports to watchers every request of the kernel's that is about a file.

    INVARIANT: the handlers are wrapped exactly while ``_watchers`` is not empty; ``_running`` are the
    requests that came since then and are not answered.
    """

    def __init__(self, operations: Operations, filesystem: Filesystem) -> None:
        self._operations = operations
        self._tree = filesystem.tree
        self._watchers: list[Watcher] = []
        self._running: dict[int, tuple[str, Description, float]] = {}
        self._numbers = itertools.count()
        self._describe: dict[str, Callable[[Arguments], Description]] = {
            "lookup": lambda a: (self._child(a[0], a[1]), ""),
            "getattr": lambda a: (self._path(a[0]), ""),
            "setattr": lambda a: (self._path(a[0]), changes(a[1], a[2])),
            "readlink": lambda a: (self._path(a[0]), ""),
            "mknod": lambda a: (self._child(a[0], a[1]), f"mode {a[2]:o}"),
            "mkdir": lambda a: (self._child(a[0], a[1]), f"mode {a[2]:o}"),
            "unlink": lambda a: (self._child(a[0], a[1]), ""),
            "rmdir": lambda a: (self._child(a[0], a[1]), ""),
            "symlink": lambda a: (self._child(a[0], a[1]), f"to {os.fsdecode(a[2])}"),
            "rename": lambda a: (self._child(a[0], a[1]), f"to {self._child(a[2], a[3])}"),
            "link": lambda a: (self._path(a[0]), f"as {self._child(a[1], a[2])}"),
            "open": lambda a: (self._path(a[0]), f"to {ACCESS_WORDS.get(a[1] & os.O_ACCMODE, '?')}"),
            "create": lambda a: (self._child(a[0], a[1]), f"mode {a[2]:o}"),
            "read": lambda a: (self._opened(a[0]), f"{a[2]} bytes at {a[1]}"),
            "write": lambda a: (self._opened(a[0]), f"{len(a[2])} bytes at {a[1]}"),
            "flush": lambda a: (self._opened(a[0]), ""),
            "fsync": lambda a: (self._opened(a[0]), ""),
            "release": lambda a: (self._opened(a[0]), ""),
            "opendir": lambda a: (self._path(a[0]), ""),
            "readdir": lambda a: (self._opened(a[0]), f"from {a[1]}"),
            "releasedir": lambda a: (self._opened(a[0]), ""),
            "statfs": lambda a: ("/", ""),
            "access": lambda a: (self._path(a[0]), f"mask {a[1]:o}"),
        }

    @contextmanager
    def watching(self, watcher: Watcher) -> Iterator[None]:
        """``watcher`` is called with every request answered meanwhile; it must not raise."""
        if not self._watchers:
            for name in self._describe:
                setattr(self._operations, name, self._traced(name, getattr(self._operations, name)))
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)
            if not self._watchers:
                for name in self._describe:
                    delattr(self._operations, name)
                self._running.clear()

    def running(self) -> list[RunningOperation]:
        """The requests that wait for an answer, the oldest first."""
        now = clock.awake()
        return [
            RunningOperation(name, path, detail, now - begun)
            for name, (path, detail), begun in self._running.values()
        ]

    def _traced(self, name: str, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        describe = self._describe[name]

        async def call(*arguments: Any) -> Any:
            number, description, begun = next(self._numbers), describe(arguments), clock.awake()
            self._running[number] = (name, description, begun)
            outcome = "no answer"
            try:
                result = await handler(*arguments)
                outcome = outcome_of(name, result)
                return result
            except FUSEError as problem:
                outcome = errno.errorcode.get(problem.errno, str(problem.errno))
                raise
            finally:
                self._running.pop(number, None)
                taken = clock.awake() - begun
                event = Operation(clock.wall() - taken, name, *description, outcome, taken)
                for watcher in list(self._watchers):
                    watcher(event)

        return call

    def _shown(self, inode: Inode | None) -> str:
        path = self._tree.path(inode) if inode is not None else None
        if path is None:
            return "(removed)"
        root = self._tree.root_path.rstrip(b"/")
        return os.fsdecode(path[len(root) :] or b"/")

    def _path(self, number: int) -> str:
        return self._shown(self._tree.find(number))

    def _child(self, number: int, name: bytes) -> str:
        return f"{self._path(number).rstrip('/')}/{os.fsdecode(name)}"

    def _opened(self, handle: int) -> str:
        return self._shown(self._operations.inode_of(handle))


def changes(attributes: Any, fields: SetattrFields) -> str:
    """What a setattr changes."""
    words = []
    if fields.update_size:
        words.append(f"size {attributes.st_size}")
    if fields.update_mode:
        words.append(f"mode {attributes.st_mode & 0o7777:o}")
    if fields.update_uid or fields.update_gid:
        words.append("owner")
    if fields.update_atime or fields.update_mtime:
        words.append("times")
    return ", ".join(words)


def outcome_of(name: str, result: Any) -> str:
    """What the kernel was answered, in a word."""
    if name == "read":
        return str(len(result))
    if name == "write":
        return str(result)
    if name == "lookup" and result.st_ino == 0:
        return "ENOENT"
    return "ok"
