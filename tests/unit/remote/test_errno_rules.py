"""From a status and what was seen to an errno: rows a real server is hard to bring to."""

from __future__ import annotations

import errno
import stat

import pytest

from sftpfs.errors import Status
from sftpfs.remote.outcome import errno_rules
from sftpfs.remote.outcome.errno_rules import DirectorySeen, RenameSeen
from sftpfs.types import AttributeChange, Attributes, FilesystemStatistics

FAILURE, DENIED, MISSING, BAD = (
    Status.FAILURE,
    Status.PERMISSION_DENIED,
    Status.NO_SUCH_FILE,
    Status.BAD_MESSAGE,
)


def attributes(kind: int, permissions: int = 0o755, size: int = 0) -> Attributes:
    return Attributes(kind | permissions, size, 0, 0, 0, 0)


FILE, DIRECTORY = attributes(stat.S_IFREG, size=10), attributes(stat.S_IFDIR)
LINK, SOCKET = attributes(stat.S_IFLNK), attributes(stat.S_IFSOCK)
STICKY = attributes(stat.S_IFDIR, 0o1777)

HEALTHY = FilesystemStatistics(4096, 4096, 1000, 500, 500, 100, 50, 50, 255, False)
FULL = HEALTHY._replace(bavail=0)
NO_INODES = HEALTHY._replace(ffree=0, favail=0)
UNCOUNTED = HEALTHY._replace(files=0, ffree=0, favail=0)
READ_ONLY = HEALTHY._replace(read_only=True)
OTHER = HEALTHY._replace(blocks=2000)


def place(
    statistics: FilesystemStatistics | None = HEALTHY, parent: Attributes | None = DIRECTORY
) -> DirectorySeen:
    return DirectorySeen(parent, statistics)


@pytest.mark.parametrize(
    ("status", "there", "where", "name", "expected"),
    [
        (FAILURE, FILE, place(), b"n", errno.EEXIST),
        (FAILURE, LINK, place(FULL), b"n", errno.EEXIST),
        (FAILURE, None, place(FULL), b"n", errno.ENOSPC),
        (FAILURE, None, place(NO_INODES), b"n", errno.ENOSPC),
        (FAILURE, None, place(UNCOUNTED), b"n", errno.EIO),
        (FAILURE, None, place(READ_ONLY._replace(bavail=0)), b"n", errno.EROFS),
        (FAILURE, None, place(None), b"n", errno.EIO),
        (FAILURE, None, DirectorySeen(), b"n", errno.EIO),
        (DENIED, None, place(), b"n", errno.EACCES),
        (DENIED, FILE, place(), b"n", errno.EACCES),
        (MISSING, None, place(parent=FILE), b"n", errno.ENOTDIR),
        (MISSING, None, place(parent=None), b"n", errno.ENOENT),
        (MISSING, None, place(parent=LINK), b"n", errno.ENOENT),
        (MISSING, None, place(), b"n", errno.ENOENT),
        (BAD, None, place(HEALTHY._replace(namemax=143)), b"n" * 144, errno.ENAMETOOLONG),
        (BAD, None, place(HEALTHY._replace(namemax=143)), b"n" * 143, errno.EINVAL),
        (BAD, None, place(None), b"n" * 144, errno.ENAMETOOLONG),
        (FAILURE, None, place(), b"n" * 256, errno.ENAMETOOLONG),
        (FAILURE, None, place(None), b"n" * 255, errno.EIO),
        (BAD, None, place(HEALTHY._replace(namemax=0)), b"n" * 200, errno.EINVAL),
        (Status.OP_UNSUPPORTED, None, place(), b"n", errno.EOPNOTSUPP),
        (77, None, place(FULL), b"n", errno.EIO),
    ],
)
def test_creation(
    status: int, there: Attributes | None, where: DirectorySeen, name: bytes, expected: int
) -> None:
    assert errno_rules.creation(status, there, where, name) == expected


