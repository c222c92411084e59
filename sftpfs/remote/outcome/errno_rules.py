"""Why a failed request really failed: from a v3 status and what was seen to an errno.

SFTP v3 has one FAILURE for all but a handful of errors. OpenSSH's sftp-server folds ENOENT, ENOTDIR, ELOOP
and EBADF into NO_SUCH_FILE, EPERM and EACCES into PERMISSION_DENIED, EINVAL and ENAMETOOLONG into
BAD_MESSAGE, and the rest into FAILURE. Here are the pure decisions; ``remote.outcome.errno_probe`` does the
looking. What was seen is what the server said just after the failure, so the result is a best guess. If
nothing seen explains the failure, the answer is the plain one of ``errors``.
"""

from __future__ import annotations

import errno
import stat
from typing import NamedTuple

from sftpfs.errors import STATUS_TO_ERRNO, Status
from sftpfs.types import NAME_MAX, AttributeChange, Attributes, FilesystemStatistics

SHORTEST_NAME_LIMIT = 143
"""Bytes; eCryptfs takes the shortest names in common use."""

LEAST_SIZE_LIMIT = (1 << 31) - 1
"""Bytes; every file system in use takes files of this size."""


class DirectorySeen(NamedTuple):
    """Where a name is: its directory's attributes and file system figures, None if not reported."""

    parent: Attributes | None = None
    statistics: FilesystemStatistics | None = None


def is_directory(seen: Attributes | None) -> bool:
    """True if something was seen and it is a directory."""
    return seen is not None and stat.S_ISDIR(seen.mode)


def no_room(statistics: FilesystemStatistics | None, length: int = 1) -> bool:
    """True if ``length`` bytes or one more file do not fit for an ordinary user."""
    if statistics is None:
        return False
    # Less left than was to be written: the server wrote a part and called it FAILURE.
    if statistics.bavail * statistics.frsize < length:
        return True
    # File systems without a fixed table of inodes (btrfs) say 0 of 0.
    return statistics.files > 0 and statistics.favail == 0


def same_filesystem(one: FilesystemStatistics, other: FilesystemStatistics) -> bool:
    """False if the figures cannot be of one file system (the extension's fsid is not reliable)."""
    return (one.frsize, one.blocks, one.files, one.namemax) == (
        other.frsize,
        other.blocks,
        other.files,
        other.namemax,
    )


def by_place(status: int, place: DirectorySeen, name: bytes) -> int:
    """What the directory explains of a failure that concerns ``name`` in it."""
    parent, statistics = place
    if status == Status.NO_SUCH_FILE and parent is not None and not stat.S_ISDIR(parent.mode):
        # The server followed a link that is the parent, so the link is not the reason.
        return errno.ENOENT if stat.S_ISLNK(parent.mode) else errno.ENOTDIR
    if status == Status.BAD_MESSAGE:
        limit = statistics.namemax if statistics is not None else SHORTEST_NAME_LIMIT
        return errno.ENAMETOOLONG if len(name) > limit > 0 else errno.EINVAL
    if status == Status.FAILURE and len(name) > NAME_MAX:
        return errno.ENAMETOOLONG  # some servers have room for more: not this one, it seems
    if status == Status.FAILURE and statistics is not None and statistics.read_only:
        return errno.EROFS
    return STATUS_TO_ERRNO.get(status, errno.EIO)


def creation(status: int, there: Attributes | None, place: DirectorySeen, name: bytes) -> int:
    """mkdir, symlink, exclusive create: ``there`` is what has the name."""
    if status == Status.FAILURE and there is not None:
        return errno.EEXIST  # nothing else fails with the name taken
    number = by_place(status, place, name)
    if number == errno.EIO and status == Status.FAILURE and no_room(place.statistics):
        return errno.ENOSPC  # the name needs a directory entry and an inode
    return number


def opening(
    status: int,
    exclusive: bool,
    create: bool,
    write: bool,
    there: Attributes | None,
    place: DirectorySeen,
    name: bytes,
) -> int:
    """OPEN: ``there`` is what has the name."""
    if there is None:
        return creation(status, None, place, name) if create else by_place(status, place, name)
    if status == Status.FAILURE:
        if exclusive:
            return errno.EEXIST
        if write and stat.S_ISDIR(there.mode):
            return errno.EISDIR
        if stat.S_ISSOCK(there.mode):
            return errno.ENXIO  # open(2) of a socket
        if not write:
            return errno.EIO  # neither a full nor a read-only file system hinders reading
    return by_place(status, place, name)


def removal(status: int, there: Attributes | None, place: DirectorySeen, name: bytes) -> int:
    """REMOVE of what must not be a directory."""
    if is_directory(there) and status in (Status.FAILURE, Status.PERMISSION_DENIED):
        return errno.EISDIR  # Linux says EISDIR (FAILURE), POSIX and the BSDs EPERM
    if status == Status.PERMISSION_DENIED:
        return denied_in(place)
    return by_place(status, place, name)


