"""The local side before and after the mount: is the mountpoint fit, is FUSE there.

Looks at the machine and changes nothing, but for ``detach``. Every failure is a
MountError that says how to mend it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from typing import NamedTuple

from sftpfs.errors import Failure, MountError

DEVICE = "/dev/fuse"
FUSE_CONF = "/etc/fuse.conf"
MOUNTINFO = "/proc/self/mountinfo"
DETACH_LIMIT = 5.0
"""Seconds for umount -l, which does not wait for the server."""


class MountedAt(NamedTuple):
    """One line of mountinfo (proc_pid_mountinfo(5))."""

    device: str
    path: str
    type: str
    source: str
    identifier: int = 0
    """The mount's number, as fdinfo tells it of an open file."""
    root: str = "/"
    """What of the file system is mounted there; another than ``/`` for a bind mount of a part."""
    user_id: int = 0
    """Who mounted it, of FUSE mounts."""


def unescape(field: str) -> str:
    """mountinfo writes blank, tab, newline and backslash as octal."""
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


def check_mountpoint(path: str, source: str, subtype: str) -> None:
    """Raises MountError(MOUNTPOINT) unless ``source`` can be mounted on ``path``."""
    try:
        kind = os.stat(path).st_mode
    except OSError as error:
        raise MountError(Failure.MOUNTPOINT, _unfit(path, error)) from None
    if not stat.S_ISDIR(kind):
        raise MountError(Failure.MOUNTPOINT, f"mountpoint {path} is not a directory")
    mount = mounted_at(path)
    if mount and mount.source == source and mount.type in (f"fuse.{subtype}", "fuse"):
        raise MountError(
            Failure.MOUNTPOINT,
            f"{source} is already mounted on {path}; unmount it with: fusermount3 -u {path}",
        )
    if os.geteuid() and not os.access(path, os.W_OK):
        raise MountError(
            Failure.MOUNTPOINT, f"no permission to mount on {path}: fusermount3 wants it writable by you"
        )


def _unfit(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"mountpoint {path} does not exist; make it with: mkdir -p {path}"
    if error.errno == errno.ENOTDIR:
        return f"mountpoint {path} is not a directory"
    if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
        return f"mountpoint {path} holds a mount whose process is gone; free it with: fusermount3 -u {path}"
    return f"mountpoint {path} cannot be used: {error.strerror}"


def check_fuse() -> None:
    """Raises MountError(FUSE) where the kernel or the helper is missing."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise MountError(
            Failure.FUSE, f"{DEVICE} does not exist; load the module with: modprobe fuse"
        ) from None
    except OSError as error:
        raise MountError(
            Failure.FUSE,
            f"cannot open {DEVICE}: {error.strerror}; "
            "a container must be started with --device /dev/fuse --cap-add SYS_ADMIN",
        ) from None
    if os.geteuid() and shutil.which("fusermount3") is None:
        raise MountError(
            Failure.FUSE, "fusermount3 is not installed; on Debian and Ubuntu: apt install fuse3"
        )


def check_allowed(option: str) -> None:
    """Raises MountError(FUSE) where a plain user may not give ``option`` (allow_other, allow_root)."""
    if os.geteuid() == 0:
        return
    try:
        with open(FUSE_CONF, encoding="utf-8", errors="replace") as file:
            words = [line.strip() for line in file]
    except OSError:
        words = []
    if "user_allow_other" not in words:
        raise MountError(
            Failure.FUSE,
            f"option {option} is not allowed to users; as root: echo user_allow_other >> {FUSE_CONF}",
        )


def detach(path: str, device: str) -> None:
    """Take the mount with this device number (``major:minor``) off ``path``, busy or not.

    Files still open there fail from then on. Quiet where it is not there any more.
    """
    mount = mounted_at(path)
    if mount is None or mount.device != device:
        return
    command = ["fusermount3", "-u", "-z", "-q", "--", path] if os.geteuid() else ["umount", "-l", "--", path]
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=DETACH_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        pass  # nothing more can be done from here


def detach_dead(path: str) -> None:
    """Detach whatever FUSE mount on ``path`` has lost its process."""
    mount = mounted_at(path)
    if mount is None or not mount.type.startswith("fuse"):
        return
    try:
        os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            detach(path, mount.device)
