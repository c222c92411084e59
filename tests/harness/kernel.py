"""System calls Python has no function for, and small ways to say what a test needs."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

_libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2


class Timespec(ctypes.Structure):
    """struct timespec."""

    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _check(result: int, path: object) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(path) if path is not None else None)  # type: ignore[call-overload]


def renameat2(old: os.PathLike[str] | str, new: os.PathLike[str] | str, flags: int) -> None:
    """rename(2) with flags."""
    _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags), old)


def utimensat(
    path: os.PathLike[str] | str, atime: tuple[int, int], mtime: tuple[int, int], follow: bool = True
) -> None:
    """utimensat(2) with (seconds, nanoseconds or UTIME_NOW or UTIME_OMIT) pairs."""
    times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    flags = 0 if follow else 0x100  # AT_SYMLINK_NOFOLLOW
    _check(_libc.utimensat(AT_FDCWD, os.fsencode(path), times, flags), path)


class FileHandle(ctypes.Structure):
    """struct file_handle, with room for any."""

    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("handle", ctypes.c_ubyte * 128)]


def name_to_handle_at(path: os.PathLike[str] | str) -> FileHandle:
    """name_to_handle_at(2)."""
    handle = FileHandle(128, 0)
    _check(
        _libc.name_to_handle_at(
            AT_FDCWD, os.fsencode(path), ctypes.byref(handle), ctypes.byref(ctypes.c_int()), 0
        ),
        path,
    )
    return handle


def open_by_handle_at(mount: int, handle: FileHandle, flags: int = os.O_RDONLY) -> int:
    """open_by_handle_at(2) on the file system of descriptor ``mount``: a descriptor."""
    fd = _libc.open_by_handle_at(mount, ctypes.byref(handle), flags)
    _check(min(fd, 0), None)
    return int(fd)


@contextmanager
def fails_with(*numbers: int) -> Iterator[None]:
    """The body must raise OSError with one of ``numbers``."""
    names = "/".join(errno.errorcode[number] for number in numbers)
    try:
        yield
    except OSError as error:
        got = errno.errorcode.get(error.errno or 0, str(error.errno))
        assert error.errno in numbers, f"expected {names}, got {got}: {error}"
    else:
        raise AssertionError(f"expected {names}, nothing failed")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Run the body under another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def opened(path: os.PathLike[str] | str, flags: int, mode: int = 0o644) -> Iterator[int]:
    """A file descriptor for the body."""
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def read_all(fd: int, offset: int = 0) -> bytes:
    """Everything from ``offset`` to the end of the file."""
    parts = []
    while part := os.pread(fd, 1 << 20, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
