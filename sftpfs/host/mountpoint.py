"""The local side before and after the mount: whether the mountpoint can be used, and whether FUSE is there.

Looks at the machine and changes nothing, except in ``detach`` and ``recover``. Every failure is a MountError
that says how to mend it.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import shutil
import stat
import subprocess
import threading
from typing import NamedTuple

from sftpfs.errors import Failure, MountError

DEVICE = "/dev/fuse"
FUSE_CONF = "/etc/fuse.conf"
MOUNTINFO = "/proc/self/mountinfo"
UNMOUNT_LIMIT = 5.0
"""Seconds for fusermount3, which does not wait for the server."""

PROBE_LIMIT = 5.0
"""Seconds that a mount's process has to answer what it can answer without the server."""

MOST_DEAD = 16
"""Dead mounts on top of each other; more than this were not made by a person."""

MNT_DETACH = 2
"""umount2(2)."""

log = logging.getLogger(__name__)


class MountedAt(NamedTuple):
    """One line of mountinfo (proc_pid_mountinfo(5))."""

    device: str
    path: str
    type: str
    source: str
    identifier: int = 0
    """The mount's number, as fdinfo tells it of an open file."""
    root: str = "/"
    """Which part of the file system is mounted there; for a bind mount of a part this is not ``/``."""
    user_id: int = 0
    """Who mounted it, of FUSE mounts."""
    parent: int = 0
    """The number of the mount that it is mounted on."""
    flags: tuple[str, ...] = ()
    """Its mount flags, such as ``ro`` and ``nosuid``: of the mount and of the file system."""

    @property
    def read_only(self) -> bool:
        """Nothing can be written through it now."""
        return "ro" in self.flags

    @property
    def unmounting(self) -> str:
        """The command by which a person unmounts it: ours waits for the data, but only works for our
        mounts."""
        return f"{'sftpfs umount' if self.type == 'fuse.sftpfs' else 'fusermount3 -u'} {self.path}"


def absolute_path(path: str) -> str:
    """``path`` as seen from the root, links and ``..`` as they are. Raises MountError(MOUNTPOINT)."""
    try:
        return path if path.startswith("/") else os.path.join(os.getcwd(), path)
    except FileNotFoundError:
        message = f"{path} cannot be found: the current directory was removed; give the path from / on"
        raise MountError(Failure.MOUNTPOINT, message) from None


def unescape(field: str) -> str:
    """Undoes the octal escapes of mountinfo for blank, tab, newline and backslash."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def parse_mountinfo(text: str) -> list[MountedAt]:
    """The mounts of a mountinfo file, in its order: of two on one path the later covers the earlier."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        head, tail = before.split(), after.split(" ")
        if len(head) >= 5 and len(tail) >= 2:
            mounts.append(
                MountedAt(
                    head[2],
                    unescape(head[4]),
                    tail[0],
                    unescape(tail[1]),
                    int(head[0]),
                    unescape(head[3]),
                    _user_id(tail[-1]),
                    int(head[1]),
                    (*head[5].split(","), *tail[-1].split(",")) if len(head) > 5 else (),
                )
            )
    return mounts


def _user_id(options: str) -> int:
    """``user_id=`` of a FUSE mount's options."""
    for word in options.split(","):
        name, _, value = word.partition("=")
        if name == "user_id" and value.isdecimal():
            return int(value)
    return 0


def all_mounts() -> list[MountedAt]:
    """Every mount this process sees."""
    with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
        return parse_mountinfo(file.read())


def mounted_at(path: str) -> MountedAt | None:
    """What is mounted on ``path`` (absolute, no links in it), or None."""
    mounts = [mount for mount in all_mounts() if mount.path == path]
    return mounts[-1] if mounts else None


def mount_of(fdinfo: str) -> int | None:
    """The number of the mount that an open file is on, told by its ``fdinfo`` (proc_pid_fdinfo(5)).

    Raises OSError.
    """
    with open(fdinfo, encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == "mnt_id":
                return int(value)
    return None


def recover(path: str, subtype: str) -> None:
    """Detaches our mounts on ``path`` whose process is gone. A living one is never touched.

    Raises MountError(MOUNTPOINT) if it cannot be told whether one is dead or alive.
    """
    for _ in range(MOST_DEAD):
        mount = mounted_at(path)
        if mount is None or mount.type != f"fuse.{subtype}" or not is_dead(path):
            return
        detach(mount)
        if mounted_at(path) == mount:
            return  # not ours to detach: the check of the mountpoint says so
        log.warning("the mount of %s on %s had lost its process; it was detached", mount.source, path)


def is_dead(path: str) -> bool:
    """Whether the kernel has nobody to ask about the FUSE mount on ``path``.

    Opening a directory always asks the process, which answers from memory. stat may be answered by what the
    kernel itself remembers of a dead mount.
    """
    outcome: list[int] = []

    def probe() -> None:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            outcome.append(0)
        except OSError as error:
            outcome.append(error.errno or 0)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_LIMIT)
    if not outcome:
        raise MountError(
            Failure.MOUNTPOINT, f"what is mounted on {path} does not answer; free it with: umount -l {path}"
        )
    return outcome[0] == errno.ENOTCONN