def directory_removal(
    status: int, there: Attributes | None, empty: bool | None, place: DirectorySeen, name: bytes
) -> int:
    """RMDIR. ``empty`` is None where the directory could not be listed."""
    if there is not None and not stat.S_ISDIR(there.mode):
        return errno.ENOTDIR  # OpenSSH: NO_SUCH_FILE
    if status == Status.FAILURE and empty is False:
        return errno.ENOTEMPTY
    if status == Status.PERMISSION_DENIED:
        return denied_in(place)
    number = by_place(status, place, name)
    if number == errno.EIO and empty:
        return errno.EBUSY  # empty, writable, and still refused: a mount point or a root
    return number


def denied_in(place: DirectorySeen) -> int:
    """A name may not leave its directory: EPERM by the sticky bit (unlink(2)), otherwise EACCES."""
    parent = place.parent
    return errno.EPERM if parent is not None and parent.mode & stat.S_ISVTX else errno.EACCES


class RenameSeen(NamedTuple):
    """What was seen after a failed rename or link."""

    old: Attributes | None
    new: Attributes | None
    new_empty: bool | None
    """None where ``new`` is not a directory or could not be listed."""
    old_place: DirectorySeen
    new_place: DirectorySeen


def renaming(status: int, seen: RenameSeen, replace: bool, name: bytes) -> int:
    """RENAME or posix-rename to ``name`` (rename(2))."""
    old, new = seen.old, seen.new
    if old is None and status in (Status.NO_SUCH_FILE, Status.FAILURE):
        return errno.ENOENT  # FAILURE: of what had the new name, say, looked at first
    if status == Status.FAILURE and new is not None and not replace:
        return errno.EEXIST
    if old is not None and new is not None and status != Status.PERMISSION_DENIED:
        if is_directory(old) and not is_directory(new):
            return errno.ENOTDIR  # OpenSSH: NO_SUCH_FILE
        if not is_directory(old) and is_directory(new):
            return errno.EISDIR
        if status == Status.FAILURE and seen.new_empty is False:
            return errno.ENOTEMPTY
    if status == Status.PERMISSION_DENIED:
        return (
            errno.EPERM if errno.EPERM in map(denied_in, (seen.old_place, seen.new_place)) else errno.EACCES
        )
    return across(status, seen, name)


def linking(status: int, seen: RenameSeen, name: bytes) -> int:
    """hardlink@openssh.com of ``old`` as ``name`` (link(2))."""
    if status == Status.FAILURE and seen.new is not None:
        return errno.EEXIST
    if is_directory(seen.old):
        return errno.EPERM  # link(2) refuses directories
    return across(status, seen, name)


def across(status: int, seen: RenameSeen, name: bytes) -> int:
    """What two directories explain: another file system, read-only, no room, in the kernel's order.

    Another file system comes before no room as well. A program moves to a full file system by copying, and
    the copy then reports that it is full.
    """
    one, other = seen.old_place.statistics, seen.new_place.statistics
    if status == Status.FAILURE and one is not None and other is not None and not same_filesystem(one, other):
        return errno.EXDEV
    number = by_place(status, seen.new_place, name)
    if number != errno.EIO or status != Status.FAILURE:
        return number
    if one is not None and one.read_only:
        return errno.EROFS
    if one is not None and no_room(other):
        return errno.ENOSPC
    # Bind mounts of one file system have the same figures, so nothing seen disproves
    # EXDEV. It is also the one answer after which mv goes on by copying.
    return errno.EXDEV


def changing(status: int, change: AttributeChange, there: Attributes | None, place: DirectorySeen) -> int:
    """SETSTAT of what ``there`` tells (chmod(2), chown(2), utimensat(2), truncate(2))."""
    if status == Status.BAD_MESSAGE:
        return errno.EINVAL
    if status == Status.FAILURE and place.statistics is not None and place.statistics.read_only:
        return errno.EROFS
    if (
        change.mode is not None
        and status == Status.FAILURE
        and there is not None
        and stat.S_ISLNK(there.mode)
    ):
        return errno.EOPNOTSUPP  # Linux has no mode for links (fchmodat(2))
    if change.size is not None and status == Status.FAILURE:
        if is_directory(there):
            return errno.EISDIR
        if there is not None and change.size > there.size:
            # Growing makes a hole and takes no room, so the size is the reason.
            if no_room(place.statistics):
                return errno.ENOSPC
            return errno.EFBIG if change.size > LEAST_SIZE_LIMIT else errno.EIO
        return errno.EIO
    if status in (Status.PERMISSION_DENIED, Status.FAILURE) and there is not None:
        # Only the owner may, and the path was reachable. truncate(2) checks permission: EACCES.
        owners = change.mode is not None or change.uid is not None or change.mtime is not None
        return errno.EPERM if owners else errno.EACCES
    return STATUS_TO_ERRNO.get(status, errno.EIO)


def writing(status: int, length: int, statistics: FilesystemStatistics | None) -> int:
    """WRITE of ``length`` bytes, or fsync with ``length`` 1."""
    if status == Status.FAILURE and statistics is not None:
        if statistics.read_only:
            return errno.EROFS  # remounted read-only under an open file
        if no_room(statistics, length):
            return errno.ENOSPC
    return STATUS_TO_ERRNO.get(status, errno.EIO)
