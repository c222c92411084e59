"""Which processes use a mount: what /proc tells of their directories and open files.

Reads links only, which does not touch the mount. Of other users' processes only root is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from sftpfs.mountpoint import MountedAt


def holders(mount: MountedAt) -> list[str]:
    """``name (pid)`` of every process with a file or directory of the mount open.

    What lies below the mount has the same name: the mount's own process holds that directory.
    """
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and any(_inside(link, mount.path) for link in _links(entry, mount.identifier)):
            found.append(f"{_name(entry)} ({entry})")
    return found


def _links(pid: str, identifier: int) -> Iterator[str]:
    """What its links in /proc lead to, less open files of other mounts; of what may not be seen nothing."""
    paths = [f"/proc/{pid}/cwd", f"/proc/{pid}/root", f"/proc/{pid}/exe"]
    try:
        paths += [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass
    for path in paths:
        try:
            link = os.readlink(path)
            if "/fd/" not in path or _mount_of(path) == identifier:
                yield link
        except OSError:
            continue


def _mount_of(path: str) -> int | None:
    """The number of the mount an open file is on (proc_pid_fdinfo(5))."""
    with open(path.replace("/fd/", "/fdinfo/"), encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == "mnt_id":
                return int(value)
    return None


def _inside(path: str, mountpoint: str) -> bool:
    return path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "process"