def filesystem_of(path: str) -> str:
    """``major:minor`` of the file system that ``path`` (absolute, without links) is on, as the kernel counts
    it.

    stat(2) gives another number on file systems with subvolumes.
    """
    around = [mount for mount in all_mounts() if os.path.commonpath([mount.path, path]) == mount.path]
    if not around:  # in a chroot whose root is no mountpoint the table does not tell
        device = os.stat(path).st_dev
        return f"{os.major(device)}:{os.minor(device)}"
    return max(reversed(around), key=lambda mount: len(mount.path)).device


def check_mountpoint(path: str, source: str, subtype: str) -> int:
    """The directory ``path`` (absolute, no links in it), opened with O_PATH.

    Raises MountError(MOUNTPOINT) unless ``source`` can be mounted there.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise MountError(Failure.MOUNTPOINT, _unfit(path, error)) from None
    try:
        _check_opened(fd, path, source, subtype)
    except OSError as error:
        os.close(fd)
        raise MountError(Failure.MOUNTPOINT, _unfit(path, error)) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_opened(fd: int, path: str, source: str, subtype: str) -> None:
    way = f"/proc/self/fd/{fd}"
    name = os.readlink(way)
    if name != path:  # a directory above it was replaced since its links were followed
        raise MountError(Failure.MOUNTPOINT, f"mountpoint {path} seems to be {name}; give that name")
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise MountError(Failure.MOUNTPOINT, f"mountpoint {path} is not a directory")
    mount = mounted_at(path)
    if mount and mount.source == source and mount.type in (f"fuse.{subtype}", "fuse"):
        raise MountError(
            Failure.MOUNTPOINT,
            f"{source} is already mounted on {path}; unmount it with: sftpfs umount {path}",
        )
    if os.geteuid() and not os.access(way, os.W_OK):
        where = f"{path}: fusermount3 requires that you may write to it"
        if mount:
            where = (
                f"{path}, on which {mount.source} is mounted already and not writable by you: "
                f"unmount that first, with: {mount.unmounting}"
            )
        raise MountError(Failure.MOUNTPOINT, f"no permission to mount on {where}")


def _unfit(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"mountpoint {path} does not exist; make it with: mkdir -p {path}"
    if error.errno == errno.ENOTDIR:
        return f"mountpoint {path} is not a directory"
    if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
        return f"mountpoint {path} holds a mount whose process is gone; free it with: fusermount3 -u {path}"
    return f"mountpoint {path} cannot be used: {error.strerror}"


def check_fuse() -> None:
    """Raises MountError(FUSE) if the kernel or the helper is missing."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise MountError(
            Failure.FUSE, f"{DEVICE} does not exist; load the module with: modprobe fuse"
        ) from None
    except OSError as error:
        cure = "a container must be started with --device /dev/fuse --cap-add SYS_ADMIN"
        if isinstance(error, PermissionError) and os.geteuid():
            cure = f"every user may use it after, as root: chmod 666 {DEVICE}"
        raise MountError(Failure.FUSE, f"cannot open {DEVICE}: {error.strerror}; {cure}") from None
    if os.geteuid() and shutil.which("fusermount3") is None:
        raise MountError(
            Failure.FUSE, "fusermount3 is not installed; on Debian and Ubuntu: apt install fuse3"
        )


def users_may_let_others_in() -> bool:
    """Whether fuse.conf allows allow_other and allow_root to users."""
    try:
        with open(FUSE_CONF, encoding="utf-8", errors="replace") as file:
            return "user_allow_other" in [line.strip() for line in file]
    except OSError:
        return False


def check_allowed(option: str) -> None:
    """Raises MountError(FUSE) if a plain user may not give ``option`` (allow_other, allow_root)."""
    if os.geteuid() and not users_may_let_others_in():
        raise MountError(
            Failure.FUSE,
            f"option {option} is not allowed to users; as root: echo user_allow_other >> {FUSE_CONF}",
        )


def detach(mount: MountedAt) -> None:
    """Takes ``mount`` out of the tree, busy or not. Does nothing if it is no longer at its path, or covered.

    Files that are still open there fail from then on.
    """
    try:
        fd = os.open(mount.path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if mount_of(f"/proc/self/fdinfo/{fd}") == mount.identifier:
            unmount(f"/proc/self/fd/{fd}", mount.path, lazy=True)
    finally:
        os.close(fd)


def unmount(way: str, name: str, lazy: bool) -> None:
    """Takes off the uppermost mount on the directory that ``way`` leads to, a link of /proc/self/fd, and
    whose name is ``name``; ``lazy``: even if it is busy. Does nothing if that is refused.

    Asks the file system nothing that it would have to ask a server. The kernel may hand over what it still
    holds, so whoever serves the mount calls this in a thread.
    """
    if os.geteuid() == 0:
        # Not by umount(8), which goes by names, looks at the mountpoint first and may call a helper.
        ctypes.CDLL(None).umount2(os.fsencode(way), MNT_DETACH if lazy else 0)
        return
    try:
        subprocess.run(
            ["fusermount3", "-u", *(["-z"] if lazy else []), "-q", "--", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=UNMOUNT_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        pass  # nothing more can be done from here
