"""System calls by name on things by kind, and everything that can be seen after them.

For tests that expect of a mount whatever a local directory does: the same case is
performed in two directories and what came of it is compared.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.kernel import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    UTIME_NOW,
    UTIME_OMIT,
    renameat2,
    utimensat,
)

AGED = 1_000_000_000
"""The time everything is given before a case: 2001. What is later was set by the case."""

OWN_UMASK = 0o022

Outcome = object
"""A system call's result, or the name of its errno."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Something a path leads to: how it is made, and the path (relative to the case's directory)."""

    name: str
    path: str
    make: Callable[[str], None]


def _nothing(_name: str) -> None:
    pass


def _file(name: str, mode: int = 0o644, content: bytes = b"content") -> None:
    with open(name, "wb") as file:
        file.write(content)
    os.chmod(name, mode)


def _full(name: str) -> None:
    os.mkdir(name)
    _file(f"{name}/inner")


def _to_file(name: str) -> None:
    _file(f"{name}target")
    os.symlink(f"{name}target", name)


def _to_directory(name: str) -> None:
    os.mkdir(f"{name}target")
    os.symlink(f"{name}target", name)


def _dangling(name: str) -> None:
    os.symlink(f"{name}nowhere", name)


def _loop(name: str) -> None:
    os.symlink(name, name)


def _linked(name: str) -> None:
    _file(name)
    os.link(name, f"{name}twin")


def _long(count: int) -> Callable[[str], None]:
    def make(_name: str) -> None:
        _file("n" * count)

    return make


def kinds(name: str) -> list[Kind]:
    """What a path may lead to, each under ``name`` in the case's directory."""
    simple: dict[str, Callable[[str], None]] = {
        "missing": _nothing,
        "file": _file,
        "empty file": lambda path: _file(path, content=b""),
        "read-only file": lambda path: _file(path, 0o444),
        "hard link": _linked,
        "empty directory": os.mkdir,
        "full directory": _full,
        "link to file": _to_file,
        "link to directory": _to_directory,
        "dangling link": _dangling,
        "loop": _loop,
    }
    found = [Kind(kind, name, make) for kind, make in simple.items()]
    for kind in ("missing", "file", "empty directory", "link to directory", "dangling link", "loop"):
        found.append(Kind(f"{kind}/", f"{name}/", simple[kind]))
    for kind in ("missing", "file", "empty directory", "full directory", "link to directory", "loop"):
        found.append(Kind(f"{kind}/inner", f"{name}/inner", simple[kind]))
    return found


LONG = [
    Kind("a new name of 255 bytes", "n" * 255, _nothing),
    Kind("a name of 255 bytes", "n" * 255, _long(255)),
    Kind("a name of 256 bytes", "n" * 256, _nothing),
    Kind("a directory's name of 256 bytes", "n" * 256 + "/inner", _nothing),
    Kind("a path of 4095 bytes", "./" * 2047 + "s", lambda _name: _file("s")),
    Kind("a new path of 4095 bytes", "./" * 2047 + "s", _nothing),
    Kind("a path of 4096 bytes", "./" * 2047 + "ss", lambda _name: _file("ss")),
]

ODD = [
    Kind("an empty path", "", _nothing),
    Kind("dot", ".", _nothing),
    Kind("a directory's dot", "odd/.", lambda _name: os.mkdir("odd")),
    Kind("dot-dot within", "odd/..", lambda _name: os.mkdir("odd")),
    Kind("an inner file past dot-dot", "odd/../f", lambda _name: (os.mkdir("odd"), _file("f"))[0]),
]


def _opening(flags: int) -> Callable[[str], Outcome]:
    def call(path: str) -> Outcome:
        fd = os.open(path, flags, 0o640)
        try:
            status = os.fstat(fd)
            wrote = None
            if flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_PATH:
                wrote = os.write(fd, b"by the test")
            return stat.S_IFMT(status.st_mode), stat.S_ISREG(status.st_mode) and status.st_size, wrote
        finally:
            os.close(fd)

    return call