@pytest.mark.parametrize(
    ("status", "mode", "there", "where", "expected"),
    [
        (FAILURE, "x", FILE, place(), errno.EEXIST),
        (FAILURE, "w", DIRECTORY, place(), errno.EISDIR),
        (FAILURE, "r", SOCKET, place(), errno.ENXIO),
        (FAILURE, "r", FILE, place(READ_ONLY), errno.EIO),
        (FAILURE, "w", FILE, place(READ_ONLY), errno.EROFS),
        (FAILURE, "w", FILE, place(FULL), errno.EIO),
        (FAILURE, "x", None, place(FULL), errno.ENOSPC),
        (FAILURE, "w", None, place(FULL), errno.EIO),
        (DENIED, "w", FILE, place(READ_ONLY), errno.EACCES),
        (MISSING, "r", None, DirectorySeen(), errno.ENOENT),
        (MISSING, "x", None, place(parent=FILE), errno.ENOTDIR),
    ],
)
def test_opening(
    status: int, mode: str, there: Attributes | None, where: DirectorySeen, expected: int
) -> None:
    create = exclusive = mode == "x"
    assert errno_rules.opening(status, exclusive, create, mode != "r", there, where, b"n") == expected


@pytest.mark.parametrize(
    ("status", "there", "where", "expected"),
    [
        (FAILURE, DIRECTORY, place(), errno.EISDIR),
        (DENIED, DIRECTORY, place(), errno.EISDIR),
        (DENIED, FILE, place(), errno.EACCES),
        (DENIED, FILE, place(parent=STICKY), errno.EPERM),
        (FAILURE, FILE, place(READ_ONLY), errno.EROFS),
        (FAILURE, FILE, place(FULL), errno.EIO),
        (FAILURE, None, DirectorySeen(), errno.EIO),
    ],
)
def test_removal(status: int, there: Attributes | None, where: DirectorySeen, expected: int) -> None:
    assert errno_rules.removal(status, there, where, b"n") == expected


@pytest.mark.parametrize(
    ("status", "there", "empty", "where", "expected"),
    [
        (FAILURE, DIRECTORY, False, place(), errno.ENOTEMPTY),
        (FAILURE, DIRECTORY, True, place(), errno.EBUSY),
        (FAILURE, DIRECTORY, True, place(READ_ONLY), errno.EROFS),
        (FAILURE, DIRECTORY, None, place(), errno.EIO),
        (FAILURE, FILE, None, place(), errno.ENOTDIR),
        (MISSING, FILE, None, place(), errno.ENOTDIR),
        (MISSING, None, None, place(), errno.ENOENT),
        (DENIED, DIRECTORY, False, place(parent=STICKY), errno.EPERM),
        (DENIED, DIRECTORY, False, place(), errno.EACCES),
    ],
)
def test_directory_removal(
    status: int, there: Attributes | None, empty: bool | None, where: DirectorySeen, expected: int
) -> None:
    assert errno_rules.directory_removal(status, there, empty, where, b"n") == expected


@pytest.mark.parametrize(
    ("status", "old", "new", "empty", "places", "replace", "expected"),
    [
        (FAILURE, FILE, FILE, None, (place(), place()), False, errno.EEXIST),
        (FAILURE, DIRECTORY, FILE, None, (place(), place()), True, errno.ENOTDIR),
        (MISSING, DIRECTORY, FILE, None, (place(), place()), True, errno.ENOTDIR),
        (FAILURE, FILE, DIRECTORY, None, (place(), place()), True, errno.EISDIR),
        (FAILURE, DIRECTORY, DIRECTORY, False, (place(), place()), True, errno.ENOTEMPTY),
        (FAILURE, DIRECTORY, DIRECTORY, True, (place(), place()), True, errno.EXDEV),
        (MISSING, None, FILE, None, (place(), place()), True, errno.ENOENT),
        (MISSING, FILE, None, None, (place(), place(parent=FILE)), True, errno.ENOTDIR),
        (BAD, DIRECTORY, None, None, (place(), place()), True, errno.EINVAL),
        (FAILURE, FILE, None, None, (place(), place()), True, errno.EXDEV),
        (FAILURE, FILE, None, None, (place(FULL), place(FULL)), True, errno.ENOSPC),
        (FAILURE, FILE, None, None, (place(), place(OTHER._replace(bavail=0))), True, errno.EXDEV),
        (FAILURE, FILE, None, None, (place(), place(READ_ONLY)), True, errno.EROFS),
        (FAILURE, FILE, None, None, (place(READ_ONLY), place()), True, errno.EROFS),
        (DENIED, FILE, None, None, (place(), place()), True, errno.EACCES),
        (DENIED, FILE, FILE, None, (place(parent=STICKY), place()), True, errno.EPERM),
        (DENIED, DIRECTORY, FILE, None, (place(), place(parent=STICKY)), True, errno.EPERM),
    ],
)
def test_renaming(
    status: int,
    old: Attributes | None,
    new: Attributes | None,
    empty: bool | None,
    places: tuple[DirectorySeen, DirectorySeen],
    replace: bool,
    expected: int,
) -> None:
    assert errno_rules.renaming(status, RenameSeen(old, new, empty, *places), replace, b"n") == expected


