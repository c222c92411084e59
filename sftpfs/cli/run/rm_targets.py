"""What ``sftpfs rm`` is asked to remove: finds each path's mount, and refuses what rm(1) refuses, and more.

A name is looked up in a descriptor of its directory, which stays open until the mount has done with it. So
the mount is told the directory that was looked at, and no link that is put in its place leads elsewhere.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import NamedTuple

from sftpfs.control.socket_location import is_sftpfs, socket_paths
from sftpfs.host.mountpoint import MountedAt, all_mounts, mount_of

MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EILSEQ, errno.EINVAL})
"""Errors of what is not there, which -f ignores (rm(1))."""

MOST_DIRECTORIES = 128
"""Descriptors open in one batch: a process may have 1024."""

MOST_BYTES = 32 << 10
"""Bytes of the names in one batch: half of what a request may have."""

PATH_ONLY = os.O_PATH | os.O_CLOEXEC


class RefusedError(Exception):
    """A path that is not removed. The text is the whole message."""


class Target(NamedTuple):
    """One path that is to be removed."""

    given: str
    """As a person wrote it."""
    directory: int
    """A descriptor of the directory it is in; the owner closes it."""
    number: int
    """The directory's inode number."""
    name: str
    """In that directory."""
    mount: MountedAt
    place: str
    """Where it is, links resolved up to its own name."""

    def above(self) -> list[str]:
        """The directories it is in."""
        names = self.place.split("/")
        return ["/".join(names[:count]) for count in range(1, len(names))]


class Batch:
    """Targets in one mount that may go at the same time: none is in another, or is another.

    INVARIANT: a descriptor of each directory is open until ``close``.
    """

    def __init__(self) -> None:
        self.targets: list[Target] = []
        self._directories: dict[int, int] = {}
        self._places: set[str] = set()
        self._above: set[str] = set()
        self._size = 0

    def has_room_for(self, target: Target) -> bool:
        """False if it has to wait until this batch is done."""
        if not self.targets:
            return True
        return (
            target.mount.device == self.targets[0].mount.device
            and len(self._directories) < MOST_DIRECTORIES
            and self._size < MOST_BYTES
            and target.place not in self._above
            and self._places.isdisjoint((target.place, *target.above()))
        )

    def add(self, target: Target) -> None:
        """Takes ``target`` and its descriptor."""
        if self._directories.setdefault(target.number, target.directory) != target.directory:
            os.close(target.directory)
        self._places.add(target.place)
        self._above.update(target.above())
        self._size += len(json.dumps(target.name)) + 30  # and the directory's number
        self.targets.append(target)

    def close(self) -> None:
        """The mount has done with it."""
        for descriptor in self._directories.values():
            os.close(descriptor)
        self._directories.clear()


def locate(path: str, *, recursive: bool, empty_directories: bool) -> Target:
    """Where ``path`` is. Raises OSError as rm(1) would name it, and RefusedError."""
    plain = path.rstrip("/")
    if path and not plain:
        if recursive:
            raise RefusedError("it is dangerous to operate recursively on '/'")
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    above, name = os.path.split(plain)
    if name in (".", ".."):
        raise _refusal_of_dots(path, recursive=recursive, empty_directories=empty_directories)
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    directory = os.open(above or ".", PATH_ONLY | os.O_DIRECTORY)
    try:
        return _found(path, directory, name, needs_directory=plain != path)
    except BaseException:
        os.close(directory)
        raise


def _refusal_of_dots(path: str, *, recursive: bool, empty_directories: bool) -> Exception:
    """As rm(1) words it."""
    if not recursive and not empty_directories:
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not recursive and os.listdir(path):
        return OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
    return RefusedError(f"refusing to remove '.' or '..' directory: skipping '{path}'")


def _found(path: str, directory: int, name: str, *, needs_directory: bool) -> Target:
    seen = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if needs_directory and not stat.S_ISDIR(seen.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    identifier = _mount_of(directory)
    opened = os.open(name, PATH_ONLY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        mounted = _mount_of(opened) != identifier
    finally:
        os.close(opened)
    if mounted:
        busy = os.strerror(errno.EBUSY)
        raise RefusedError(f"cannot remove '{path}': {busy}: something is mounted on it; unmount that first")
    mount = next((one for one in all_mounts() if one.identifier == identifier), None)
    if mount is None or not _is_ours(mount):
        raise RefusedError(f"cannot remove '{path}': it is in no sftpfs mount; use rm")
    if mount.read_only:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    place = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), name)
    return Target(path, directory, os.fstat(directory).st_ino, name, mount, place)


def _mount_of(descriptor: int) -> int | None:
    return mount_of(f"/proc/self/fdinfo/{descriptor}")


def _is_ours(mount: MountedAt) -> bool:
    """By its type, or by its socket if ``subtype=`` gave it another."""
    if is_sftpfs(mount):
        return True
    return mount.type.startswith("fuse") and any(os.path.exists(path) for path in socket_paths(mount))


def mounted_within(mount: MountedAt) -> list[str]:
    """Paths from the root of ``mount``'s file system on which something is mounted, at whatever place that is
    mounted itself: the kernel lets nobody remove them."""
    mounts = all_mounts()
    ours = {one.identifier: one for one in mounts if one.device == mount.device}
    found = []
    for one in mounts:
        under = ours.get(one.parent)
        if under is not None and one.path != under.path:
            inside = os.path.join(under.root, os.path.relpath(one.path, under.path))
            found.append(os.path.normpath(inside).strip("/"))
    return found