def _accessing(mask: int) -> Callable[[str], Outcome]:
    return lambda path: os.access(path, mask, effective_ids=True)


def _seen(status: os.stat_result) -> Outcome:
    size = None if stat.S_ISDIR(status.st_mode) else status.st_size
    return stat.filemode(status.st_mode), status.st_uid, status.st_gid, size, int(status.st_mtime)


def _chdir(path: str) -> None:
    """There and back."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir(path)
        os.fchdir(here)
    finally:
        os.close(here)


ONE_PATH: dict[str, Callable[[str], Outcome]] = {
    "stat": lambda path: _seen(os.stat(path)),
    "lstat": lambda path: _seen(os.lstat(path)),
    "readlink": os.readlink,
    "listdir": lambda path: sorted(os.listdir(path)),
    "chdir": _chdir,
    "access read": _accessing(os.R_OK),
    "access write": _accessing(os.W_OK),
    "access execute": _accessing(os.X_OK),
    "access exist": _accessing(os.F_OK),
    "open read": _opening(os.O_RDONLY),
    "open write": _opening(os.O_WRONLY),
    "open append": _opening(os.O_WRONLY | os.O_APPEND),
    "open read and write": _opening(os.O_RDWR),
    "open truncate": _opening(os.O_WRONLY | os.O_TRUNC),
    "open read and truncate": _opening(os.O_RDONLY | os.O_TRUNC),
    "open create": _opening(os.O_WRONLY | os.O_CREAT),
    "open create to read": _opening(os.O_RDONLY | os.O_CREAT),
    "open create and truncate": _opening(os.O_RDWR | os.O_CREAT | os.O_TRUNC),
    "open exclusive": _opening(os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "open exclusive without following": _opening(os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW),
    "open without following": _opening(os.O_RDONLY | os.O_NOFOLLOW),
    "open create without following": _opening(os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW),
    "open directory": _opening(os.O_RDONLY | os.O_DIRECTORY),
    "open directory without following": _opening(os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW),
    "open path": _opening(os.O_PATH),
    "open path without following": _opening(os.O_PATH | os.O_NOFOLLOW),
    "open unnamed": _opening(os.O_WRONLY | os.O_TMPFILE),
    "mkdir": lambda path: os.mkdir(path, 0o751),
    "mkdir sticky": lambda path: os.mkdir(path, 0o1777),
    "rmdir": os.rmdir,
    "unlink": os.unlink,
    "mkfifo": lambda path: os.mkfifo(path, 0o640),
    "mknod file": lambda path: os.mknod(path, stat.S_IFREG | 0o640),
    "mknod socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o640),
    "mknod device": lambda path: os.mknod(path, stat.S_IFCHR | 0o640, os.makedev(1, 3)),
    "symlink": lambda path: os.symlink("pointee", path),
    "symlink long": lambda path: os.symlink("t" * 4095, path),
    "symlink too long": lambda path: os.symlink("t" * 4096, path),
    "symlink to nothing": lambda path: os.symlink("", path),
    "truncate shorter": lambda path: os.truncate(path, 3),
    "truncate same": lambda path: os.truncate(path, 7),
    "truncate longer": lambda path: os.truncate(path, 100_000),
    "truncate to nothing": lambda path: os.truncate(path, 0),
    "truncate below nothing": lambda path: os.truncate(path, -1),
    "chmod": lambda path: os.chmod(path, 0o701),
    "chmod special bits": lambda path: os.chmod(path, 0o7755),
    "chmod same": lambda path: os.chmod(path, stat.S_IMODE(os.stat(path).st_mode)),
    "chown": lambda path: os.chown(path, 1234, 2345),
    "chown owner": lambda path: os.chown(path, 1234, -1),
    "chown group": lambda path: os.chown(path, -1, 2345),
    "chown nothing": lambda path: os.chown(path, -1, -1),
    "lchown": lambda path: os.lchown(path, 1234, 2345),
    "utime": lambda path: os.utime(path, (1_200_000_001, 1_200_000_002)),
    "utime of the link": lambda path: os.utime(path, (1_200_000_001, 1_200_000_002), follow_symlinks=False),
    "utime now": lambda path: os.utime(path),
    "utime 1970": lambda path: os.utime(path, (0, 0)),
    "utime 2106": lambda path: os.utime(path, (2**32 - 1, 2**32 - 1)),
    "utime atime alone": lambda path: utimensat(path, (1_200_000_001, 0), (0, UTIME_OMIT)),
    "utime mtime alone": lambda path: utimensat(path, (0, UTIME_OMIT), (1_200_000_002, 0)),
    "utime one now": lambda path: utimensat(path, (0, UTIME_NOW), (1_200_000_002, 0)),
    "utime of nothing": lambda path: utimensat(path, (0, UTIME_OMIT), (0, UTIME_OMIT)),
    "utime of half a second too many": lambda path: utimensat(path, (0, 1_500_000_000), (0, 0)),
    "statvfs": lambda path: os.statvfs(path).f_namemax,
    "getxattr": lambda path: os.getxattr(path, "user.test"),
    "listxattr": lambda path: [name for name in os.listxattr(path) if name.startswith("user.")],
    "setxattr": lambda path: os.setxattr(path, "user.test", b"value"),
}

TWO_PATHS: dict[str, Callable[[str, str], Outcome]] = {
    "rename": os.rename,
    "rename noreplace": lambda old, new: renameat2(old, new, RENAME_NOREPLACE),
    "rename exchange": lambda old, new: renameat2(old, new, RENAME_EXCHANGE),
    "link": lambda old, new: os.link(old, new, follow_symlinks=False),
    "link following": lambda old, new: os.link(old, new, follow_symlinks=True),
}


def outcome(call: Callable[..., Outcome], *paths: str) -> Outcome:
    """What the call returned, or its errno's name."""
    try:
        return call(*paths)
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, problem.errno)