@pytest.mark.parametrize(
    ("status", "old", "new", "expected"),
    [
        (FAILURE, FILE, FILE, errno.EEXIST),
        (DENIED, DIRECTORY, None, errno.EPERM),
        (FAILURE, DIRECTORY, None, errno.EPERM),
        (DENIED, FILE, None, errno.EACCES),
        (MISSING, None, None, errno.ENOENT),
        (FAILURE, FILE, None, errno.EXDEV),
    ],
)
def test_linking(status: int, old: Attributes | None, new: Attributes | None, expected: int) -> None:
    assert errno_rules.linking(status, RenameSeen(old, new, None, place(), place()), b"n") == expected


@pytest.mark.parametrize(
    ("status", "change", "there", "where", "expected"),
    [
        (DENIED, AttributeChange(mode=0o600), FILE, DirectorySeen(), errno.EPERM),
        (FAILURE, AttributeChange(mode=0o600), FILE, place(), errno.EPERM),
        (FAILURE, AttributeChange(mode=0o600), FILE, place(READ_ONLY), errno.EROFS),
        (FAILURE, AttributeChange(mode=0o600), LINK, place(), errno.EOPNOTSUPP),
        (DENIED, AttributeChange(uid=1, gid=1), FILE, DirectorySeen(), errno.EPERM),
        (DENIED, AttributeChange(atime=1, mtime=1), FILE, DirectorySeen(), errno.EPERM),
        (DENIED, AttributeChange(mode=0o600), None, DirectorySeen(), errno.EACCES),
        (DENIED, AttributeChange(size=0), FILE, DirectorySeen(), errno.EACCES),
        (FAILURE, AttributeChange(size=0), DIRECTORY, place(), errno.EISDIR),
        (FAILURE, AttributeChange(size=1 << 62), FILE, place(), errno.EFBIG),
        (FAILURE, AttributeChange(size=FILE.size + 1), FILE, place(), errno.EIO),
        (FAILURE, AttributeChange(size=11), FILE, place(FULL), errno.ENOSPC),
        (FAILURE, AttributeChange(size=5), FILE, place(), errno.EIO),
        (MISSING, AttributeChange(mode=0), None, DirectorySeen(), errno.ENOENT),
        (BAD, AttributeChange(mode=0), FILE, DirectorySeen(), errno.EINVAL),
        (Status.OP_UNSUPPORTED, AttributeChange(mode=0), FILE, DirectorySeen(), errno.EOPNOTSUPP),
    ],
)
def test_changing(
    status: int, change: AttributeChange, there: Attributes | None, where: DirectorySeen, expected: int
) -> None:
    assert errno_rules.changing(status, change, there, where) == expected


@pytest.mark.parametrize(
    ("status", "length", "statistics", "expected"),
    [
        (FAILURE, 4096, FULL, errno.ENOSPC),
        (FAILURE, 500 * 4096 + 1, HEALTHY, errno.ENOSPC),
        (FAILURE, 500 * 4096, HEALTHY, errno.EIO),
        (FAILURE, 1, READ_ONLY, errno.EROFS),
        (FAILURE, 1, None, errno.EIO),
        (DENIED, 1, FULL, errno.EACCES),
    ],
)
def test_writing(status: int, length: int, statistics: FilesystemStatistics | None, expected: int) -> None:
    assert errno_rules.writing(status, length, statistics) == expected
