"""Who keeps a mount: the processes that use it here, and those of other mount namespaces with a copy of it.

Reads /proc, and only its links, which does not touch the mount. Only root sees other users' processes. Used
by the commands, and by the mount itself for its last log lines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from sftpfs.host.mountpoint import MountedAt, all_mounts, mount_of, parse_mountinfo

INTERVAL = 0.25
"""Seconds between two checks whether the mount that is off here is kept elsewhere."""

PATIENCE = 2.0
"""Seconds that others may have the mount that is off here, with nothing left to write. A new mount namespace
has copies of all mounts, and usually gives up those that it does not want."""

LIMIT = 4.0
"""Seconds after which something must have it that cannot be seen: the kernel ends at once a mount that nobody
has."""


def holders(mount: MountedAt) -> list[str]:
    """``name (pid)`` of every process here with a file or directory of the mount open.

    What lies below the mount has the same name: the mount's own process holds that directory.
    """
    return [
        named(pid)
        for pid in _processes()
        if any(_inside(link, mount.path) for link in _links(pid, mount.identifier))
    ]


def copies(device: str) -> list[str]:
    """``name (pid)`` of a process of each other mount namespace that has the mount with ``device``.

    A namespace made while the mount was there has a copy of it, and an unmount here does not reach it.
    """
    seen = {_namespace("self")}
    found = []
    for pid in _processes():
        namespace = _namespace(pid)
        if namespace is None or namespace in seen:
            continue
        seen.add(namespace)
        try:
            with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                if any(mount.device == device for mount in parse_mountinfo(file.read())):
                    found.append(named(pid))
        except OSError:
            seen.discard(namespace)  # it has ended; another process of the namespace may tell
    return found


def keepers(device: str) -> str:
    """What has the mount although it is off its mountpoint; nothing if that cannot be seen."""
    also = [mount.path for mount in all_mounts() if mount.device == device]
    others = copies(device)
    if also:
        return f"its other mountpoint {some(also)}"
    return f"another mount namespace, that of {some(others)}" if others else ""


def is_elsewhere(pid: int) -> bool:
    """Whether the process lives in another mount namespace than we do."""
    theirs = _namespace(str(pid))
    return theirs is not None and theirs != _namespace("self")


def named(pid: str) -> str:
    """``name (pid)``."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f"{file.read().strip()} ({pid})"
    except OSError:
        return f"process ({pid})"


def some(names: list[str]) -> str:
    """The first of ``names``, for a line."""
    return f"{', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"


def _processes() -> list[str]:
    return [entry for entry in os.listdir("/proc") if entry.isdigit()]


def _namespace(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None


def _links(pid: str, identifier: int) -> Iterator[str]:
    """What its links in /proc lead to, without open files of other mounts. Empty for what may not be seen."""
    paths = [f"/proc/{pid}/cwd", f"/proc/{pid}/root", f"/proc/{pid}/exe"]
    try:
        paths += [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass
    for path in paths:
        try:
            link = os.readlink(path)
            if "/fd/" not in path or mount_of(path.replace("/fd/", "/fdinfo/")) == identifier:
                yield link
        except OSError:
            continue


def _inside(path: str, mountpoint: str) -> bool:
    return path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")