def names_below(directory: str = ".") -> Iterator[str]:
    """Every name below, directories before what they hold."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        yield entry.path
        if entry.is_dir(follow_symlinks=False):
            yield from names_below(entry.path)


def age(directory: str = ".") -> None:
    """Make everything look untouched since 2001."""
    for path in names_below(directory):
        os.utime(path, (AGED, AGED), follow_symlinks=False)
    os.utime(directory, (AGED, AGED))


def seen_below(directory: str = ".") -> dict[str, Outcome]:
    """Every name with all that a program may see of it; of times whether they moved, not to when."""
    found = {}
    for path in [directory, *names_below(directory)]:
        status = os.lstat(path)
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                content = file.read()
        mtime = int(status.st_mtime)
        found[os.path.normpath(path)] = (
            stat.filemode(status.st_mode),
            status.st_uid,
            status.st_gid,
            None if stat.S_ISDIR(status.st_mode) else (status.st_nlink, status.st_size, content),
            "now" if mtime > 1_300_000_000 and mtime < 2**32 - 1 else mtime,
        )
    return found


def unlike(seen: dict[str, Outcome], wanted: dict[str, Outcome]) -> Iterator[str]:
    """What of the things seen is otherwise."""
    for name in sorted(seen.keys() | wanted.keys()):
        if seen.get(name) != wanted.get(name):
            yield f"{name} is {seen.get(name)}, expected {wanted.get(name)}"


@contextmanager
def within(directory: Path) -> Iterator[None]:
    """The body with ``directory`` as its working directory and a known umask."""
    before, mask = os.open(".", os.O_RDONLY | os.O_DIRECTORY), os.umask(OWN_UMASK)
    try:
        os.chdir(directory)
        yield
    finally:
        os.fchdir(before)
        os.close(before)
        os.umask(mask)
